# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small internet for the tests: everybody else, on one host with many addresses.

`world` says who there is, `build` makes it on the host, `say` speaks SMTP from one of its addresses.
"""
