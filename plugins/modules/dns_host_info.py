#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dns_host_info
short_description: Say what a host knows of itself that belongs into the DNS
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Returns the addresses at which the host can be reached, and the digests of the keys of its certificates. Changes nothing.
  - Addresses that change by themselves, and those of bridges to containers of the host, are left out. When a host has public
    addresses, private ones are left out as well.
options:
  certificates:
    description: The files of certificates, those that are not there being passed over.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    support: full
    description: Changes nothing in any case.
  diff_mode:
    support: none
    description: Changes nothing.
  platform:
    support: full
    platforms: posix
    description: Hosts with iproute2 and openssl.
"""

EXAMPLES = r"""
- name: Ask the host for its addresses and its key
  postoffice.mail.dns_host_info:
    certificates: [/etc/postoffice/tls/fullchain.pem]
  register: host
"""

RETURN = r"""
addresses:
  description: The addresses, those of IPv4 first.
  returned: success
  type: list
  elements: str
  sample: [192.0.2.25, "2001:db8::25"]
public:
  description: Whether there is an address among them that the whole Internet can reach.
  returned: success
  type: bool
  sample: true
key_digests:
  description: SHA-256 of each certificate's public key, in hexadecimal.
  returned: success
  type: list
  elements: str
  sample: [9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.dns.host import any_public, key_digest, steady_addresses


def main() -> None:
    module = AnsibleModule(
        argument_spec={"certificates": {"type": "list", "elements": "path", "default": []}}, supports_check_mode=True
    )
    _status, text, _error = module.run_command(["ip", "-json", "address"], check_rc=True)
    addresses = steady_addresses(text)
    digests = []
    for path in module.params["certificates"]:
        if Path(path).exists():
            _status, text, _error = module.run_command(
                ["openssl", "x509", "-in", path, "-noout", "-pubkey"], check_rc=True
            )
            digests.append(key_digest(text))
    module.exit_json(changed=False, addresses=addresses, public=any_public(addresses), key_digests=digests)


if __name__ == "__main__":
    main()
