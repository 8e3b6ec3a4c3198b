#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: alias
short_description: Declare one alias of a mail server
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Creates, changes or deletes one address in the directory that leads to others. Its domain must be there.
options:
  address:
    description:
      - The address of the alias.
    type: str
    required: true
  destinations:
    description:
      - Where its mail goes, addresses here or elsewhere. A local part alone is one of the same domain.
      - Required when O(state=present).
    type: list
    elements: str
  state:
    description:
      - Whether the alias exists. An alias that is V(absent) is deleted, since it has no mail to keep.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - postoffice.mail.directory
  - postoffice.mail.directory.writing
"""

EXAMPLES = r"""
- name: Pass the club's mail on to the board
  postoffice.mail.alias:
    address: club@example.org
    destinations:
      - alice@example.org
      - bob@partner.example
"""

RETURN = r"""
changes:
  description: What was done, or would be in check mode. At most a thousand objects are listed.
  returned: success
  type: list
  elements: dict
  contains:
    type:
      description: V(domain), V(mailbox) or V(alias).
      type: str
    name:
      description: The domain or the address.
      type: str
    action:
      description: V(create), V(update), V(disable) when it left the directory but is kept, V(restore) or V(delete).
      type: str
  sample:
    - type: mailbox
      name: alice@example.org
      action: create
changes_omitted:
  description: How many more objects were changed than RV(changes) lists.
  returned: success
  type: int
  sample: 0
summary:
  description: How many objects of each type were created, updated, disabled, restored and deleted.
  returned: success
  type: dict
  sample:
    mailbox: {create: 1, update: 0, disable: 0, restore: 0, delete: 0}
published:
  description: Whether what Postfix reads was brought up to date.
  returned: success
  type: bool
  sample: true
problems:
  description: Every mistake in the options, one line each, beginning with where it is.
  returned: when the options cannot be
  type: list
  elements: str
  sample:
    - "mail_domains[3].mailboxes[0].name: 'a b' cannot stand before an @"
error:
  description: Why the database could not be used.
  returned: when the database cannot be used
  type: str
  sample: NewerSchema
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.postoffice.mail.plugins.module_utils.directory import objects
from ansible_collections.postoffice.mail.plugins.module_utils.directory_module import ALIAS, run_object


def main() -> None:
    module = AnsibleModule(
        argument_spec=ALIAS, supports_check_mode=True, required_if=[("state", "present", ["destinations"])]
    )
    run_object(module, objects.alias)


if __name__ == "__main__":
    main()
