# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tables take and refuse, whoever writes to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.directory import store

# A row of each table, nothing in it empty where that is allowed; parents come before their children.
ROWS: dict[str, dict[str, Any]] = {
    "domain": {
        "name": "0123.example",
        "kind": "local",
        "alias_of": "",
        "nexthop": "",
        "any_recipient": 1,
        "default_quota": 2,
        "max_mailboxes": 3,
        "max_aliases": 4,
        "max_quota": 5,
        "max_total_quota": 6,
        "managed_by": "inventory",
        "removed_at": 7,
    },
    "domain_catch_all": {"domain": "0123.example", "destination": "a@0123.example"},
    "domain_expression": {"domain": "0123.example", "position": 0, "pattern": "x.*"},
    "domain_expression_destination": {"domain": "0123.example", "position": 0, "destination": "a@0123.example"},
    "relay_recipient": {"domain": "0123.example", "address": "b@0123.example"},
    "mailbox": {
        "address": "a@0123.example",
        "password": "{PLAIN}secret",
        "display_name": "A",
        "quota": 0,
        "state": "active",
        "managed_by": "inventory",
        "removed_at": 7,
    },
    "mailbox_sender": {"mailbox": "a@0123.example", "sender": "@lists.example"},
    "mailbox_sending_limit": {"mailbox": "a@0123.example", "name": "messages_per_day", "most": 0},
    "domain_sending_limit": {"domain": "0123.example", "name": "messages_per_day", "most": 0},
    "alias": {"address": "c@0123.example", "managed_by": "inventory", "removed_at": 7},
    "alias_destination": {"alias": "c@0123.example", "destination": "a@0123.example"},
}
COLUMNS = [(table, column) for table, row in ROWS.items() for column in row]
OPTIONAL = {"max_mailboxes", "max_aliases", "max_quota", "max_total_quota", "removed_at"}
KEYS = {
    "domain": ["name"],
    "domain_catch_all": ["domain", "destination"],
    "domain_expression": ["domain", "position"],
    "domain_expression_destination": ["domain", "position", "destination"],
    "relay_recipient": ["domain", "address"],
    "mailbox": ["address"],
    "mailbox_sender": ["mailbox", "sender"],
    "mailbox_sending_limit": ["mailbox", "name"],
    "domain_sending_limit": ["domain", "name"],
    "alias": ["address"],
    "alias_destination": ["alias", "destination"],
}
PARENTS = {
    "domain_catch_all": "domain",
    "domain_expression": "domain",
    "domain_expression_destination": "domain_expression",
    "relay_recipient": "domain",
    "mailbox_sender": "mailbox",
    "mailbox_sending_limit": "mailbox",
    "domain_sending_limit": "domain",
    "alias_destination": "alias",
}


@pytest.fixture
def tables() -> Iterator[sqlite3.Connection]:
    """An empty directory."""
    with store.in_memory() as connection:
        yield connection


@pytest.fixture
def filled(tables: sqlite3.Connection) -> sqlite3.Connection:
    """A directory with a row in every table."""
    for table in ROWS:
        insert(tables, table)
    return tables


def insert(tables: sqlite3.Connection, table: str, **changes: Any) -> None:
    row = {**ROWS[table], **changes}
    marks = ", ".join("?" * len(row))
    tables.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values())).close()


def replace(tables: sqlite3.Connection, table: str, **changes: Any) -> None:
    """Change the one row of a table."""
    assignments = ", ".join(f"{column} = ?" for column in changes)
    tables.execute(f"UPDATE {table} SET {assignments}", list(changes.values())).close()


def content(tables: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    return tables.execute(f"SELECT * FROM {table}").fetchall()


def test_these_are_the_tables_and_their_columns(filled: sqlite3.Connection) -> None:
    """A row comes back as it was written, numbers as numbers."""
    names = filled.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    assert {name for (name,) in names} == ROWS.keys()
    for table, row in ROWS.items():
        assert content(filled, table) == [tuple(row.values())]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_nothing_is_left_open_but_what_may_be(filled: sqlite3.Connection, table: str, column: str) -> None:
    if column in OPTIONAL:
        replace(filled, table, **{column: None})
    else:
        with pytest.raises(sqlite3.IntegrityError, match=f"NOT NULL constraint failed: {table}.{column}"):
            replace(filled, table, **{column: None})


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_column_holds_one_type(filled: sqlite3.Connection, table: str, column: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="cannot store BLOB value"):
        replace(filled, table, **{column: b"\0"})


@pytest.mark.parametrize("table", KEYS)
def test_a_key_is_there_once(filled: sqlite3.Connection, table: str) -> None:
    key = {column: ROWS[table][column] for column in KEYS[table]}
    other = {column: value for column, value in ROWS[table].items() if column not in key}
    for column, value in other.items():
        if isinstance(value, str) and column not in ("kind", "alias_of", "nexthop", "state"):
            other[column] = f"{value}, another"
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE constraint failed"):
        insert(filled, table, **other)


@pytest.mark.parametrize(("table", "column"), [(table, column) for table, key in KEYS.items() for column in key])
def test_a_key_counts_in_all_its_parts(filled: sqlite3.Connection, table: str, column: str) -> None:
    filled.execute("PRAGMA foreign_keys = off").close()
    value = ROWS[table][column]
    insert(filled, table, **{column: 1 if value == 0 else f"another-{value}"})
    assert len(content(filled, table)) == 2


@pytest.mark.parametrize("child", PARENTS)
def test_no_row_is_without_its_parent(tables: sqlite3.Connection, child: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY constraint failed"):
        insert(tables, child)


@pytest.mark.parametrize("child", PARENTS)
def test_a_row_goes_with_its_parent(filled: sqlite3.Connection, child: str) -> None:
    filled.execute(f"DELETE FROM {PARENTS[child]}").close()
    assert content(filled, child) == []


DOMAINS = [
    # kind, alias_of, nexthop, whether there may be such a domain
    ("local", "", "", True),
    ("alias", "example.org", "", True),
    ("relay", "", "[192.0.2.1]:25", True),
    ("other", "", "", False),
    ("", "", "", False),
    ("local", "example.org", "", False),
    ("local", "", "[192.0.2.1]:25", False),
    ("alias", "", "", False),
    ("alias", "example.org", "[192.0.2.1]:25", False),
    ("relay", "", "", False),
    ("relay", "example.org", "[192.0.2.1]:25", False),
]


@pytest.mark.parametrize(("kind", "alias_of", "nexthop", "taken"), DOMAINS)
def test_an_alias_has_a_target_and_a_relay_a_next_hop(
    tables: sqlite3.Connection, kind: str, alias_of: str, nexthop: str, taken: bool
) -> None:
    row = {"kind": kind, "alias_of": alias_of, "nexthop": nexthop}
    if taken:
        insert(tables, "domain", **row)
    else:
        with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
            insert(tables, "domain", **row)


@pytest.mark.parametrize("change", [{"quota": -1}, {"state": "other"}, {"state": ""}])
def test_a_mailbox_is_refused(tables: sqlite3.Connection, change: dict[str, Any]) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
        insert(tables, "mailbox", **change)


@pytest.mark.parametrize("table", ["mailbox_sending_limit", "domain_sending_limit"])
def test_nobody_sends_less_than_nothing(filled: sqlite3.Connection, table: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
        replace(filled, table, most=-1)


@pytest.mark.parametrize("state", ["active", "disabled", "send-only", "receive-only"])
def test_a_mailbox_is_in_one_of_four_states(tables: sqlite3.Connection, state: str) -> None:
    insert(tables, "mailbox", state=state)
    assert len(content(tables, "mailbox")) == 1


def test_what_is_not_said_has_a_harmless_value(tables: sqlite3.Connection) -> None:
    """No password, no quota of one's own, and a relayed domain accepts only recipients that are listed."""
    tables.execute("INSERT INTO domain (name, kind, managed_by) VALUES ('a.example', 'local', 'me')").close()
    tables.execute("INSERT INTO mailbox (address, managed_by) VALUES ('a@a.example', 'me')").close()
    assert content(tables, "domain") == [("a.example", "local", "", "", 0, 0, None, None, None, None, "me", None)]
    assert content(tables, "mailbox") == [("a@a.example", "", "", 0, "active", "me", None)]
