# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates from an ACME authority (RFC 8555), by certbot, for keys that stay where they are.

Root decides which certificates are to be asked for and makes the requests (`prepare`), a user without rights asks the
authority (`ask`), root looks at what came, puts it into place and has it served (`install`). A key is not made anew
with each certificate, so that TLSA records (RFC 6698, 3 1 1) stay true.
"""
