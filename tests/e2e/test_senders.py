"""Nobody sends in another's name."""

from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage

import pytest
from mailtest.deployment import Deployment, Person
from mailtest.imap import Mailbox
from mailtest.mail import MailProgram, RefusedError, compose, message_id

Program = Callable[..., MailProgram]

FORGED = [
    pytest.param("bob@example.org", id="a colleague"),
    pytest.param("nobody-at-all@example.org", id="nobody of the own domain"),
    pytest.param("someone@outside.example", id="a stranger"),
    pytest.param("alice@outside.example", id="the own name elsewhere"),
    pytest.param("alice-shop@example.org", id="an expression of another", marks=pytest.mark.needs("expressions")),
]


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_envelope_sender_is_refused(mail_program: Program, alice: Person, service: str, forged: str) -> None:
    with pytest.raises(RefusedError) as refused:
        mail_program(alice, service).send("bob@example.org", envelope_sender=forged)
    assert refused.value.step in ("MAIL", "RCPT")
    assert refused.value.reply.code == 553


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_from_is_refused(mail_program: Program, alice: Person, service: str, forged: str) -> None:
    with pytest.raises(RefusedError) as refused:
        mail_program(alice, service).send(
            "bob@example.org", message=compose(to="bob@example.org", sender=f"Alice <{forged}>")
        )
    assert refused.value.step == "DATA"
    assert refused.value.reply.code == 550


def raw(*headers: str) -> bytes:
    return "\r\n".join([*headers, f"Message-ID: {message_id()}", "", "Hello."]).encode()


FORGERIES = {
    "a null envelope": ("", raw("From: bob@example.org")),
    "a Sender": (None, raw("From: alice@example.org", "Sender: bob@example.org")),
    "a Sender beside two authors": (
        None,
        raw("From: alice@example.org, alice@example.org", "Sender: bob@example.org"),
    ),
    "a second From": (None, raw("From: alice@example.org", "From: bob@example.org")),
    "a first From": (None, raw("From: bob@example.org", "From: alice@example.org")),
    "a second author": (None, raw("From: alice@example.org, bob@example.org")),
    "a second Sender": (
        None,
        raw("From: alice@example.org", "Sender: alice@example.org", "Sender: bob@example.org"),
    ),
    "a name that is the own address": (None, raw('From: "alice@example.org" <bob@example.org>')),
    "a comment that is the own address": (None, raw("From: bob@example.org (alice@example.org)")),
    "a Resent-From": (None, raw("From: alice@example.org", "Resent-From: bob@example.org")),
    "a folded From": (None, raw("From: alice@example.org,", "\tbob@example.org")),
    "a group": (None, raw("From: us: alice@example.org, bob@example.org;")),
    "a From in capitals": (None, raw("FROM: bob@example.org")),
    "a space before the colon": (None, raw("Subject: Hello", "From : bob@example.org")),
    "an encoded name": (None, raw("From: =?utf-8?q?alice=40example=2Eorg?= <bob@example.org>")),
    "a source route": (None, raw("From: <@example.org:bob@example.org>")),
    "a quoted local part": (None, raw('From: "bob"@example.org')),
    "an empty From": (None, raw("From: ")),
    "a From that is no address": (None, raw("From: somebody")),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_header_is_refused(mail_program: Program, alice: Person, service: str, forgery: str) -> None:
    envelope_sender, data = FORGERIES[forgery]
    with pytest.raises(RefusedError) as refused:
        mail_program(alice, service).send("bob@example.org", envelope_sender=envelope_sender, data=data)
    assert refused.value.step == "DATA"
    assert refused.value.reply.code == 550


@pytest.mark.parametrize("header", ["Subject: Who am I?", "From : bob@example.org", "From bob@example.org"])
def test_a_message_without_from_is_given_the_sender_s_own(
    mail_program: Program, mailbox: Callable[[str], Mailbox], alice: Person, service: str, header: str
) -> None:
    """At the very beginning, `From` and a space is the separator of a mailbox file, no header."""
    identity = message_id()
    data = f"{header}\r\nMessage-ID: {identity}\r\n\r\nHello.".encode()
    mail_program(alice, service).send("bob@example.org", data=data)
    received = mailbox("bob@example.org").wait_for(identity)
    assert received.get_all("From") == [alice.address]


def own(address: str) -> EmailMessage:
    return compose(to="bob@example.org", sender=f"Me <{address}>")


OWN = [
    pytest.param("alice@example.org", id="mailbox"),
    pytest.param("Alice@EXAMPLE.org", id="mailbox in capitals"),
    pytest.param("alice+list@example.org", id="tag"),
    pytest.param("sales@example.org", id="alias", marks=pytest.mark.needs("aliases")),
    pytest.param("info@example.org", id="shared alias", marks=pytest.mark.needs("aliases")),
    pytest.param("alice@example.net", id="alias domain", marks=pytest.mark.needs("alias domain")),
    pytest.param("newsletter@example.org", id="granted sender", marks=pytest.mark.needs("senders")),
    pytest.param("anything@lists.example", id="granted domain", marks=pytest.mark.needs("senders")),
]


@pytest.mark.parametrize("address", OWN)
def test_own_addresses_are_free_to_use(
    mail_program: Program, mailbox: Callable[[str], Mailbox], alice: Person, service: str, address: str
) -> None:
    sent = mail_program(alice, service).send("bob@example.org", envelope_sender=address, message=own(address))
    received = mailbox("bob@example.org").wait_for(sent)
    assert received["From"] == f"Me <{address}>"


def test_a_read_receipt_has_no_envelope_sender(
    mail_program: Program, mailbox: Callable[[str], Mailbox], alice: Person, service: str
) -> None:
    sent = mail_program(alice, service).send("bob@example.org", envelope_sender="", message=own("alice@example.org"))
    assert mailbox("bob@example.org").wait_for(sent)["Return-Path"] == "<>"


@pytest.mark.needs("senders")
def test_a_grant_is_one_person_s(mail_program: Program, person: Callable[[str], Person], service: str) -> None:
    with pytest.raises(RefusedError) as refused:
        mail_program(person("carol@example.com"), service).send(
            "bob@example.org", envelope_sender="newsletter@example.org"
        )
    assert refused.value.reply.code == 553


def test_a_second_message_is_held_against_the_same_rule(
    deployment: Deployment, mail_program: Program, alice: Person, service: str
) -> None:
    """The first, honest message of a connection opens no door for the next."""
    honest = compose(to="bob@example.org", sender=alice.address).as_bytes()
    with mail_program(alice, service).connect() as client:
        client.mail(alice.address)
        client.rcpt("bob@example.org")
        assert client.data(honest)[0] == 250
        client.mail(alice.address)
        client.rcpt("bob@example.org")
        assert client.data(raw("From: bob@example.org"))[0] == 550
