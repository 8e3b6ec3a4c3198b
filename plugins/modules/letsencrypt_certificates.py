#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: letsencrypt_certificates
short_description: Have the certificates issued that are not there, or end soon
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Asks the program that the role P(postoffice.mail.letsencrypt#role) installs which certificates are to be asked for. When there are any,
    the unit C(postoffice-letsencrypt.service) asks for them, puts them into place and has them served.
  - A certificate that is not issued is a warning and no failure. What was served before is served on, and the host's timer asks again.
options:
  settings:
    description: The settings of the program, as JSON text.
    type: json
    required: true
  program:
    description: The program.
    type: path
    default: /usr/local/lib/postoffice/postoffice-letsencrypt
attributes:
  check_mode:
    support: full
    description: Reports what would be asked for, and asks nobody but the DNS.
  diff_mode:
    support: full
    description: Shows the names, and why they are asked for.
  platform:
    support: full
    platforms: debian
    description: Hosts with systemd.
"""

EXAMPLES = r"""
- name: Have the certificates issued
  postoffice.mail.letsencrypt_certificates:
    settings: "{{ lookup('ansible.builtin.file', 'letsencrypt.json') }}"
"""

RETURN = r"""
certificates:
  description: What there is to know of each certificate.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What it is called.
      type: str
    names:
      description: The domain names that it is to have.
      type: list
      elements: str
    reason:
      description: Why it is to be asked for; empty when it is as it should be.
      type: str
    warnings:
      description: Why it is not issued, and which names are not in it though somebody expects them.
      type: list
      elements: str
    left_out:
      description: The names that do not lead to this host, and where they do.
      type: dict
    ends:
      description: When it ends, in seconds since the epoch. Null for one of the host's own.
      type: int
    due:
      description: Whether it is to be asked for now.
      type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.letsencrypt_certificates import ARGUMENT_SPEC, run_module


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    run_module(module)


if __name__ == "__main__":
    main()
