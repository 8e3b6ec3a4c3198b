#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dkim_key
short_description: Make DKIM keys, and say what is to be published in the DNS
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Makes a key per domain and selector with C(openssl), on the host, which it never leaves.
  - A key is made once. It is never replaced, neither when other properties are asked for nor when its file is gone; then the
    module fails and says what to do. A new key has a selector of its own, which is how keys are rotated.
  - All keys are looked at before the first is made; when one of them breaks a rule, nothing is changed.
  - A private key is C(DOMAIN/SELECTOR.private) below O(path), with mode 0640. C(DOMAIN/SELECTOR.json) beside it holds what is
    public about it, and stays when the key is retired. A key that is already there is adopted.
options:
  path:
    description: The folder of the keys.
    type: path
    default: /etc/postoffice/dkim
  group:
    description: The group that may read the private keys, that of the signer.
    type: str
    default: root
  keys:
    description:
      - A list of keys, or its JSON text. Each has a C(domain) and a C(selector).
      - C(algorithm) is V(rsa), the default, or V(ed25519).
      - C(bits) is the size of an RSA key, V(2048) by default.
      - C(state) is V(published) for a key that is looked up, though nothing is signed with it yet; V(signing), the default;
        V(retired) for one that nothing is signed with any more. The private key is deleted then. Its record is still returned,
        since mail that was signed with it is still on its way.
      - The module makes no difference between V(published) and V(signing), except that only one key of a domain and an
        algorithm may be V(signing). It is the signer's configuration that follows the state.
    type: json
    required: true
attributes:
  check_mode:
    support: full
    description: Reports what would be made and retired.
  diff_mode:
    support: full
    description: Names the keys that are made, retired or put right, and shows nothing of them.
  platform:
    support: full
    platforms: posix
    description: Hosts with openssl.
seealso:
  - plugin: postoffice.mail.zone_lines
    plugin_type: filter
    description: Turns the records into lines of a zone file.
"""

EXAMPLES = r"""
- name: Make the keys
  postoffice.mail.dkim_key:
    group: opendkim
    keys:
      - domain: example.org
        selector: mail-2026
      - domain: example.org
        selector: mail-2027
        state: published
  register: dkim

- name: Show what is to be published
  ansible.builtin.debug:
    msg: "{{ dkim.records | postoffice.mail.zone_lines }}"
"""

RETURN = r"""
records:
  description:
    - What is to be published, a record for each key. Those of retired keys stay until the mail that they signed is delivered.
    - In check mode a key that would be made has none.
  returned: success
  type: list
  elements: dict
  contains:
    domain:
      description: The domain.
      type: str
    selector:
      description: The selector.
      type: str
    state:
      description: The key's state.
      type: str
    name:
      description: The name of the record, without a dot at its end.
      type: str
    type:
      description: Always V(TXT).
      type: str
    value:
      description: The text of the record, in one piece.
      type: str
  sample:
    - domain: example.org
      selector: mail-2026
      state: signing
      name: mail-2026._domainkey.example.org
      type: TXT
      value: v=DKIM1; h=sha256; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A...
made:
  description: The files of the private keys that were made or, in check mode, would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/postoffice/dkim/example.org/mail-2027.private]
problems:
  description: What cannot be done, one line each, beginning with where it is.
  returned: failure
  type: list
  elements: str
  sample: ["keys[1].selector: is missing"]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.dkim_key_module import ARGUMENT_SPEC, run_module


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    run_module(module)


if __name__ == "__main__":
    main()
