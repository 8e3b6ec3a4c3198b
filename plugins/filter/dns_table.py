# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: dns_table
short_description: Say in lines for people which records are there
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Returns a heading for each domain, and a line for each of its records, with what single nameservers have instead.
options:
  _input:
    description: The records as P(postoffice.mail.dns_records#module) returns them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what is there
  ansible.builtin.debug:
    msg: "{{ published.records | postoffice.mail.dns_table | join('\n') }}\n"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
  sample: ["example.org: 1 missing", "  missing  example.org. MX 10 mail.example.org."]
"""

from collections.abc import Callable

from ..module_utils.dns.report import table


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"dns_table": table}
