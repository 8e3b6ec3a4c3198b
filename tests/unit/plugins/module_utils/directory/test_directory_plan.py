# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: what is done is what is needed, nothing of others is touched, and it is told as it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mail_model import HASH, INVENTORY, NOW, apply, rows

from ansible_collections.postoffice.mail.plugins.module_utils.directory import passwords, store
from ansible_collections.postoffice.mail.plugins.module_utils.directory.checks import check
from ansible_collections.postoffice.mail.plugins.module_utils.directory.describe import changes, diff, summary
from ansible_collections.postoffice.mail.plugins.module_utils.directory.errors import InvalidInput
from ansible_collections.postoffice.mail.plugins.module_utils.directory.model import Directory
from ansible_collections.postoffice.mail.plugins.module_utils.directory.parse import parse
from ansible_collections.postoffice.mail.plugins.module_utils.directory.planning import Plan, Policy, Stored, plan

OTHER_HASH = HASH[:-4] + "AAAA"
LATER = INVENTORY._replace(now=NOW + 31 * 86400, delete=True)


def org(*names: str, **given: Any) -> list[dict[str, Any]]:
    return [{"name": "example.org", "mailboxes": [{"name": name} for name in names], **given}]


def told(made: Plan) -> list[tuple[str, str, str]]:
    return [(change.type, change.name, change.action) for change in changes(made)]


@st.composite
def structures(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = st.sampled_from(["a", "b", "c", "d"])
    domains: list[dict[str, Any]] = []
    for org_name in draw(st.lists(st.sampled_from(["one.example", "two.example", "three.example"]), unique=True)):
        boxes = draw(st.lists(names, unique=True))
        rest = [name for name in ("e", "f", "a", "b") if name not in boxes]
        domains.append(
            {
                "name": org_name,
                "mailboxes": [
                    {
                        "name": name,
                        "quota": draw(st.sampled_from([0, "1G", "2G"])),
                        "state": draw(st.sampled_from(["active", "disabled"])),
                        "display_name": draw(st.sampled_from(["", "A", "B"])),
                        "may_send_as": draw(st.lists(st.sampled_from(["x", "@y.example"]), unique=True)),
                        "sending_limits": draw(st.sampled_from([{}, {"messages_per_day": 5, "recipients_per_day": 0}])),
                        "password_hash": draw(st.sampled_from([HASH, OTHER_HASH])),
                    }
                    for name in boxes
                ],
                "aliases": [
                    {
                        "name": name,
                        "destinations": draw(st.sampled_from(["u@v.example", ["x@v.example", "w@v.example"]])),
                    }
                    for name in draw(st.lists(st.sampled_from(rest), unique=True))
                ],
                "catch_all": draw(st.sampled_from([[], ["u@v.example"]])),
                "expressions": draw(st.sampled_from([[], [{"pattern": "x.", "destinations": "u+$0@v.example"}]][:1])),
                "defaults": draw(st.sampled_from([{}, {"sending_limits": {"messages_per_hour": 3}}])),
                "limits": draw(st.sampled_from([{}, {"max_mailboxes": 9, "max_quota": "9G", "max_aliases": 9}][:1])),
            }
        )
    return domains


def declared(structure: list[dict[str, Any]], owner: str = "inventory") -> Any:
    return parse(structure, owner)


def made_from(current: Directory, structure: list[dict[str, Any]], policy: Policy = INVENTORY) -> Plan:
    wanted = declared(structure, policy.managed_by)
    made = plan(current, wanted, policy)
    check(wanted, made)
    return made


@settings(max_examples=40, deadline=None)
@given(structures(), structures())
def test_applying_a_plan_gives_what_it_promised(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    with store.in_memory() as connection:
        for structure in (first, second, first):
            wanted = declared(structure)
            before = store.read(connection)
            made = plan(before, wanted, INVENTORY, Stored(store.read_passwordless(connection)))
            assert made.after == plan(before, wanted, INVENTORY).after
            store.apply(connection, made, {address: wanted.hashes[address] for address in made.passwords})
            assert store.read(connection) == made.after
            assert made.changed == (before != made.after)
            again = plan(made.after, wanted, INVENTORY, Stored(store.read_passwordless(connection)))
            assert not again.changed
            assert told(again) == []
            present = {address for address, row in made.after.mailboxes.items() if row[5] is None}
            assert present == wanted.directory.mailboxes.keys()


@settings(max_examples=40, deadline=None)
@given(structures(), structures(), structures())
def test_rows_of_others_survive(
    theirs: list[dict[str, Any]], ours: list[dict[str, Any]], later: list[dict[str, Any]]
) -> None:
    others = plan(Directory(), declared(theirs, "admin"), INVENTORY._replace(managed_by="admin")).after
    current = others
    for structure, policy in ((ours, INVENTORY), (later, LATER)):
        made = plan(current, declared(structure), policy)
        for before, after in (
            (others.mailboxes, made.after.mailboxes),
            (others.aliases, made.after.aliases),
            (others.domains, made.after.domains),
        ):
            assert before.items() <= after.items()
        current = made.after


@settings(max_examples=40, deadline=None)
@given(structures(), structures())
def test_what_is_told_is_what_differs(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    before = plan(Directory(), declared(first), INVENTORY).after
    made = plan(before, declared(second), INVENTORY)
    after = made.after
    differing = {
        (kind, name)
        for kind, old, new in (
            ("domain", before.domains, after.domains),
            ("alias", before.aliases, after.aliases),
            ("mailbox", before.mailboxes, after.mailboxes),
            ("mailbox", before.senders, after.senders),
            ("mailbox", before.sending_limits, after.sending_limits),
        )
        for name in old.keys() | new.keys()
        if old.get(name) != new.get(name)
    }
    assert {(kind, name) for kind, name, _action in told(made)} == differing
    assert made.changed == bool(differing)
    shown = diff(made, "x")
    assert all(f"{kind} {name}:" in shown["before"] + shown["after"] for kind, name in differing)
    assert "$argon2" not in shown["before"] + shown["after"]


def test_nothing_changes_the_second_time() -> None:
    first = made_from(Directory(), org("a", "b"))
    assert told(first) == [
        ("domain", "example.org", "create"),
        ("mailbox", "a@example.org", "create"),
        ("mailbox", "b@example.org", "create"),
    ]
    assert not made_from(first.after, org("b", "a")).changed


def test_what_leaves_is_disabled_and_comes_back() -> None:
    first = made_from(Directory(), org("a", "b", aliases=[{"name": "x", "destinations": "a"}])).after
    gone = made_from(first, org("a"))
    assert told(gone) == [("mailbox", "b@example.org", "disable"), ("alias", "x@example.org", "disable")]
    assert summary(gone)["mailbox"] == {"create": 0, "update": 0, "disable": 1, "restore": 0, "delete": 0}
    assert not made_from(gone.after, org("a"), INVENTORY._replace(now=NOW + 9)).changed
    back = made_from(gone.after, org("a", "b", aliases=[{"name": "x", "destinations": "a"}]))
    assert told(back) == [("mailbox", "b@example.org", "restore"), ("alias", "x@example.org", "restore")]
    assert back.after == first


def test_deleting_waits_for_the_retention() -> None:
    first = made_from(Directory(), org("a", "b", aliases=[{"name": "x", "destinations": "a"}])).after
    at_once = made_from(first, [], INVENTORY._replace(delete=True))
    assert told(at_once) == [
        ("domain", "example.org", "disable"),
        ("mailbox", "a@example.org", "disable"),
        ("mailbox", "b@example.org", "disable"),
        ("alias", "x@example.org", "delete"),
    ]
    early = INVENTORY._replace(delete=True, now=NOW + 30 * 86400 - 1)
    assert not made_from(at_once.after, [], early).changed
    late = made_from(at_once.after, [], LATER)
    assert told(late) == [("domain", "example.org", "delete"), ("mailbox", "a@example.org", "delete"),
                          ("mailbox", "b@example.org", "delete")]  # fmt: skip
    assert late.after == Directory()


def test_a_domain_stays_in_service_while_others_have_something_in_it() -> None:
    first = made_from(Directory(), org("a")).after
    admin = INVENTORY._replace(managed_by="admin", scope=frozenset())
    theirs = made_from(first, [{"name": "other.example", "mailboxes": [{"name": "z"}]}], admin).after
    theirs.mailboxes["z@example.org"] = ("z@example.org", "", 0, "active", "admin", None)
    assert told(made_from(theirs, [])) == [("mailbox", "a@example.org", "disable")]


def test_what_others_manage_is_an_error_with_the_path_unless_adopted() -> None:
    admin = INVENTORY._replace(managed_by="admin")
    theirs = made_from(Directory(), org("a", aliases=[{"name": "x", "destinations": "a"}]), admin).after
    with pytest.raises(InvalidInput) as caught:
        made_from(theirs, org("a", aliases=[{"name": "x", "destinations": "a"}]))
    assert [line.split(" ")[0] for line in caught.value.problems] == [
        "mail_domains[0].mailboxes[0]:",
        "mail_domains[0].aliases[0]:",
        "mail_domains[0]:",
    ]
    adopted = made_from(theirs, org("a"), INVENTORY._replace(adopt=True))
    assert told(adopted) == [("domain", "example.org", "update"), ("mailbox", "a@example.org", "update")]


def test_a_mailbox_takes_the_place_of_an_alias_that_leaves() -> None:
    first = made_from(Directory(), org("a", aliases=[{"name": "x", "destinations": "a"}])).after
    second = made_from(first, org("a", "x"))
    assert told(second) == [("mailbox", "x@example.org", "create"), ("alias", "x@example.org", "delete")]


def test_inputs_are_not_modified() -> None:
    current = made_from(Directory(), org("a", "b")).after
    copy = Directory(dict(current.domains), dict(current.mailboxes), dict(current.senders), dict(current.aliases))
    made_from(current, org("a", "c", catch_all="a"))
    assert current == copy


# Passwords


def with_password(password: str) -> list[dict[str, Any]]:
    return [{"name": "example.org", "mailboxes": [{"name": "a", "password": password}]}]


def stored(database: Path) -> str:
    return str(rows(database, "SELECT password FROM mailbox")[0][0])


def test_a_password_belongs_to_its_user_once_it_is_set(tmp_path: Path) -> None:
    database = tmp_path / "d"
    apply(database, with_password("first %"))
    before = stored(database)
    assert passwords.verify("first %", before)
    assert not apply(database, with_password("second")).changed
    assert stored(database) == before


def test_always_replaces_a_password_that_differs_and_keeps_one_that_does_not(tmp_path: Path) -> None:
    database, always = tmp_path / "d", INVENTORY._replace(always=True)
    apply(database, with_password("first"))
    before = stored(database)
    assert not apply(database, with_password("first"), always).changed
    assert stored(database) == before
    made = apply(database, with_password("second"), always)
    assert told(made) == [("mailbox", "a@example.org", "update")]
    assert "second" not in str(diff(made, "x"))
    assert passwords.verify("second", stored(database))


def test_always_with_a_hash(tmp_path: Path) -> None:
    database, always = tmp_path / "d", INVENTORY._replace(always=True)
    structure = [{"name": "example.org", "mailboxes": [{"name": "a", "password_hash": HASH}]}]
    apply(database, structure)
    assert not apply(database, structure, always).changed
    structure[0]["mailboxes"][0]["password_hash"] = OTHER_HASH  # type: ignore[index]
    assert not apply(database, structure).changed
    assert apply(database, structure, always).changed
    assert stored(database) == OTHER_HASH


def test_a_mailbox_without_password_gets_the_declared_one(tmp_path: Path) -> None:
    database = tmp_path / "d"
    apply(database, org("a"))
    assert stored(database) == ""
    assert apply(database, with_password("first")).changed
    assert passwords.verify("first", stored(database))
    assert not apply(database, org("a")).changed
    assert passwords.verify("first", stored(database))


def test_a_dry_run_hashes_nothing_and_makes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("hashed in a dry run")

    monkeypatch.setattr(passwords, "hash_all", refuse)
    made = apply(tmp_path / "d", with_password("first"), dry_run=True)
    assert told(made) == [("domain", "example.org", "create"), ("mailbox", "a@example.org", "create")]
    assert list(tmp_path.iterdir()) == []
