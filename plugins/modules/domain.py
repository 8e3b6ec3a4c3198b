#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: domain
short_description: Declare one domain of a mail server
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Creates or changes one domain in the directory, without its mailboxes and aliases.
  - What is not given stays as it is.
options:
  name:
    description:
      - The domain. Accents are allowed.
    type: str
    required: true
  alias_of:
    description:
      - Another domain of the directory; every address that exists there exists here as well.
    type: str
  relay_to:
    description:
      - Mail of this domain is passed on to another server.
    type: dict
    suboptions:
      host:
        description: Its name or IP address.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        default: 25
      recipients:
        description: The addresses that exist there; without them every recipient is accepted.
        type: list
        elements: str
  catch_all:
    description:
      - Where mail to addresses goes that nothing else of the domain matches. An empty list takes it away.
    type: list
    elements: str
  expressions:
    description:
      - Regular-expression aliases, in the order in which they are tried.
    type: list
    elements: dict
    suboptions:
      pattern:
        description: What the whole local part must match (PCRE).
        type: str
        required: true
      destinations:
        description: Where such mail goes; C($1) to C($9) stand for the groups of the pattern.
        type: list
        elements: str
        required: true
  defaults:
    description:
      - What a mailbox gets that does not say.
    type: dict
    suboptions:
      quota:
        description: Its quota, such as V(5G).
        type: str
      sending_limits:
        description: How much it may send, V(0) for no limit. What is left out is the site's default.
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
  limits:
    description:
      - What the domain may hold.
    type: dict
    suboptions:
      max_mailboxes:
        description: How many mailboxes.
        type: int
      max_aliases:
        description: How many aliases.
        type: int
      max_quota:
        description: The largest quota of one mailbox.
        type: str
      max_total_quota:
        description: What the quotas of all its mailboxes may add up to.
        type: str
  state:
    description:
      - Whether the domain is in service. Only one without mailboxes and aliases can be V(absent).
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - postoffice.mail.directory
  - postoffice.mail.directory.writing
"""

EXAMPLES = r"""
- name: Serve a domain
  postoffice.mail.domain:
    name: example.org
    catch_all: [info@example.org]
    defaults:
      quota: 5G

- name: Let another domain mean the same
  postoffice.mail.domain:
    name: example.net
    alias_of: example.org
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
from ansible_collections.postoffice.mail.plugins.module_utils.directory_module import DOMAIN, run_object


def main() -> None:
    module = AnsibleModule(
        argument_spec=DOMAIN, supports_check_mode=True, mutually_exclusive=[("alias_of", "relay_to")]
    )
    run_object(module, objects.domain)


if __name__ == "__main__":
    main()
