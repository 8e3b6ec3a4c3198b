# SPDX-License-Identifier: GPL-3.0-or-later
"""One object at a time, and what the directory says of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mail_model import HASH, NOW, apply

from ansible_collections.postoffice.mail.plugins.module_utils.directory import objects
from ansible_collections.postoffice.mail.plugins.module_utils.directory.describe import changes
from ansible_collections.postoffice.mail.plugins.module_utils.directory.errors import InvalidInput
from ansible_collections.postoffice.mail.plugins.module_utils.directory.information import information
from ansible_collections.postoffice.mail.plugins.module_utils.directory.planning import Policy
from ansible_collections.postoffice.mail.plugins.module_utils.directory.reconcile import reconcile

PLAYBOOK = Policy("playbook", NOW)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "d"
    apply(
        path,
        [
            {
                "name": "example.org",
                "defaults": {"quota": "2G"},
                "limits": {"max_mailboxes": 3},
                "mailboxes": [{"name": "alice", "password_hash": HASH}],
                "expressions": [{"pattern": "x.", "destinations": "alice"}],
            },
            {"name": "example.net", "alias_of": "example.org"},
        ],
    )
    return path


def do(database: Path, make: Callable[..., Any], policy: Policy = PLAYBOOK, **options: Any) -> list[tuple[str, str]]:
    declare, scoped = make({"state": None, **options}, policy)
    return [(change.name, change.action) for change in changes(reconcile(str(database), declare, scoped))]


def test_a_mailbox_comes_changes_and_leaves(database: Path) -> None:
    zoe = "zoe@example.org"
    assert do(database, objects.mailbox, address="Zoe@example.org", display_name="Zoe", may_send_as=["x"]) == [
        (zoe, "create")
    ]
    found = information(str(database), "example.org")["mailboxes"][1]
    assert (found["quota"], found["state"], found["may_send_as"]) == (2 << 30, "active", ["x@example.org"])
    assert do(database, objects.mailbox, address=zoe) == []
    assert do(database, objects.mailbox, address=zoe, quota="1G") == [(zoe, "update")]
    assert information(str(database))["mailboxes"][1]["display_name"] == "Zoe"
    assert do(database, objects.mailbox, address=zoe, password_hash=HASH) == [(zoe, "update")]
    assert do(database, objects.mailbox, address=zoe, state="absent") == [(zoe, "disable")]
    assert do(database, objects.mailbox, address=zoe, state="absent") == []
    assert do(database, objects.mailbox, address=zoe, state="active") == [(zoe, "restore")]


def test_sending_limits_stay_until_others_are_given(database: Path) -> None:
    def limits(kind: str) -> dict[str, int]:
        return dict(information(str(database), "example.org")[kind][-1]["sending_limits"])

    zoe, owner = "zoe@example.org", PLAYBOOK._replace(adopt=True)
    do(database, objects.mailbox, address=zoe, sending_limits={"messages_per_day": 5, "recipients_per_day": None})
    assert limits("mailboxes") == {"messages_per_day": 5}
    assert do(database, objects.mailbox, address=zoe, quota="1G") == [(zoe, "update")]
    assert limits("mailboxes") == {"messages_per_day": 5}
    assert do(database, objects.mailbox, address=zoe, sending_limits={"messages_per_hour": 0}) == [(zoe, "update")]
    assert limits("mailboxes") == {"messages_per_hour": 0}
    assert do(database, objects.mailbox, address=zoe, sending_limits={}) == [(zoe, "update")]
    assert limits("mailboxes") == {}
    do(database, objects.domain, owner, name="example.org", defaults={"sending_limits": {"messages_per_day": 9}})
    assert limits("domains") == {"messages_per_day": 9}
    assert do(database, objects.domain, owner, name="example.org", limits={}) == [("example.org", "update")]
    assert limits("domains") == {"messages_per_day": 9}


def test_an_alias_comes_changes_and_is_deleted(database: Path) -> None:
    club = "club@example.org"
    assert do(database, objects.alias, address=club, destinations=["alice"]) == [(club, "create")]
    assert do(database, objects.alias, address=club, destinations=["alice", "x@y.example"]) == [(club, "update")]
    assert do(database, objects.alias, address=club, destinations=["x@y.example", "alice"]) == []
    assert do(database, objects.alias, address=club, state="absent") == [(club, "delete")]
    assert do(database, objects.alias, address=club, state="absent") == []


def test_a_domain_comes_changes_and_leaves(database: Path) -> None:
    name = "xn--bro-hoa.example"
    assert do(database, objects.domain, name="büro.example", limits={"max_mailboxes": 1}) == [(name, "create")]
    assert do(database, objects.domain, name=name, catch_all=["alice@example.org"]) == [(name, "update")]
    assert do(database, objects.domain, name=name) == []
    found = information(str(database), name)["domains"][0]
    assert (found["catch_all"], found["limits"]["max_mailboxes"]) == (["alice@example.org"], 1)
    assert do(database, objects.domain, name=name, relay_to={"host": "192.0.2.9"}) == [(name, "update")]
    assert do(database, objects.domain, name=name) == []
    assert do(database, objects.domain, name=name, state="absent") == [(name, "disable")]


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (objects.mailbox, {"address": "zoe"}, "address: 'zoe' has no @"),
        (objects.mailbox, {"address": "zoe@nowhere.example"}, "the domain nowhere.example does not exist"),
        (objects.mailbox, {"address": "zoe@example.net"}, "has no addresses of its own"),
        (objects.mailbox, {"address": "zoe@example.org", "quota": "x"}, "quota: 'x' is not a size"),
        (objects.mailbox, {"address": "alice@example.org"}, "managed by 'inventory'"),
        (objects.mailbox, {"address": "alice@example.org", "state": "absent"}, "is managed by 'inventory'"),
        (objects.alias, {"address": "alice@example.org", "destinations": ["x@y.example"]}, "is a mailbox as well"),
        (objects.alias, {"address": "b@example.org", "destinations": ["nobody"]}, "names no mailbox"),
        (objects.domain, {"name": "x"}, "name: 'x' is not a domain"),
        (objects.domain, {"name": "example.org", "state": "absent"}, "still has alice@example.org, example.net"),
        (objects.domain, {"name": "b.example", "alias_of": "example.net"}, "alias_of: example.net is itself an alias"),
    ],
)
def test_what_cannot_be_is_named_by_its_option(database: Path, make: Any, options: Any, says: str) -> None:
    before = database.read_bytes()
    with pytest.raises(InvalidInput) as caught:
        do(database, make, **options)
    assert says in str(caught.value)
    assert database.read_bytes() == before


def test_limits_hold_for_everybody(database: Path) -> None:
    do(database, objects.mailbox, address="b@example.org")
    do(database, objects.mailbox, address="c@example.org")
    with pytest.raises(InvalidInput, match="has 4 mailboxes, its limit is 3"):
        do(database, objects.mailbox, address="d@example.org")


def test_information_without_a_database(tmp_path: Path) -> None:
    assert information(str(tmp_path / "d")) == {
        "exists": False,
        "schema": 0,
        "domains": [],
        "mailboxes": [],
        "aliases": [],
    }


def test_information_has_no_hash(database: Path) -> None:
    found = information(str(database))
    assert HASH not in str(found)
    assert found["mailboxes"][0]["has_password"]
    assert found["domains"][1]["expressions"] == [{"pattern": "x.", "destinations": ["alice@example.org"]}]
    assert information(str(database), "example.net")["mailboxes"] == []
