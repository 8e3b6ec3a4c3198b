# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: domains_from_csv
short_description: Turn a CSV of mailboxes and aliases into a list of domains
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Makes the structure that the role P(postoffice.mail.directory#role) takes from a table with one address per line.
  - The first line names the columns. C(address) is required; C(password), C(password_hash), C(display_name), C(quota)
    and C(state) mean what they mean in a mailbox, as do C(aliases) and C(may_send_as), whose addresses are separated by
    blanks.
  - A line with something in the column C(destinations), addresses separated by blanks, is an alias.
  - An empty cell is a field that is not given.
options:
  _input:
    description: The text of the CSV.
    type: str
    required: true
  domains:
    description:
      - Domains that the addresses are added to, for everything that is not in the table. Domains that only the table
        names are added at the end.
    type: list
    elements: dict
    default: []
  delimiter:
    description: What separates the columns.
    type: str
    default: ","
"""

EXAMPLES = r"""
# group_vars/mail/domains.yml, beside members.csv:
#   address,password_hash,display_name,quota,aliases,destinations
#   alice@example.org,{SHA512-CRYPT}$6$...,Alice Liddell,5G,sales press,
#   info@example.org,,,,,alice@example.org bob@partner.example
- name: Show how many there are
  ansible.builtin.debug:
    msg: "{{ mail_domains | map(attribute='mailboxes') | map('length') | sum }}"
  vars:
    mail_domains: >-
      {{ lookup('ansible.builtin.file', inventory_dir ~ '/members.csv')
         | postoffice.mail.domains_from_csv(domains=[{'name': 'example.org', 'catch_all': 'info'}]) }}
"""

RETURN = r"""
_value:
  description: The domains with their mailboxes and aliases.
  type: list
  elements: dict
  sample:
    - name: example.org
      mailboxes:
        - name: alice
          quota: 5G
      aliases: []
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any

from ansible.errors import AnsibleFilterError

SINGLE = ("password", "password_hash", "display_name", "quota", "state")
LISTS = ("aliases", "may_send_as")
COLUMNS = {"address", "destinations", *SINGLE, *LISTS}


def domains_from_csv(
    text: str, domains: Sequence[Mapping[str, Any]] = (), delimiter: str = ","
) -> list[dict[str, Any]]:
    """Return `domains` with the lines of a CSV added; errors name the line."""
    made = {str(domain.get("name")): _copied(domain) for domain in domains}
    reader = csv.reader(StringIO(text.removeprefix("\ufeff")), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        _check(columns)
        for cells in reader:
            if any(cells):
                _add(made, columns, cells, reader.line_num)
    except csv.Error as error:
        raise AnsibleFilterError(f"line {reader.line_num} of the CSV: {error}") from error
    return list(made.values())


def _copied(domain: Mapping[str, Any]) -> dict[str, Any]:
    return {**domain, **{kind: list(domain.get(kind) or ()) for kind in ("mailboxes", "aliases")}}


def _check(columns: list[str]) -> None:
    if "address" not in columns:
        raise AnsibleFilterError("the first line of the CSV has to name its columns, address among them")
    if unknown := sorted(set(columns) - COLUMNS):
        raise AnsibleFilterError(
            f"the CSV has unknown columns: {', '.join(unknown)}; known are {', '.join(sorted(COLUMNS))}"
        )


def _add(made: dict[str, dict[str, Any]], columns: list[str], cells: list[str], line: int) -> None:
    if len(cells) > len(columns):
        raise AnsibleFilterError(
            f"line {line} of the CSV has {len(cells)} cells, the first line {len(columns)} columns"
        )
    given = {column: cell for column, cell in zip(columns, cells, strict=False) if cell}
    local, at, name = given.get("address", "").strip().rpartition("@")
    if not at:
        raise AnsibleFilterError(f"line {line} of the CSV has no full address in the column address")
    entry: dict[str, Any] = {"name": local}
    entry |= {column: given[column] for column in SINGLE if column in given}
    entry |= {column: given[column].split() for column in (*LISTS, "destinations") if column in given}
    domain = made.setdefault(name, _copied({"name": name}))
    domain["aliases" if "destinations" in entry else "mailboxes"].append(entry)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"domains_from_csv": domains_from_csv}
