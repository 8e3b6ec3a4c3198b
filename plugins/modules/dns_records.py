#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dns_records
short_description: Compare records with what nameservers publish, and publish them
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Asks every nameserver of each record's zone itself, not a resolver that remembers what was there before.
  - A record is compared by what it means. An SPF record may permit more than is wanted, another key may be published beside
    one of DANE, a second mail server may come after the wanted one, and TXT records for other purposes are nobody's business.
  - With O(state=present), what is missing or wrong is sent to the server that takes updates (RFC 2136), all of a zone in one
    update, signed with a key (RFC 8945). Values that contradict the wanted ones are deleted; all others stay. Names of addresses
    (PTR) are left to whoever gave the addresses.
requirements: [dnspython]
options:
  records:
    description:
      - A list of records, or its JSON text, as P(postoffice.mail.dns_records#filter) returns it. Each has C(name), C(type) and C(value).
      - C(type) is one of V(A), V(AAAA), V(CAA), V(CNAME), V(MX), V(PTR), V(SRV), V(TLSA) and V(TXT). C(value) is the text of a TXT
        record in one piece; otherwise what zone files have, with a dot at the end of each name.
      - C(domain) and C(purpose) are told to people.
    type: json
    required: true
  state:
    description: V(checked) changes nothing.
    type: str
    choices: [checked, present]
    default: checked
  ttl:
    description: How long others may keep the records that are published, in seconds.
    type: int
    default: 3600
  server:
    description: The name or address of the server that takes updates. By default it is the one that the zone itself names.
    type: str
    default: ""
  port:
    description: Its port.
    type: int
    default: 53
  key_name:
    description: The name of the key with which updates are signed.
    type: str
    default: ""
  key_secret:
    description: The key, in base64.
    type: str
    default: ""
  key_algorithm:
    description: What it is for.
    type: str
    default: hmac-sha256
attributes:
  check_mode:
    support: full
    description: Compares, and says what would be published.
  diff_mode:
    support: full
    description: Shows the values that go and come.
  platform:
    support: full
    platforms: posix
    description: Hosts with dnspython, from which the nameservers can be reached.
seealso:
  - plugin: postoffice.mail.dns_records
    plugin_type: filter
    description: Says which records a mail server needs.
  - plugin: postoffice.mail.dns_table
    plugin_type: filter
    description: Turns the result into lines for people.
"""

EXAMPLES = r"""
- name: Compare
  postoffice.mail.dns_records:
    records:
      - name: example.org
        type: MX
        value: 10 mail.example.org.
  register: published

- name: Publish
  postoffice.mail.dns_records:
    records: "{{ ['example.org'] | postoffice.mail.dns_records(hostname='mail.example.org') | to_json }}"
    state: present
    server: ns.example.org
    key_name: mail-host
    key_secret: "{{ vault_dns_key }}"
"""

RETURN = r"""
records:
  description: The records as they were given, each with what became of it.
  returned: success
  type: list
  elements: dict
  contains:
    state:
      description:
        - V(present) when every nameserver has it; V(missing) when one does not; V(wrong) when one has something that contradicts it;
          V(unknown) when one does not answer.
      type: str
    others:
      description: The values that contradict it.
      type: list
      elements: str
    notes:
      description: What is to be said of single nameservers.
      type: list
      elements: str
  sample:
    - domain: example.org
      name: example.org
      type: MX
      value: 10 mail.example.org.
      purpose: where its mail goes
      state: wrong
      others: [10 old.example.net.]
      notes: [ns1.example.net has 10 old.example.net.]
counts:
  description: How many records are V(missing), V(wrong) and V(unknown).
  returned: success
  type: dict
  sample: {missing: 2, wrong: 1, unknown: 0}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.dns.module import ARGUMENT_SPEC, run_module


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    run_module(module)


if __name__ == "__main__":
    main()
