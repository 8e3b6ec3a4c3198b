#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mailbox
short_description: Declare one mailbox of a mail server
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Creates or changes one mailbox in the directory. Its domain must be there.
  - What is not given stays as it is; a new mailbox gets the defaults of its domain.
options:
  address:
    description:
      - The address of the mailbox, which is also the name to log in with.
    type: str
    required: true
  password:
    description:
      - The password. Quote it; O(update_password) says when it is used.
    type: str
  password_hash:
    description:
      - Instead of O(password), a hash with its scheme, such as C({SHA512-CRYPT}$6$...).
    type: str
  display_name:
    description:
      - The person's name, for people and programs to show.
    type: str
  quota:
    description:
      - How much mail it holds, such as V(5G) or V(500M); V(0) for no limit.
    type: str
  may_send_as:
    description:
      - Further senders it may use, addresses or C(@example.org) for a whole domain. The list replaces the stored one.
    type: list
    elements: str
  sending_limits:
    description:
      - How much it may send, V(0) for no limit. What is left out is the domain's default, else the site's.
      - The mapping replaces the stored one.
    type: dict
    suboptions:
      messages_per_hour:
        description: Messages within an hour.
        type: int
      messages_per_day:
        description: Messages within 24 hours.
        type: int
      recipients_per_hour:
        description: Recipients of all messages within an hour.
        type: int
      recipients_per_day:
        description: Recipients of all messages within 24 hours.
        type: int
      new_recipients_per_day:
        description: Recipients within 24 hours that it had not written to before.
        type: int
  state:
    description:
      - V(active) receives, reads and sends; V(disabled) none of these.
      - V(send-only) submits mail but receives and reads none; V(receive-only) receives and reads but does not send.
      - V(absent) lets it leave the directory; it is disabled then, and kept with its mail.
      - A new mailbox is V(active).
    type: str
    choices: [active, disabled, send-only, receive-only, absent]
extends_documentation_fragment:
  - postoffice.mail.directory
  - postoffice.mail.directory.writing
  - postoffice.mail.directory.passwords
"""

EXAMPLES = r"""
- name: Give Alice a mailbox
  postoffice.mail.mailbox:
    address: alice@example.org
    password: "{{ alice_password }}"
    display_name: Alice Liddell
    quota: 5G

- name: Bob has left
  postoffice.mail.mailbox:
    address: bob@example.org
    state: absent
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
from ansible_collections.postoffice.mail.plugins.module_utils.directory_module import MAILBOX, run_object


def main() -> None:
    module = AnsibleModule(
        argument_spec=MAILBOX, supports_check_mode=True, mutually_exclusive=[("password", "password_hash")]
    )
    run_object(module, objects.mailbox)


if __name__ == "__main__":
    main()
