#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bootstrap_certificate
short_description: Make certificates of the host's own, so that TLS works from the first minute
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Makes self-signed ECDSA certificates with C(openssl) where there are none. Makes one anew when its names differ,
    when the key does not belong to it, or when it ends in less than 30 days.
  - A certificate that it did not make is never touched.
  - Keys are made on the host and never leave it.
options:
  certificates:
    description: The certificates. All are looked at before the first is made.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What it is called. Empty, the first of its names.
        type: str
        default: ""
      certificate:
        description: Where the certificate lies.
        type: path
        required: true
      key:
        description: Where the private key lies, with mode 0600.
        type: path
        required: true
      names:
        description: The domain names of the certificate; of the host's, its own name first.
        type: list
        elements: str
        required: true
attributes:
  check_mode:
    support: full
    description: Reports which certificates would be made.
  diff_mode:
    support: full
    description: Shows the reasons and the names.
  platform:
    support: full
    platforms: posix
    description: Hosts with openssl.
"""

EXAMPLES = r"""
- name: Make a certificate of the host's own
  postoffice.mail.bootstrap_certificate:
    certificates:
      - certificate: /etc/postoffice/tls/fullchain.pem
        key: /etc/postoffice/tls/privkey.pem
        names: [mail.example.org]
"""

RETURN = r"""
made:
  description: The files of the certificates and keys that were made or, in check mode, would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/postoffice/tls/fullchain.pem, /etc/postoffice/tls/privkey.pem]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.bootstrap_certificate import Wanted, make, reason_to_make


def main() -> None:
    options = {
        "name": {"type": "str", "default": ""},
        "certificate": {"type": "path", "required": True},
        # A path, no secret.
        "key": {"type": "path", "required": True, "no_log": False},
        "names": {"type": "list", "elements": "str", "required": True},
    }
    certificates = {"type": "list", "elements": "dict", "required": True, "options": options}
    module = AnsibleModule(argument_spec={"certificates": certificates}, supports_check_mode=True)

    def run(argv: list[str]) -> tuple[int, str]:
        status, output, error = module.run_command(argv)
        return status, output or error

    every = [
        Wanted(Path(each["certificate"]), Path(each["key"]), tuple(each["names"]))
        for each in module.params["certificates"]
    ]
    names = {
        wanted: each["name"] or each["names"][0]
        for wanted, each in zip(every, module.params["certificates"], strict=True)
    }
    reasons: dict[Wanted, str] = {}
    for wanted in every:
        try:
            reasons[wanted] = reason_to_make(wanted.path, wanted.key_path, list(wanted.names), run)
        except OSError as error:
            module.fail_json(msg=f"{wanted.path}: {error}")
    lacking = [wanted for wanted in every if reasons[wanted]]
    for wanted in () if module.check_mode else lacking:
        try:
            make(wanted.path, wanted.key_path, list(wanted.names), run)
        except OSError as error:
            module.fail_json(msg=f"{wanted.path}: {error}")
    after = "".join(f"{names[wanted]}: {', '.join(wanted.names)}; {reasons[wanted]}\n" for wanted in lacking)
    module.exit_json(
        changed=bool(lacking),
        made=[str(path) for wanted in lacking for path in (wanted.path, wanted.key_path)],
        diff={"before": "", "after": after, "before_header": "certificates", "after_header": "certificates"},
    )


if __name__ == "__main__":
    main()
