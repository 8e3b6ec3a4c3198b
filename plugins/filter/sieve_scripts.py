# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: sieve_scripts
short_description: Collect the Sieve scripts that domains and mailboxes declare
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Reads the field C(sieve) of the domains, and of their mailboxes, in the structure that the role
    P(postoffice.mail.directory#role) takes.
  - What is malformed is passed over. The directory's own validation says what is wrong with it, and where.
options:
  _input:
    description: The domains, a list.
    type: raw
    required: true
  site:
    description: Scripts that run for everybody, before those of domains and mailboxes.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show who has a script
  ansible.builtin.debug:
    msg: "{{ (mail_domains | postoffice.mail.sieve_scripts).mailboxes.keys() }}"
  vars:
    mail_domains:
      - name: example.org
        mailboxes:
          - name: alice
            sieve: |
              require ["fileinto"];
              if header :contains "List-Id" "club" { fileinto "Club"; }
"""

RETURN = r"""
_value:
  description: The scripts, by normalised domain and address.
  type: dict
  contains:
    site:
      description: The option O(site).
      type: list
      elements: str
    domains:
      description: A script for each domain that has one.
      type: dict
      sample: {"example.org": "keep;"}
    mailboxes:
      description: A script for each address that has one.
      type: dict
      sample: {"alice@example.org": "keep;"}
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..module_utils.directory.errors import MissingLibrary
from ..module_utils.directory.names import domain_name, mailbox_name


def _entries(value: object, field: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a list that have a field; whatever else is there is passed over."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for entry in value:
            if isinstance(entry, Mapping) and field in entry:
                yield entry


def _name(normalise: Callable[[str], str], entry: Mapping[str, Any]) -> str:
    """The normalised name of a domain or mailbox, an empty text when it has none that is valid."""
    name = entry.get("name")
    if not isinstance(name, str):
        return ""
    try:
        return normalise(name)
    except (ValueError, MissingLibrary):
        return ""


def _script(entry: Mapping[str, Any]) -> str:
    script = entry.get("sieve")
    return script if isinstance(script, str) and script.strip() else ""


def sieve_scripts(domains: object, site: Sequence[str] = ()) -> dict[str, Any]:
    """Return `{site: [script], domains: {domain: script}, mailboxes: {address: script}}`."""
    found: dict[str, Any] = {"site": list(site), "domains": {}, "mailboxes": {}}
    for entry in _entries(domains, "name"):
        domain = _name(domain_name, entry)
        if not domain:
            continue
        if script := _script(entry):
            found["domains"][domain] = script
        for mailbox in _entries(entry.get("mailboxes"), "sieve"):
            if (script := _script(mailbox)) and (local_part := _name(mailbox_name, mailbox)):
                found["mailboxes"][f"{local_part}@{domain}"] = script
    return found


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"sieve_scripts": sieve_scripts}
