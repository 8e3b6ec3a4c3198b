# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells mail programs, and people, how to reach the mail server: what they ask a domain for by HTTP.

Nobody learns here which addresses there are. Answers depend on the domain, and repeat the address that was given.
"""
