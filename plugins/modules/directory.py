#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: directory
short_description: Bring all domains, mailboxes and aliases of a mail server to what is declared
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Compares one structure, a list of domains with their mailboxes and aliases, with the directory and applies what
    differs in one transaction.
  - What left the structure is disabled and kept, and so is its mail, unless O(absent) says otherwise.
  - All mistakes in the structure are reported at once, each with its path, before anything is touched.
options:
  domains:
    description:
      - The list of domains as a JSON text; pass a list through the filter P(ansible.builtin.to_json#filter). The role
        C(postoffice.mail.directory) documents its fields.
      - It holds passwords, so it is never logged as a whole. Use no other option for them.
    type: json
    required: true
  variable:
    description:
      - What the structure is called where its errors are read, such as the variable it comes from.
    type: str
    default: domains
  managed_by:
    description:
      - In whose name this is declared. What others manage is never touched, unless O(adopt) says so.
    type: str
    default: inventory
  absent:
    description:
      - What happens to what was declared earlier in the name of O(managed_by) and is not declared any more.
      - With V(disable) it is disabled and kept, and comes back as it was when it is declared again.
      - With V(delete) domains and aliases are deleted; mailboxes are disabled, and deleted by the first run that is
        O(retention_days) later. Files of mail are not touched.
    type: str
    choices: [disable, delete]
    default: disable
  retention_days:
    description:
      - How long a mailbox that is to be deleted is kept.
    type: int
    default: 30
  validate_only:
    description:
      - Check the structure by itself and do nothing else. Neither a database nor passlib is needed.
    type: bool
    default: false
extends_documentation_fragment:
  - postoffice.mail.directory
  - postoffice.mail.directory.writing
  - postoffice.mail.directory.passwords
"""

EXAMPLES = r"""
- name: Reconcile the directory
  postoffice.mail.directory:
    domains: "{{ mail_domains | to_json }}"
    variable: mail_domains

- name: Check what is declared
  postoffice.mail.directory:
    domains: "{{ mail_domains | to_json }}"
    variable: mail_domains
    validate_only: true
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

from ansible_collections.postoffice.mail.plugins.module_utils.directory_module import DIRECTORY, run_directory


def main() -> None:
    module = AnsibleModule(argument_spec=DIRECTORY, supports_check_mode=True)
    run_directory(module)


if __name__ == "__main__":
    main()
