# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: login_domains
short_description: Whose addresses the people of each mail domain log in with
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Takes O(_input) as people write C(mail_domains), and says of each domain that has mailboxes here in which domain
    they are. For one that is an alias of another, that is the other.
positional: _input
options:
  _input:
    description: The domains.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what people log in with
  ansible.builtin.debug:
    msg: "{{ mail_domains | postoffice.mail.login_domains }}"
"""

RETURN = r"""
_value:
  description: The domain of the mailboxes, by domain. Domains that are relayed are left out.
  type: dict
  sample: {example.org: example.org, example.net: example.org}
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.directory.names import domain_name


def login_domains(domains: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the domain of the mailboxes of each; an error names the place."""
    found: dict[str, str] = {}
    for number, domain in enumerate(domains):
        if "relay_to" in domain:
            continue
        try:
            name = domain_name(str(domain.get("name", "")))
            found[name] = domain_name(str(domain["alias_of"])) if domain.get("alias_of") else name
        except ValueError as error:
            raise AnsibleFilterError(f"mail_domains[{number}]: {error}") from None
    return found


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[..., dict[str, str]]]:
        return {"login_domains": login_domains}
