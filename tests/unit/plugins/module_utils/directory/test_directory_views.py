# SPDX-License-Identifier: GPL-3.0-or-later
"""What daemons see: where mail goes, who may send as whom, who may log in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mail_model import HASH, Model, Postfix, apply, in_views, published, rows

from ansible_collections.postoffice.mail.plugins.module_utils.directory.errors import InvalidInput

DOMAINS = [
    {
        "name": "example.org",
        "catch_all": "info",
        "mailboxes": [
            {
                "name": "alice",
                "password_hash": HASH,
                "quota": "5G",
                "aliases": ["sales", "press"],
                "may_send_as": ["newsletter", "@lists.example", "someone@else.example"],
                "display_name": "Alice Liddell",
            },
            {"name": "bob", "state": "disabled"},
            {"name": "carol", "state": "send-only", "password_hash": HASH},
            {"name": "dave", "state": "receive-only", "password_hash": HASH},
        ],
        "aliases": [
            {"name": "info", "destinations": ["alice@example.org", "bob@partner.example"]},
            {"name": "mixed", "destinations": ["bob", "dave"]},
            {"name": "nobody", "destinations": ["bob", "carol"]},
            {"name": "nested", "destinations": ["info", "dave"]},
            {"name": "list", "destinations": "alice+list"},
            {"name": "foreign", "destinations": "sales@example.net"},
            {"name": "relayed", "destinations": "anyone@relay.example"},
        ],
        "expressions": [
            {"pattern": "alice.*", "destinations": "dave"},
            {"pattern": "proj-(.*)", "destinations": ["sales+$1", "archive-$1@partner.example", "bob+$1"]},
            {"pattern": "dead.*", "destinations": "nobody"},
        ],
    },
    {"name": "example.net", "alias_of": "example.org"},
    {"name": "plain.example", "mailboxes": [{"name": "alice"}]},
    {"name": "relay.example", "relay_to": {"host": "192.0.2.7"}},
    {"name": "known.example", "relay_to": {"host": "2001:db8::7", "port": 2525, "recipients": ["a"]}},
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("views") / "directory.sqlite3"
    apply(path, DOMAINS)
    return path


@pytest.fixture(scope="module")
def postfix(database: Path) -> Iterator[Postfix]:
    with published(database) as found:
        yield found


@pytest.mark.parametrize(
    ("recipient", "reaches"),
    [
        ("alice@example.org", {"alice@example.org"}),
        ("alice@example.net", {"alice@example.org"}),
        ("alice+tag@example.org", {"alice+tag@example.org"}),
        ("alice+tag@example.net", {"alice+tag@example.org"}),
        ("alicex@example.org", {"dave@example.org"}),
        ("alicex@example.net", {"dave@example.org"}),
        ("sales@example.org", {"alice@example.org"}),
        ("sales+tag@example.org", {"alice+tag@example.org"}),
        ("sales+tag@example.net", {"alice+tag@example.org"}),
        ("info@example.org", {"alice@example.org", "bob@partner.example"}),
        ("info+tag@example.org", {"alice+tag@example.org", "bob@partner.example"}),
        ("mixed@example.org", {"dave@example.org"}),
        ("nested@example.org", {"alice@example.org", "bob@partner.example", "dave@example.org"}),
        ("list@example.org", {"alice+list@example.org"}),
        ("list+tag@example.org", {"alice+list@example.org"}),
        ("foreign@example.org", {"alice@example.org"}),
        ("proj-y@example.org", {"alice+y@example.org", "archive-y@partner.example"}),
        ("proj-y@example.net", {"alice+y@example.org", "archive-y@partner.example"}),
        ("relayed@example.org", {"anyone@relay.example"}),
        ("unknown@example.org", {"alice@example.org", "bob@partner.example"}),
        ("deadline@example.org", {"alice@example.org", "bob@partner.example"}),
        ("unknown+tag@example.net", {"alice@example.org", "bob@partner.example"}),
        ("anybody@relay.example", {"anybody@relay.example"}),
        ("a@known.example", {"a@known.example"}),
        ("b@known.example", None),
        ("dave@example.org", {"dave@example.org"}),
        ("bob@example.org", None),
        ("bob+tag@example.net", None),
        ("carol@example.org", None),
        ("nobody@example.org", None),
        ("nobody@example.net", None),
        ("unknown@plain.example", None),
        ("alice@elsewhere.example", None),
    ],
)
def test_mail_goes_where_it_was_declared(postfix: Postfix, recipient: str, reaches: set[str] | None) -> None:
    assert postfix.recipient(recipient) == (None if reaches is None else frozenset(reaches))


def test_a_quoted_local_part_matches_no_expression(postfix: Postfix) -> None:
    """Otherwise `"proj-x, victim"@example.org` would carry a second recipient into the destination."""
    assert not any(pattern.fullmatch('"proj-x, victim@elsewhere"@example.org') for pattern, _to in postfix.rules)
    assert any(pattern.fullmatch("PROJ-X@Example.org") for pattern, _to in postfix.rules)


def test_senders(postfix: Postfix) -> None:
    """An alias may be used by those it leads to directly, not by those behind another alias."""
    names = ("alice", "sales", "press", "info", "list", "newsletter")
    own = {f"{name}@{domain}" for name in names for domain in ("example.org", "example.net")}
    assert postfix.senders("alice@example.org") == own | {"@lists.example", "someone@else.example"}
    assert postfix.senders("dave@example.org") == set()
    assert postfix.senders("bob@example.org") == set()
    assert "nobody@example.org" in postfix.senders("carol@example.org")


def test_refusals_say_why(postfix: Postfix) -> None:
    replies = dict(postfix.ask("SELECT address, reply FROM postfix_refused_recipient"))
    assert replies["bob@example.org"] == "550 5.2.1 mailbox disabled"
    assert replies["carol@example.net"] == "550 5.2.1 mailbox does not receive mail"
    assert set(replies) == {
        f"{name}@{at}" for name in ("bob", "carol", "nobody") for at in ("example.org", "example.net")
    }


def test_domains_and_next_hops(postfix: Postfix) -> None:
    assert postfix.ask("SELECT * FROM postfix_domain ORDER BY name") == [
        ("example.net", "local", ""),
        ("example.org", "local", ""),
        ("known.example", "relay", "[ipv6:2001:db8::7]:2525"),
        ("plain.example", "local", ""),
        ("relay.example", "relay", "[192.0.2.7]:25"),
    ]


def test_final_destinations_are_mailboxes_that_receive(postfix: Postfix) -> None:
    assert {name for (name,) in postfix.ask("SELECT address FROM postfix_mailbox")} == {
        "alice@example.org",
        "dave@example.org",
        "alice@plain.example",
    }


def test_what_dovecot_reads(database: Path) -> None:
    query = "SELECT user, home, quota_bytes, may_access, may_submit, may_receive, display_name FROM dovecot_user"
    found = {row[0]: row[1:] for row in rows(database, query)}
    assert found["alice@example.org"] == ("example.org/alice", 5 << 30, 1, 1, 1, "Alice Liddell")
    assert [found[f"{name}@example.org"][2:5] for name in ("bob", "carol", "dave")] == [(0, 0, 0), (0, 1, 0), (1, 0, 1)]
    assert rows(database, "SELECT password FROM dovecot_user WHERE user = 'alice@plain.example'") == [("",)]


def test_dovecot_finds_a_user_by_index(database: Path) -> None:
    plan = rows(database, "EXPLAIN QUERY PLAN SELECT * FROM dovecot_user WHERE user = 'alice@example.org'")
    assert plan
    assert all("SCAN" not in row[-1] for row in plan), plan


@pytest.mark.parametrize("table", ["postfix_alias", "postfix_mailbox", "postfix_sender", "postfix_refused_recipient"])
def test_postfix_finds_an_address_by_index(postfix: Postfix, table: str) -> None:
    plan = postfix.ask(f"EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE address = 'alice@example.org'")
    assert all("SCAN" not in row[-1] for row in plan), plan


def test_what_left_is_disabled_and_an_alias_may_follow(tmp_path: Path) -> None:
    before = [{"name": "example.org", "mailboxes": [{"name": "a"}, {"name": "b", "password_hash": HASH}]}]
    apply(tmp_path / "d", before)
    apply(tmp_path / "d", [{"name": "example.org", "mailboxes": [{"name": "a"}]}])
    with published(tmp_path / "d") as postfix:
        assert postfix.recipient("b@example.org") is None
        assert postfix.ask("SELECT reply FROM postfix_refused_recipient") == [("550 5.2.1 mailbox disabled",)]
    assert rows(
        tmp_path / "d", "SELECT may_access, may_submit, home FROM dovecot_user WHERE user = 'b@example.org'"
    ) == [(0, 0, "example.org/b")]
    followed = [{"name": "example.org", "mailboxes": [{"name": "a", "aliases": ["b"]}]}]
    apply(tmp_path / "d", followed)
    with published(tmp_path / "d") as postfix:
        assert postfix.recipient("b@example.org") == {"a@example.org"}


def test_an_alias_that_left_no_longer_holds_up_a_catch_all(tmp_path: Path) -> None:
    domain: dict[str, Any] = {"name": "example.org", "catch_all": "a", "mailboxes": [{"name": "a"}, {"name": "b"}]}
    apply(tmp_path / "d", [domain | {"aliases": [{"name": "x", "destinations": "b"}]}])
    apply(tmp_path / "d", [domain])
    with published(tmp_path / "d") as postfix:
        assert postfix.recipient("x@example.org") == {"a@example.org"}


NAMES = st.sampled_from(["a", "b", "c", "ab", "x1", "x2"])
ORGS = ["one.example", "two.example"]
TARGETS = st.sampled_from(
    [
        f"{name}{tag}@{org}"
        for name in ("a", "b", "c", "ab", "x1")
        for tag in ("", "+t")
        for org in [*ORGS, "net.example"]
    ]
    + ["out@remote.example", "r@relay.example"]
)


@st.composite
def structures(draw: st.DrawFn) -> list[dict[str, Any]]:
    domains: list[dict[str, Any]] = []
    for org in ORGS:
        boxes = draw(st.lists(NAMES, max_size=3, unique=True))
        aliases = draw(st.lists(NAMES.filter(lambda name, boxes=boxes: name not in boxes), max_size=3, unique=True))
        domains.append(
            {
                "name": org,
                "mailboxes": [
                    {"name": name, "state": draw(st.sampled_from(["active", "disabled", "send-only", "receive-only"]))}
                    for name in boxes
                ],
                "aliases": [
                    {"name": name, "destinations": draw(st.lists(TARGETS, min_size=1, max_size=3, unique=True))}
                    for name in aliases
                ],
                "expressions": [
                    {"pattern": pattern, "destinations": draw(st.lists(TARGETS, min_size=1, max_size=2, unique=True))}
                    for pattern in draw(st.lists(st.sampled_from(["x.", "a.*", "."]), max_size=2, unique=True))
                ],
                "catch_all": draw(st.lists(TARGETS, max_size=2, unique=True)),
            }
        )
    domains.append({"name": "net.example", "alias_of": draw(st.sampled_from(ORGS))})
    domains.append({"name": "relay.example", "relay_to": {"host": "192.0.2.1"}})
    return domains


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(structures())
def test_the_tables_say_what_the_rules_say(structure: list[dict[str, Any]]) -> None:
    try:
        with in_views(structure) as (postfix, directory):
            model = Model(directory)
            for name in ("a", "b", "c", "ab", "x1", "x2", "zz", "a+t", "x1+t"):
                for domain in ("one.example", "two.example", "net.example", "relay.example", "remote.example"):
                    address = f"{name}@{domain}"
                    assert postfix.recipient(address) == model.recipient(address), address
    except InvalidInput:
        assume(False)
