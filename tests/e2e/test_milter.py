"""From fields made to be checked as one address and shown as another, and a milter that is exchanged meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import EmailMessage

import pytest
from mailtest.deployment import Deployment, Person, Shell
from mailtest.imap import Mailbox
from mailtest.mail import MailProgram, Outside, RefusedError, compose, message_id
from mailtest.smtp import submission

Program = Callable[..., MailProgram]

TWO_FACED = {
    "another's address as the name": b'From: "bob@example.org" <alice@example.org>',
    "another's address as an encoded name": b"From: =?utf-8?q?bob=40example=2Eorg?= <alice@example.org>",
    "another's address in two encoded words": (
        b"From: =?utf-8?q?bob?=\r\n =?utf-8?q?=40example=2Eorg?= <alice@example.org>"
    ),
    "another's address in a quoted encoded word": b'From: "=?utf-8?q?bob=40example=2Eorg?=" <alice@example.org>',
    "another's address in full width": "From: bob\uff20example.org <alice@example.org>".encode(),
    "an encoded word within an encoded word": b"From: =?utf-8?q?=3D=3Futf-8=3Fq=3Fbob=3F=3D?= <alice@example.org>",
    "an encoded line break": b"From: =?utf-8?q?x=0AFrom=3A_bob=40example=2Eorg?= <alice@example.org>",
    "an encoded address": b"From: =?utf-8?q?bob=40example.org=00?=@lists.example",
    "an address before the address": b"From: bob@example.org <alice@example.org>",
    "two addresses without a comma": b"From: <alice@example.org> <bob@example.org>",
    "brackets in brackets": b"From: <bob@example.org<alice@example.org>>",
    "a comment in an address": b"From: alice@example.org(@bob.example)",
    "a quoted comma": b'From: "alice@example.org, " bob@example.org',
    "an empty line in the field": b"From: alice@example.org\r\n \r\n , bob@example.org",
    "text that runs from right to left": "From: \u202egro.elpmaxe@bob <alice@example.org>".encode(),
    "an unknown encoding": b"From: =?utf-7?q?bob+AEA-example.org?= <alice@example.org>",
    "a tab before the colon": b"Subject: x\r\nFrom\t: bob@example.org",
    "a second From in obsolete syntax": b"Subject: x\r\nFrom : bob@example.org\r\nFrom: alice@example.org",
    "no address but a tag": b"From: +alice@example.org",
    "a domain that looks alike": "From: alice@ex\u0430mple.org".encode(),
}


@pytest.mark.parametrize("field", TWO_FACED)
def test_a_two_faced_from_is_refused(mail_program: Program, alice: Person, field: str) -> None:
    data = TWO_FACED[field] + f"\r\nMessage-ID: {message_id()}\r\n\r\nHello.".encode()
    with pytest.raises(RefusedError) as refused:
        mail_program(alice).send("bob@example.org", data=data)
    assert refused.value.step == "DATA"
    assert refused.value.reply.code == 550


STRAY = {
    "a carriage return": b"X: a\rFrom: bob@example.org",
    "carriage returns": b"X: a\r\rFrom: bob@example.org\r",
    "a null": b"X: a\0From: bob@example.org",
    "a vertical tab": b"X: a\x0bFrom: bob@example.org",
    "a form feed": b"X: a\x0cFrom: bob@example.org",
    "a next line": b"X: a\xc2\x85From: bob@example.org",
    "a line separator": b"X: a\xe2\x80\xa8From: bob@example.org",
}


@pytest.mark.parametrize("line_end", STRAY)
def test_what_is_no_line_end_begins_no_from(
    mail_program: Program, mailbox: Callable[[str], Mailbox], alice: Person, line_end: str
) -> None:
    sent = EmailMessage()
    sent["Message-ID"] = message_id()
    fields = (STRAY[line_end], b"From: alice@example.org", f"Message-ID: {sent['Message-ID']}".encode(), b"", b"Hello.")
    if accepted(mail_program(alice), sent, b"\r\n".join(fields)):
        assert mailbox("bob@example.org").wait_for(sent).get_all("From") == ["alice@example.org"]


def accepted(program: MailProgram, message: EmailMessage, data: bytes) -> bool:
    try:
        program.send("bob@example.org", message=message, data=data)
    except RefusedError:
        return False
    return True


@pytest.mark.parametrize(
    "name", ["Alice", '"Liddell, Alice"', '"alice@example.org"', "Älice", "=?utf-8?b?w4RsaWNl?=", "Alice L. Q."]
)
def test_names_are_the_users_own_business(
    mail_program: Program, mailbox: Callable[[str], Mailbox], alice: Person, name: str
) -> None:
    sent = EmailMessage()
    sent["Message-ID"] = message_id()
    data = f"From: {name} <alice@example.org>\r\nMessage-ID: {sent['Message-ID']}\r\n\r\nHello.".encode()
    mail_program(alice).send("bob@example.org", message=sent, data=data)
    assert mailbox("bob@example.org").wait_for(sent)["Message-ID"] == sent["Message-ID"]


def test_a_session_does_not_notice_a_reload_of_the_milter(
    deployment: Deployment, host: Shell, mailbox: Callable[[str], Mailbox], alice: Person
) -> None:
    sent = compose(to="bob@example.org", sender="alice@example.org")
    with submission(deployment.port("submissions"), implicit_tls=True) as dialogue:
        assert dialogue.login(alice).ok
        assert dialogue.command("MAIL FROM:<alice@example.org>").ok
        host.run("systemctl", "reload", "postoffice-milter.service")
        assert dialogue.command("RCPT TO:<bob@example.org>").ok
        assert dialogue.message(sent.as_bytes()).ok
        assert dialogue.command("MAIL FROM:<alice@example.org>").ok
        assert dialogue.command("RCPT TO:<bob@example.org>").ok
        forged = compose(to="bob@example.org", sender="bob@example.org")
        assert dialogue.message(forged.as_bytes()).code == 550
    assert mailbox("bob@example.org").wait_for(sent)["From"] == "alice@example.org"


@pytest.fixture
def no_milter(host: Shell) -> Iterator[None]:
    host.run("systemctl", "stop", "postoffice-milter.service")
    yield
    host.run("systemctl", "start", "postoffice-milter.service")


def test_mail_waits_while_the_milter_is_down(no_milter: None, outside: Outside) -> None:
    assert outside.ask("alice@example.org").code == 451


def test_a_mail_program_is_asked_to_come_back_while_the_milter_is_down(
    no_milter: None, deployment: Deployment, alice: Person
) -> None:
    with submission(deployment.port("submissions"), implicit_tls=True) as dialogue:
        assert 400 <= dialogue.login(alice).code < 500
