#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: directory_info
short_description: Read the domains, mailboxes and aliases of a mail server
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Returns what the directory holds. Passwords and hashes are never among it.
options:
  domain:
    description:
      - Return this domain only.
    type: str
extends_documentation_fragment:
  - postoffice.mail.directory
attributes:
  check_mode:
    support: full
    description: Can run in check_mode and return changed status prediction without modifying target.
  diff_mode:
    support: none
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
"""

EXAMPLES = r"""
- name: Read the directory
  postoffice.mail.directory_info:
  register: directory

- name: Name the mailboxes that have left
  ansible.builtin.debug:
    msg: "{{ directory.mailboxes | rejectattr('removed_at', 'none') | map(attribute='address') }}"
"""

RETURN = r"""
exists:
  description: Whether there is a database.
  returned: success
  type: bool
  sample: true
schema:
  description: The number of its schema, 0 when there is none.
  returned: success
  type: int
  sample: 1
domains:
  description: The domains.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: The domain., type: str}
    kind: {description: "V(local), V(alias) or V(relay).", type: str}
    alias_of: {description: The domain that it is an alias of., type: str}
    relay_to: {description: "Where it is relayed to: C(nexthop) and C(recipients).", type: dict}
    catch_all: {description: Where other addresses lead., type: list, elements: str}
    expressions: {description: Regular-expression aliases., type: list, elements: dict}
    default_quota: {description: The default quota in bytes., type: int}
    limits: {description: Its limits., type: dict}
    sending_limits: {description: "How much its mailboxes may send by default, 0 for without limit.", type: dict}
    managed_by: {description: Who manages it., type: str}
    removed_at: {description: "When it left the directory, in seconds since 1970.", type: int}
mailboxes:
  description: The mailboxes.
  returned: success
  type: list
  elements: dict
  contains:
    address: {description: The address., type: str}
    display_name: {description: The person's name., type: str}
    quota: {description: "The quota in bytes, 0 for none.", type: int}
    state: {description: "V(active), V(disabled), V(send-only) or V(receive-only).", type: str}
    may_send_as: {description: Further senders., type: list, elements: str}
    sending_limits: {description: "How much it may send by limits of its own, 0 for without limit.", type: dict}
    has_password: {description: Whether anybody can log in., type: bool}
    managed_by: {description: Who manages it., type: str}
    removed_at: {description: "When it left the directory, in seconds since 1970.", type: int}
aliases:
  description: The aliases.
  returned: success
  type: list
  elements: dict
  contains:
    address: {description: The address., type: str}
    destinations: {description: Where it leads., type: list, elements: str}
    managed_by: {description: Who manages it., type: str}
    removed_at: {description: "When it left the directory, in seconds since 1970.", type: int}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.postoffice.mail.plugins.module_utils.directory_module import INFO, run_info


def main() -> None:
    module = AnsibleModule(argument_spec=INFO, supports_check_mode=True)
    run_info(module)


if __name__ == "__main__":
    main()
