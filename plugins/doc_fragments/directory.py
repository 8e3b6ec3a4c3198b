# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules of the directory have in common."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  path:
    description:
      - The directory's database on the host. It is made when it does not exist, except in check mode.
    type: path
    default: /var/lib/postoffice/directory.sqlite3
attributes:
  diff_mode:
    support: full
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
  platform:
    support: full
    platforms: posix
    description: Target OS that can be operated against.
"""

    WRITING = r"""
options:
  managed_by:
    description:
      - In whose name this is declared. What others manage is never touched, unless O(adopt) says so.
    type: str
    default: playbook
  adopt:
    description:
      - Take over what is declared here but managed by others. Otherwise that is an error.
    type: bool
    default: false
  migrate:
    description:
      - Bring a database of an older release up to date. Otherwise it is an error, since programs of that release may
        read it; the role C(postoffice.mail.directory) replaces these first.
    type: bool
    default: false
  publish_unit:
    description:
      - The systemd service that publishes what Postfix reads. It is started, and waited for, after every change; a
        host that does not have it is left alone.
    type: str
    default: postoffice-publish.service
  published_folder:
    description:
      - Where that service publishes to.
    type: path
    default: /var/lib/postoffice/published
attributes:
  check_mode:
    support: full
    description: Can run in check_mode and return changed status prediction without modifying target.
"""

    PASSWORDS = r"""
options:
  update_password:
    description:
      - With V(on_create) a password is set when the mailbox is new or has none; afterwards it belongs to its user.
      - With V(always) it is replaced when it differs from the stored one.
    type: str
    choices: [on_create, always]
    default: on_create
  password_scheme:
    description:
      - What passwords are hashed with. Every choice is verified by Dovecot 2.3 and 2.4.
      - V(BLF-CRYPT) ignores what follows the 72nd byte, so longer passwords are refused with it.
    type: str
    choices: [ARGON2ID, ARGON2I, BLF-CRYPT, SHA512-CRYPT, SHA256-CRYPT]
    default: ARGON2ID
requirements:
  - passlib, argon2-cffi and bcrypt on the host, when a password has to be hashed or verified; the packages
    python3-passlib, python3-argon2 and python3-bcrypt of Debian.
  - idna on the host, when a domain is not ASCII; the package python3-idna of Debian.
"""
