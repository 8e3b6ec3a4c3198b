# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of every public view, for a directory that has one of everything, states that only time brings included."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.directory import store

SECONDS = 5.0
LEFT = 1_750_000_000

DOMAINS = [
    # name, kind, alias_of, nexthop, any_recipient, removed_at
    ("org.example", "local", "", "", 1, None),
    ("net.example", "alias", "org.example", "", 0, None),
    ("plain.example", "local", "", "", 0, None),
    ("relay.example", "relay", "", "[192.0.2.7]:25", 1, None),
    ("listed.example", "relay", "", "[192.0.2.8]:25", 0, None),
    ("gone.example", "local", "", "", 0, LEFT),
    ("left.example", "alias", "org.example", "", 0, LEFT),
    ("stray.example", "alias", "gone.example", "", 0, None),
    ("odd.example", "alias", "relay.example", "", 0, None),
    ("left-relay.example", "relay", "", "[192.0.2.9]:25", 1, LEFT),
    ("left-listed.example", "relay", "", "[192.0.2.9]:25", 0, LEFT),
]
RELAY_RECIPIENTS = [
    ("listed.example", "known@listed.example"),
    ("left-listed.example", "known@left-listed.example"),
    ("relay.example", "known@relay.example"),
    ("plain.example", "known@plain.example"),
]
MAILBOXES = [
    # address, password, display_name, quota, state, removed_at
    ("ann@org.example", "{PLAIN}ann", "Ann", 5, "active", None),
    ("b@org.example", "", "", 0, "active", None),
    ("+p@org.example", "", "", 0, "active", None),
    ("bea@org.example", "", "", 0, "disabled", None),
    ("cyd@org.example", "", "", 0, "send-only", None),
    ("dan@org.example", "", "", 0, "receive-only", None),
    ("eva@org.example", "", "", 0, "active", LEFT),
    ("fay@org.example", "", "", 0, "send-only", LEFT),
    ("gus@gone.example", "", "", 0, "active", None),
    ("hal@relay.example", "", "", 0, "active", None),
    ("ida@unknown.example", "", "", 0, "active", None),
]
ALIASES = {
    "sales@org.example": ["ann@org.example"],
    "other-name@org.example": ["ann@net.example"],
    "team@org.example": ["sales@net.example", "dan@org.example", "team@org.example", "out@remote.example"],
    "tagged@org.example": ["ann+x@net.example"],
    "retagged@org.example": ["tagged+y@org.example"],
    "untagged@org.example": ["sales+y@org.example"],
    "short@org.example": ["b+z@org.example"],
    "forward@org.example": ["team+y@org.example", "out@remote.example", "out+t@remote.example"],
    "strange@org.example": ["+ann@org.example"],
    "plus@org.example": ["+p@org.example"],
    "closed@org.example": ["bea@org.example", "cyd@org.example", "fay@org.example"],
    "ann@org.example": ["out@remote.example"],
    "eva@org.example": ["dan@org.example"],
    "via-eva@org.example": ["eva@org.example"],
    "via-old@org.example": ["old@org.example"],
    "nobody@org.example": ["unknown@org.example"],
    "foreign@org.example": ["gus@gone.example", "hal@relay.example", "sal@gone.example"],
    "loop-a@org.example": ["loop-b@org.example"],
    "loop-b@org.example": ["loop-a@org.example", "ann@org.example"],
    "sal@gone.example": ["ann@org.example"],
    "sal@relay.example": ["ann@org.example"],
    "old@org.example": ["ann@org.example"],
}
LEFT_ALIASES = {"old@org.example"}
CATCH_ALL = [
    ("org.example", "sales@org.example"),
    ("org.example", "out@remote.example"),
    ("plain.example", "bea@org.example"),
    ("gone.example", "ann@org.example"),
]
EXPRESSIONS = [
    # domain, position, pattern, destinations
    ("org.example", 0, "x.*", ["ann+$1@org.example"]),
    ("org.example", 1, "y.*", ["closed@org.example"]),
    ("org.example", 10, "z.*", ["dan@org.example", "out@remote.example"]),
    ("gone.example", 0, "x.*", ["ann@org.example"]),
]
SENDERS = [
    ("ann@org.example", "news@org.example"),
    ("ann@org.example", "sales@org.example"),
    ("ann@org.example", "@plain.example"),
    ("ann@org.example", "someone@remote.example"),
    ("bea@org.example", "bea-too@org.example"),
    ("cyd@org.example", "cyd-too@remote.example"),
    ("dan@org.example", "dan-too@org.example"),
    ("eva@org.example", "eva-too@org.example"),
    ("gus@gone.example", "gus-too@org.example"),
]
MAILBOX_LIMITS = [("ann@org.example", "messages_per_day", 7), ("ann@org.example", "messages_per_hour", 0)]
DOMAIN_LIMITS = [("org.example", "messages_per_day", 5)]


@pytest.fixture(scope="module")
def directory() -> Iterator[sqlite3.Connection]:
    with store.in_memory() as connection:
        many = connection.executemany
        many(
            "INSERT INTO domain (name, kind, alias_of, nexthop, any_recipient, removed_at, managed_by)"
            " VALUES (?, ?, ?, ?, ?, ?, 'me')",
            DOMAINS,
        ).close()
        many("INSERT INTO relay_recipient VALUES (?, ?)", RELAY_RECIPIENTS).close()
        many(
            "INSERT INTO mailbox (address, password, display_name, quota, state, removed_at, managed_by)"
            " VALUES (?, ?, ?, ?, ?, ?, 'me')",
            MAILBOXES,
        ).close()
        many("INSERT INTO mailbox_sender VALUES (?, ?)", SENDERS).close()
        many("INSERT INTO mailbox_sending_limit VALUES (?, ?, ?)", MAILBOX_LIMITS).close()
        many("INSERT INTO domain_sending_limit VALUES (?, ?, ?)", DOMAIN_LIMITS).close()
        left = [(name, LEFT if name in LEFT_ALIASES else None) for name in ALIASES]
        many("INSERT INTO alias (address, removed_at, managed_by) VALUES (?, ?, 'me')", left).close()
        pairs = [(name, destination) for name, destinations in ALIASES.items() for destination in destinations]
        many("INSERT INTO alias_destination VALUES (?, ?)", pairs).close()
        many("INSERT INTO domain_catch_all VALUES (?, ?)", CATCH_ALL).close()
        many("INSERT INTO domain_expression VALUES (?, ?, ?)", [rule[:3] for rule in EXPRESSIONS]).close()
        rules = [(*rule[:2], destination) for rule in EXPRESSIONS for destination in rule[3]]
        many("INSERT INTO domain_expression_destination VALUES (?, ?, ?)", rules).close()
        yield connection


def rows(directory: sqlite3.Connection, view: str) -> list[tuple[Any, ...]]:
    """Every row of a view, in order; a view that never ends is an error."""
    end = time.monotonic() + SECONDS
    directory.set_progress_handler(lambda: time.monotonic() > end, 100_000)
    return sorted(directory.execute(f"SELECT * FROM {view}").fetchall())


def everywhere(found: dict[str, list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
    """Rows of local parts at org.example and at its other name."""
    names = ("net.example", "org.example")
    return sorted((f"{local}@{name}", *rest) for local, ends in found.items() for rest in ends for name in names)


def test_domains_that_are_served(directory: sqlite3.Connection) -> None:
    assert rows(directory, "postfix_domain") == [
        ("listed.example", "relay", "[192.0.2.8]:25"),
        ("net.example", "local", ""),
        ("org.example", "local", ""),
        ("plain.example", "local", ""),
        ("relay.example", "relay", "[192.0.2.7]:25"),
    ]


def test_where_aliases_lead(directory: sqlite3.Connection) -> None:
    """A destination keeps the tag that mail came with, unless it is elsewhere or was given a tag on the way."""
    ann, dan = ("ann@org.example", 1), ("dan@org.example", 1)
    assert rows(directory, "postfix_alias") == everywhere(
        {
            "+p": [("+p@org.example", 1)],
            "ann": [ann],
            "b": [("b@org.example", 1)],
            "dan": [dan],
            "eva": [dan],
            "foreign": [("gus@gone.example", 0), ("hal@relay.example", 0), ("sal@gone.example", 0)],
            "forward": [
                ("ann+y@org.example", 0),
                ("dan+y@org.example", 0),
                ("out+t@remote.example", 0),
                ("out@remote.example", 0),
            ],
            "loop-a": [ann],
            "loop-b": [ann],
            "other-name": [ann],
            "plus": [("+p@org.example", 1)],
            "retagged": [("ann+x@org.example", 0)],
            "sales": [ann],
            "short": [("b+z@org.example", 0)],
            "tagged": [("ann+x@org.example", 0)],
            "team": [ann, dan, ("out@remote.example", 0)],
            "untagged": [("ann+y@org.example", 0)],
            "via-eva": [dan],
        }
    )


def test_where_the_rest_of_a_domain_leads(directory: sqlite3.Connection) -> None:
    assert rows(directory, "postfix_catch_all") == [
        ("net.example", "ann@org.example"),
        ("net.example", "out@remote.example"),
        ("org.example", "ann@org.example"),
        ("org.example", "out@remote.example"),
    ]


def test_which_addresses_take_no_mail(directory: sqlite3.Connection) -> None:
    """What only ever was send-only is one thing, what has left another."""
    disabled = [("550 5.2.1 mailbox disabled",)]
    names = ("bea", "closed", "fay", "nobody", "strange", "via-old")
    cyd = {"cyd": [("550 5.2.1 mailbox does not receive mail",)]}
    assert rows(directory, "postfix_refused_recipient") == everywhere({**dict.fromkeys(names, disabled), **cyd})


def test_mailboxes_that_receive(directory: sqlite3.Connection) -> None:
    receiving = [("+p@org.example",), ("ann@org.example",), ("b@org.example",), ("dan@org.example",)]
    assert rows(directory, "postfix_mailbox") == receiving


def test_who_may_send_as_whom(directory: sqlite3.Connection) -> None:
    names = {
        "ann": ("ann", "loop-b", "news", "other-name", "sales", "tagged"),
        "b": ("b", "short"),
        "cyd": ("closed", "cyd"),
        "+p": ("+p", "plus"),
    }
    own = {name: [(f"{login}@org.example",)] for login, used in names.items() for name in used}
    granted = [
        ("@plain.example", "ann@org.example"),
        ("someone@remote.example", "ann@org.example"),
        ("cyd-too@remote.example", "cyd@org.example"),
    ]
    assert rows(directory, "postfix_sender") == sorted([*everywhere(own), *granted])


def test_how_much_may_be_sent(directory: sqlite3.Connection) -> None:
    """What a mailbox has of its own, and what holds for the rest of its domain."""
    assert rows(directory, "milter_sending_limit") == [
        ("@org.example", "messages_per_day", 5),
        ("ann@org.example", "messages_per_day", 7),
        ("ann@org.example", "messages_per_hour", 0),
    ]


def test_recipients_that_are_relayed(directory: sqlite3.Connection) -> None:
    assert rows(directory, "postfix_relay_recipient") == [("@relay.example",), ("known@listed.example",)]


def test_expressions_that_lead_somewhere(directory: sqlite3.Connection) -> None:
    assert rows(directory, "postfix_expression") == [
        (domain, *rule)
        for domain in ("net.example", "org.example")
        for rule in (
            (0, "x.*", "ann+$1@org.example"),
            (10, "z.*", "dan@org.example"),
            (10, "z.*", "out@remote.example"),
        )
    ]


def test_who_may_log_in_for_what(directory: sqlite3.Connection) -> None:
    """Address, password, home, quota, whether it may be read, may send, may receive, and the name to show."""
    assert rows(directory, "dovecot_user") == [
        ("+p@org.example", "", "org.example/+p", 0, 1, 1, 1, ""),
        ("ann@org.example", "{PLAIN}ann", "org.example/ann", 5, 1, 1, 1, "Ann"),
        ("b@org.example", "", "org.example/b", 0, 1, 1, 1, ""),
        ("bea@org.example", "", "org.example/bea", 0, 0, 0, 0, ""),
        ("cyd@org.example", "", "org.example/cyd", 0, 0, 1, 0, ""),
        ("dan@org.example", "", "org.example/dan", 0, 1, 0, 1, ""),
        ("eva@org.example", "", "org.example/eva", 0, 0, 0, 0, ""),
        ("fay@org.example", "", "org.example/fay", 0, 0, 0, 0, ""),
        ("gus@gone.example", "", "gone.example/gus", 0, 0, 0, 0, ""),
        ("hal@relay.example", "", "relay.example/hal", 0, 0, 0, 0, ""),
        ("ida@unknown.example", "", "unknown.example/ida", 0, 0, 0, 0, ""),
    ]
