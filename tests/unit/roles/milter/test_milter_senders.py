# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may write as whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from postoffice_milter.lookup import Directory
from postoffice_milter.senders import SenderCheck
from postoffice_milter.session import Envelope
from postoffice_milter.verdict import Reply, UnavailableError

Judge = Callable[..., Reply | None]
Headers = list[tuple[str, bytes]]


@pytest.fixture
def judge(lookups: Path) -> Judge:
    def judge(*fields: tuple[str, str], login: str = "alice@example.org", names: bool = True) -> Reply | None:
        headers = [(name, value.encode()) for name, value in fields]
        return SenderCheck(Directory(lookups), "+", names).headers(Envelope(login=login), headers)

    return judge


OWN = ("From", "alice@example.org")


@pytest.mark.parametrize(
    "value",
    [
        "alice@example.org",
        "Alice <ALICE@EXAMPLE.ORG>",
        "alice+shop@example.org",
        "alice@example.net",
        "Sales <sales@example.org>",
        "sales+x@example.org",
        "U <u@bücher.example>",
        "alice@example.org, sales@example.org",
        '"alice@example.org" <sales@example.org>',
        '"sales+x@Example.org" <alice@example.org>',
    ],
)
def test_own_addresses(judge: Judge, value: str) -> None:
    assert judge(("Subject", "x"), ("From", value)) is None


def test_a_granted_domain_covers_its_addresses_and_no_other(judge: Judge) -> None:
    assert judge(("From", "anything@lists.example.org"), login="bob@example.org") is None
    assert judge(("From", "+x@lists.example.org"), login="bob@example.org") is None
    assert judge(("From", "x@sub.lists.example.org"), login="bob@example.org") is not None
    assert judge(("From", "x@xlists.example.org"), login="bob@example.org") is not None
    assert judge(("From", "anything@lists.example.org")) is not None


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("bob@example.org", "bob@example.org"),
        ("Alice <bob@example.org>", "bob@example.org"),
        ("alice@example.org, bob@example.org", "bob@example.org"),
        ("bob@example.org, alice@example.org", "bob@example.org"),
        ("stranger@elsewhere.example", "stranger@elsewhere.example"),
        ("alice@elsewhere.example", "alice@elsewhere.example"),
        ("alice@sub.example.org", "alice@sub.example.org"),
        ("+alice@example.org", "+alice@example.org"),
        ("u@buecher.example", "u@buecher.example"),
        ('"bob@example.org" <alice@example.org>', "bob@example.org"),
        ('"Bob <bob@example.org>" <alice@example.org>', "bob@example.org"),
        ("=?utf-8?q?bob=40example=2Eorg?= <alice@example.org>", "bob@example.org"),
        ("=?utf-8?q?bob?= =?utf-8?q?=40example=2Eorg?= <alice@example.org>", "bob@example.org"),
        ('"=?utf-8?q?bob=40example=2Eorg?=" <alice@example.org>', "bob@example.org"),
        ("bob\uff20example.org <alice@example.org>", "bob@example.org"),
        ('"alice@example.org bob@example.org" <alice@example.org>', "bob@example.org"),
    ],
)
def test_foreign_addresses_are_named_in_the_refusal(judge: Judge, value: str, named: str) -> None:
    reply = judge(("From", value))
    assert reply is not None
    assert (reply.code, reply.status) == (550, "5.7.1")
    assert named in reply.text


def test_names_are_free_when_asked_for(judge: Judge) -> None:
    assert judge(("From", '"bob@example.org" <alice@example.org>'), names=False) is None


@pytest.mark.parametrize("field", ["Sender", "Resent-From", "Resent-Sender", "SENDER", "sender ", "resent-from\t"])
def test_other_authors_count_as_well(judge: Judge, field: str) -> None:
    assert judge(OWN, (field, "alice+x@example.org")) is None
    reply = judge(OWN, (field, "bob@example.org"))
    assert reply is not None
    assert reply.code == 550
    assert "bob@example.org" in reply.text


def test_every_resent_field_counts(judge: Judge) -> None:
    reply = judge(OWN, ("Resent-From", "alice@example.org"), ("Resent-From", "bob@example.org"))
    assert reply is not None
    assert "Resent-From address <bob@example.org>" in reply.text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ([OWN, OWN], "More than one From"),
        ([OWN, ("FROM", "alice@example.org")], "More than one From"),
        ([OWN, ("From ", "bob@example.org")], "More than one From"),
        ([OWN, ("From\t", "bob@example.org")], "More than one From"),
        ([OWN, ("Sender", "alice@example.org"), ("Sender", "alice@example.org")], "More than one Sender"),
        ([("Subject", "x")], "From field is missing"),
        ([("Sender", "alice@example.org")], "From field is missing"),
        ([("X-From", "alice@example.org")], "From field is missing"),
        ([("From", "")], "complete address"),
        ([OWN, ("Sender", "")], "Sender field cannot be accepted"),
        ([OWN, ("Sender", "alice@example.org, sales@example.org")], "must name one address"),
        ([OWN, ("Resent-Sender", "alice@example.org, sales@example.org")], "must name one address"),
        ([OWN, ("Subject", "a\rFrom: bob@example.org")], "control character"),
        ([OWN, ("Subject", "a\0")], "control character"),
        ([OWN, ("Fr\x00om", "a")], "control character"),
        ([OWN, *[("Resent-From", "alice@example.org")] * 20], "Too many"),
    ],
)
def test_headers_that_programs_could_read_differently(judge: Judge, fields: Headers, says: str) -> None:
    reply = judge(*fields)
    assert reply is not None
    assert (reply.code, reply.status) == (550, "5.6.0")
    assert says in reply.text


def test_folded_fields_are_whole_lines_to_others(judge: Judge) -> None:
    assert judge(("Subject", "a\r\n b"), OWN, ("X-Long", "a\n\tb")) is None


def test_strangers_are_not_asked(judge: Judge) -> None:
    assert judge(("From", "bob@example.org"), login="") is None


def test_a_changed_directory_counts_at_once(lookups: Path, publish: Callable[..., None]) -> None:
    check = SenderCheck(Directory(lookups), "+", True)
    envelope, headers = Envelope(login="alice@example.org"), [("From", b"new@example.org")]
    assert check.headers(envelope, headers) is not None
    publish(lookups, (("new@example.org", "alice@example.org"),))
    assert check.headers(envelope, headers) is None


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"no database" * 100)])
def test_without_a_directory_nothing_is_decided(lookups: Path, damage: Callable[[Path], object]) -> None:
    damage(lookups)
    with pytest.raises(UnavailableError, match=str(lookups)):
        SenderCheck(Directory(lookups), "+", True).headers(
            Envelope(login="alice@example.org"), [("From", b"alice@example.org")]
        )


def test_attacks_on_the_query(judge: Judge) -> None:
    for value in ("%@example.org", "'or'1'='1@example.org", "_____@example.org"):
        assert judge(("From", value)) is not None
