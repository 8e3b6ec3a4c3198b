#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bootstrap_certificate
short_description: Make a certificate of the host's own, so that TLS works from the first minute
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Makes a self-signed ECDSA certificate with C(openssl) when there is none. Makes it anew when its names differ,
    when the key does not belong to it, or when it ends in less than 30 days.
  - A certificate that it did not make is never touched.
  - The key is made on the host and never leaves it.
options:
  path:
    description: Where the certificate lies.
    type: path
    required: true
  key_path:
    description: Where the private key lies, with mode 0600.
    type: path
    required: true
  names:
    description: The domain names of the certificate, the host's own first.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    support: full
    description: Reports whether a certificate would be made.
  diff_mode:
    support: full
    description: Shows the reason and the names.
  platform:
    support: full
    platforms: posix
    description: Hosts with openssl.
"""

EXAMPLES = r"""
- name: Make a certificate of the host's own
  postoffice.mail.bootstrap_certificate:
    path: /etc/postoffice/tls/fullchain.pem
    key_path: /etc/postoffice/tls/privkey.pem
    names: [mail.example.org]
"""

RETURN = r"""
reason:
  description: Why a certificate was made, empty when it was not.
  returned: always
  type: str
  sample: there is none
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.bootstrap_certificate import make, reason_to_make


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            # A path, no secret.
            "key_path": {"type": "path", "required": True, "no_log": False},
            "names": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    path, key_path, names = Path(module.params["path"]), Path(module.params["key_path"]), module.params["names"]

    def run(argv: list[str]) -> tuple[int, str]:
        status, output, error = module.run_command(argv)
        return status, output or error

    try:
        reason = reason_to_make(path, key_path, names, run)
        if reason and not module.check_mode:
            make(path, key_path, names, run)
    except OSError as error:
        module.fail_json(msg=f"{path}: {error}")
    after = "".join(f"name {name}\n" for name in names) + f"reason {reason}\n" if reason else ""
    diff = {"before": "", "after": after, "before_header": str(path), "after_header": str(path)}
    module.exit_json(changed=bool(reason), reason=reason, diff=diff)


if __name__ == "__main__":
    main()
