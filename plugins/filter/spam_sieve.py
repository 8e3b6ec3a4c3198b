# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: spam_sieve
short_description: Make the Sieve script that files spam, with what domains and mailboxes declare
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Reads the field C(spam) of the domains, and of their mailboxes, in the structure that the role
    P(postoffice.mail.directory#role) takes, and writes a script that files by the points in the header.
  - Where nobody declares anything it is the script that was given. Without one there is none.
  - What is malformed is passed over. The directory's own validation says what is wrong with it, and where.
options:
  _input:
    description: The domains, a list.
    type: raw
    required: true
  site:
    description: The scripts for those who declare nothing. An empty list means that nothing is filed.
    type: list
    elements: str
    required: true
  folder:
    description: The folder for spam.
    type: str
    default: Junk
"""

EXAMPLES = r"""
- name: Show how spam is filed
  ansible.builtin.debug:
    msg: "{{ mail_domains | postoffice.mail.spam_sieve(site=spamassassin_sieve) }}"
  vars:
    mail_domains:
      - name: example.org
        mailboxes:
          - name: alice
            spam: {junk_from: 3.5, allow: [friend@partner.example], block: ["@shouting.example"]}
"""

RETURN = r"""
_value:
  description: The scripts, none or one, or those that were given.
  type: list
  elements: str
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..module_utils.directory.errors import MissingLibrary
from ..module_utils.directory.names import any_address, domain_name, mailbox_name

HEAD = """\
# Spam is filed apart, and answered by nobody: by the points of the site, of the domain, or of the mailbox.
require ["comparator-i;ascii-numeric", "envelope", "fileinto", "mailbox", "relational", "variables"];
set "dollar" "$";
set "points" "0";
set "tenths" "0";
if allof(not header :matches "X-Spam-Score" "-*", header :matches "X-Spam-Score" "*.*") {
    set "points" "${1}";
    set "tenths" "${2}";
}
"""
FLAGGED = 'header :contains "X-Spam-Flag" "YES"'
NUMERIC = ':comparator "i;ascii-numeric"'


def _entries(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        yield from (entry for entry in value if isinstance(entry, Mapping))


def _read(reader: Callable[[str], str], value: object) -> str:
    """The value as the directory stores it, an empty text when it is not valid."""
    try:
        return reader(value) if isinstance(value, str) else ""
    except (ValueError, MissingLibrary):
        return ""


def _senders(value: object, domain: str) -> tuple[list[str], list[str]]:
    """The addresses, and the domains, of a list."""
    items = [value] if isinstance(value, str) else value if isinstance(value, Sequence) else []
    texts = [item.strip() for item in items if isinstance(item, str)]
    domains = [_read(domain_name, text[1:]) for text in texts if text.startswith("@")]
    addresses = [_read(lambda item: any_address(item, domain), text) for text in texts if not text.startswith("@")]
    return sorted(filter(None, addresses)), sorted(filter(None, domains))


def _quoted(text: str) -> str:
    """A text of Sieve in which no variable is seen."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "${dollar}") + '"'


def _list(texts: Sequence[str]) -> str:
    return "[" + ", ".join(_quoted(text) for text in texts) + "]"


def _from(value: object, domain: str) -> str:
    """The test whether a message is from one of the senders, an empty text when there are none."""
    addresses, domains = _senders(value, domain)
    tests = [f'address :all :is "From" {_list(addresses)}'] if addresses else []
    tests += [f'address :domain :is "From" {_list(domains)}'] if domains else []
    return f"anyof({', '.join(tests)})" if len(tests) > 1 else "".join(tests)


def _reaches(limit: object) -> str:
    """The test whether a message has as many points; 0 is never."""
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        return FLAGGED
    if limit <= 0:
        return "false"
    points, tenths = divmod(round(limit * 10), 10)
    more = f'string :value "gt" {NUMERIC} "${{points}}" "{points}"'
    same = f'string :value "eq" {NUMERIC} "${{points}}" "{points}"'
    return f'anyof({more}, allof({same}, string :value "ge" {NUMERIC} "${{tenths}}" "{tenths}"))'


def _decision(declared: Sequence[Mapping[str, Any]], domain: str, folder: str) -> list[str]:
    """What happens to a message, by what a mailbox declares and then its domain; the first that matches decides."""
    file = f"fileinto :create {_quoted(folder)}; stop;"
    branches = []
    for each in declared:
        branches += [(_from(each.get("allow"), domain), "# It is wanted."), (_from(each.get("block"), domain), file)]
    limit = next((each["junk_from"] for each in declared if each.get("junk_from") is not None), None)
    branches.append((_reaches(limit), file))
    lines: list[str] = []
    for test, action in branches:
        if test:
            word = "elsif" if lines else "if"
            lines += [f"    {word} {test} {{", f"        {action}", "    }"]
    return lines


def _people(domains: object) -> Iterator[tuple[str, list[str], list[Mapping[str, Any]], str]]:
    """Who declares something: a title, the envelope's recipients, what is declared, and the domain."""
    for entry in _entries(domains):
        domain = _read(domain_name, entry.get("name"))
        if not domain:
            continue
        shared = [entry["spam"]] if isinstance(entry.get("spam"), Mapping) else []
        for mailbox in _entries(entry.get("mailboxes")):
            name = _read(mailbox_name, mailbox.get("name"))
            if name and isinstance(mailbox.get("spam"), Mapping):
                recipients = [f"{name}@{domain}", f"{name}+*@{domain}"]
                yield f"{name}@{domain}", recipients, [mailbox["spam"], *shared], domain
        if shared:
            yield domain, [f"*@{domain}"], shared, domain


def spam_sieve(domains: object, site: Sequence[str], folder: str = "Junk") -> list[str]:
    """Return the scripts that file spam."""
    people = list(_people(domains)) if site else []
    if not people:
        return list(site)
    lines = [HEAD]
    for number, (title, recipients, declared, domain) in enumerate(people):
        lines += [f"# {title}", f'{"elsif" if number else "if"} envelope :all :matches "to" {_list(recipients)} {{']
        lines += [*_decision(declared, domain, folder), "}"]
    lines += [f"elsif {FLAGGED} {{", f"    fileinto :create {_quoted(folder)}; stop;", "}", ""]
    return ["\n".join(lines)]


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"spam_sieve": spam_sieve}
