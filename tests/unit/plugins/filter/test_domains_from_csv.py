# SPDX-License-Identifier: GPL-3.0-or-later
"""A table of addresses becomes the structure that is validated like any other."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.postoffice.mail.plugins.filter.domains_from_csv import domains_from_csv
from ansible_collections.postoffice.mail.plugins.module_utils.directory.parse import parse

TABLE = """address,password,quota,aliases,destinations
alice@example.org,"a, ""b"" {{ c }}",5G,sales press@example.net,
bob@example.net,,,,

info@example.org,,,,alice@example.org bob@partner.example
"""


def test_lines_become_mailboxes_and_aliases() -> None:
    domains = domains_from_csv("\ufeff" + TABLE, domains=[{"name": "example.org", "catch_all": "info"}])
    assert domains == [
        {
            "name": "example.org",
            "catch_all": "info",
            "mailboxes": [
                {
                    "name": "alice",
                    "password": 'a, "b" {{ c }}',
                    "quota": "5G",
                    "aliases": ["sales", "press@example.net"],
                }
            ],
            "aliases": [{"name": "info", "destinations": ["alice@example.org", "bob@partner.example"]}],
        },
        {"name": "example.net", "mailboxes": [{"name": "bob"}], "aliases": []},
    ]
    assert len(parse(domains, "inventory").directory.mailboxes) == 2


def test_the_given_domains_are_not_changed() -> None:
    given = [{"name": "example.org", "mailboxes": [{"name": "carol"}]}]
    assert [entry["name"] for entry in domains_from_csv(TABLE, domains=given)[0]["mailboxes"]] == ["carol", "alice"]
    assert given == [{"name": "example.org", "mailboxes": [{"name": "carol"}]}]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has to name its columns"),
        ("name\nalice", "has to name its columns"),
        ("address,color\na@b.example,red", "unknown columns: color"),
        ("address\nalice", "line 2 of the CSV has no full address"),
        ("address\na@b.example,1", "line 2 of the CSV has 2 cells"),
        ('address\n"a@b.example', "of the CSV: unexpected end"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(text: str, says: str) -> None:
    with pytest.raises(AnsibleFilterError, match=says):
        domains_from_csv(text)
