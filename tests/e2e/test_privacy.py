"""What a message tells its recipients about its sender: what was written, not where and with what."""

from __future__ import annotations

import socket
from collections.abc import Callable

from mailtest.deployment import Deployment, Person
from mailtest.imap import Mailbox
from mailtest.mail import MailProgram, Outside, compose, trace

TRACES = [
    ("User-Agent", "Telltale Mail 7.1"),
    ("X-Mailer", "Telltale Mail 7.1"),
    ("X-Originating-IP", "[198.51.100.77]"),
    ("X-Enigmail-Version", "2.0"),
]


def test_a_submitted_message_does_not_betray_the_sender_s_machine(
    mail_program: Callable[..., MailProgram],
    deployment: Deployment,
    mailbox: Callable[[str], Mailbox],
    alice: Person,
    service: str,
) -> None:
    program = mail_program(alice, service)
    with program.connect() as connection:
        assert isinstance(connection.sock, socket.socket)
        own_address = connection.sock.getsockname()[0]
        helo = connection.local_hostname
    sent = program.send("bob@example.org", subject="Nothing to see", headers=TRACES)
    inbox = mailbox("bob@example.org")
    received = inbox.wait_for(sent)
    headers = "\n".join(f"{name}: {value}" for name, value in received.items())
    for betrayal in (own_address, helo, "Telltale", "198.51.100.77", "Enigmail"):
        assert betrayal not in headers
    assert received["Subject"] == "Nothing to see"
    assert received["Date"] == sent["Date"]


def test_a_comment_does_not_betray_the_software_either(
    mail_program: Callable[..., MailProgram], mailbox: Callable[[str], Mailbox], alice: Person, service: str
) -> None:
    sent = compose(to="bob@example.org", sender=alice.address)
    del sent["MIME-Version"]
    sent["MIME-Version"] = "1.0 (Telltale Mail)"
    mail_program(alice, service).send("bob@example.org", message=sent)
    assert mailbox("bob@example.org").wait_for(sent).get_all("MIME-Version") == ["1.0"]


def test_an_attached_message_stays_as_it_is(
    mail_program: Callable[..., MailProgram], mailbox: Callable[[str], Mailbox], alice: Person
) -> None:
    """Somebody else's software is no secret of the sender's, and a forwarded message may be evidence."""
    sent = compose(to="bob@example.org", sender=alice.address)
    sent.add_attachment(compose(to=alice.address, headers=[("User-Agent", "Foreign 1.0")]))
    mail_program(alice).send("bob@example.org", message=sent)
    assert "User-Agent: Foreign 1.0" in mailbox("bob@example.org").wait_for(sent).as_string()


def test_a_submitted_message_still_says_who_took_it(
    mail_program: Callable[..., MailProgram],
    deployment: Deployment,
    mailbox: Callable[[str], Mailbox],
    alice: Person,
) -> None:
    sent = mail_program(alice).send("bob@example.org")
    received = mailbox("bob@example.org").wait_for(sent)
    assert any(f"by {deployment.hostname}" in line for line in trace(received))


def test_the_login_is_not_told(
    mail_program: Callable[..., MailProgram], mailbox: Callable[[str], Mailbox], alice: Person
) -> None:
    sent = mail_program(alice).send("bob@example.org")
    received = mailbox("bob@example.org").wait_for(sent)
    assert not any("Authenticated sender" in line for line in trace(received))


def test_blind_copies_stay_blind(
    mail_program: Callable[..., MailProgram], mailbox: Callable[[str], Mailbox], alice: Person
) -> None:
    """A blind recipient is nowhere in what the others get, nor in the trace headers of the one copy."""
    sent = mail_program(alice).send(
        ["bob@example.org", "alice+blind@example.org"], headers=[("Bcc", "alice@example.org")]
    )
    inbox = mailbox("bob@example.org")
    inbox.wait_for(sent)
    (uid,) = inbox.uids(sent)
    headers = inbox.raw(uid).partition(b"\r\n\r\n")[0].lower()
    assert b"bcc:" not in headers


def test_what_strangers_wrote_into_their_headers_is_kept(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    sent = outside.send(
        "bob@example.org", headers=[("User-Agent", "Foreign 1.0"), ("X-Originating-IP", "198.51.100.9")]
    )
    received = mailbox("bob@example.org").wait_for(sent)
    assert received["User-Agent"] == "Foreign 1.0"
    assert received["X-Originating-IP"] == "198.51.100.9"
