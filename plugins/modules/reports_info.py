#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: reports_info
short_description: Add up what others report about mail in the name of one's domains
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Reads the messages of a mailbox with C(doveadm), and takes reports on DMARC (RFC 7489) and on TLS (RFC 8460) out of them.
    Changes nothing.
  - Strangers send such messages. What is larger than any report, declares entities or cannot be read is named, and not
    believed; a report that has come twice counts once.
options:
  mailbox:
    description: The address of the mailbox.
    type: str
    required: true
  folder:
    description: The folder.
    type: str
    default: INBOX
  days:
    description: Messages that have come within so many days.
    type: int
    default: 30
  names:
    description: Whether the names of addresses are asked for.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Changes nothing in any case.
  diff_mode:
    support: none
    description: Changes nothing.
  platform:
    support: full
    platforms: debian
    description: Hosts with Dovecot.
"""

EXAMPLES = r"""
- name: Add the reports up
  postoffice.mail.reports_info:
    mailbox: reports@example.org
    days: 7
  register: reports

- name: Show them
  ansible.builtin.debug:
    msg: "{{ reports.lines | join('\n') }}\n"
"""

RETURN = r"""
lines:
  description: For each domain who sends in its name, and what failed, in lines for people.
  returned: success
  type: list
  elements: str
  sample:
    - example.org
    - "  2 reports of 1 receiver, 2026-10-01 to 2026-10-03"
    - "  14 messages in its name, 12 proved it, 2 did not"
    - "    203.0.113.7: 2 FAILED, 2 refused; for other.example; told by receiver.example"
    - "    192.0.2.25 (mail.example.org): 12 passed"
messages:
  description: How many messages were looked at.
  returned: success
  type: int
  sample: 2
unreadable:
  description: How many of them held something that cannot be read.
  returned: success
  type: int
  sample: 0
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.reports.module import ARGUMENT_SPEC, run_module


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    run_module(module)


if __name__ == "__main__":
    main()
