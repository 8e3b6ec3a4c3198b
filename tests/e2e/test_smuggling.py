"""One message stays one message, wherever a strange client thinks that it ends.

A server that takes something else than <CR><LF>.<CR><LF> for the end of a message reads what follows as commands: a
stranger's text becomes a message in anybody's name.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mailtest.deployment import Deployment, Person, Shell
from mailtest.imap import Mailbox
from mailtest.mail import STRANGER, Outside, message_id
from mailtest.smtp import Dialogue, Reply, submission

ENDS = {
    "LF . LF": b"\n.\n",
    "LF . CR LF": b"\n.\r\n",
    "CR LF . LF": b"\r\n.\n",
    "CR . CR LF": b"\r.\r\n",
    "CR LF . CR": b"\r\n.\r",
    "CR . CR": b"\r.\r",
    "CR LF NUL . CR LF": b"\r\n\0.\r\n",
}


def smuggler(end: bytes, sender: str, outer: str, inner: str) -> bytes:
    """A message with the false end in it, followed by what would be a second message if that were believed."""
    return (
        f"From: {sender}\r\nTo: alice@example.org\r\nMessage-ID: {outer}\r\n\r\nHarmless.".encode()
        + end
        + f"MAIL FROM:<{sender}>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n".encode()
        + f"From: {sender}\r\nTo: alice@example.org\r\nMessage-ID: {inner}\r\n\r\nSmuggled.".encode()
    )


def speak(dialogue: Dialogue, sender: str, data: bytes) -> list[Reply]:
    """One transaction with `data` for a message; every reply from its end on."""
    for line in (f"MAIL FROM:<{sender}>", "RCPT TO:<alice@example.org>", "DATA"):
        assert dialogue.command(line).ok
    try:
        dialogue.send(data + b"\r\n.\r\nQUIT\r\n")
    except ConnectionError:
        return []
    return dialogue.rest()


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_smuggled_in_from_outside(
    outside: Outside, mailbox: Callable[[str], Mailbox], delivered: Callable[[], None], end: str
) -> None:
    outer, inner = message_id(), message_id()
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        replies = speak(dialogue, STRANGER, smuggler(ENDS[end], STRANGER, outer, inner))
    accepted = [reply for reply in replies if reply.text.startswith("2.0.0 Ok: queued")]
    assert len(accepted) <= 1
    sentinel = outside.send("alice@example.org")
    delivered()
    inbox = mailbox("alice@example.org")
    inbox.wait_for(sentinel)
    assert len(inbox.uids(outer)) == len(accepted)
    assert not inbox.holds(inner)


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_smuggled_in_by_a_user(
    deployment: Deployment,
    outside: Outside,
    mailbox: Callable[[str], Mailbox],
    delivered: Callable[[], None],
    alice: Person,
    end: str,
) -> None:
    outer, inner = message_id(), message_id()
    with submission(deployment.port("submissions"), implicit_tls=True) as dialogue:
        assert dialogue.login(alice).code == 235
        replies = speak(dialogue, alice.address, smuggler(ENDS[end], alice.address, outer, inner))
    accepted = [reply for reply in replies if reply.text.startswith("2.0.0 Ok: queued")]
    assert len(accepted) <= 1
    sentinel = outside.send("alice@example.org")
    delivered()
    inbox = mailbox("alice@example.org")
    inbox.wait_for(sentinel)
    assert not inbox.holds(inner)


def test_a_message_without_carriage_returns_is_refused(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    """Bare line feeds are what every smuggler needs, and no mail server sends."""
    message = message_id()
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        text = f"From: {STRANGER}\nMessage-ID: {message}\n\nNo carriage return.\n".encode()
        replies = speak(dialogue, STRANGER, text)
    assert replies
    assert replies[0].refused


ON_THE_HOST = """
import socket, sys
with socket.create_connection(("127.0.0.1", 25), 30) as connection:
    replies = connection.makefile("rb")
    print(replies.readline())
    for line in (b"HELO localhost", b"MAIL FROM:<>", b"RCPT TO:<alice@example.org>", b"DATA"):
        connection.sendall(line + b"\\r\\n")
        print(replies.readline())
    connection.sendall(b"Subject: No carriage return\\n\\nHello.\\r\\n.\\r\\n")
    sys.exit(0 if replies.readline().startswith(b"5") else "it was not refused")
"""


def test_a_program_of_the_host_has_to_use_carriage_returns_too(host: Shell) -> None:
    """Whoever takes over a website on the host must not forge what other servers would believe."""
    assert host.run("python3", "-c", ON_THE_HOST, check=False).stderr == ""


STRAY = [b"A\r.\rB", b"A\rB", b"A\r\r\nB", b"A\0B"]


@pytest.mark.parametrize("body", STRAY)
def test_a_carriage_return_alone_or_a_null_is_refused(outside: Outside, body: bytes) -> None:
    """What some server further on takes for the end of a line is not passed on to it."""
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        replies = speak(dialogue, STRANGER, b"Subject: Stray\r\n\r\n" + body)
    assert replies
    assert replies[0].refused


@pytest.mark.parametrize("body", STRAY)
def test_a_user_s_carriage_return_alone_or_null_is_refused(deployment: Deployment, alice: Person, body: bytes) -> None:
    with submission(deployment.port("submissions"), implicit_tls=True) as dialogue:
        assert dialogue.login(alice).code == 235
        replies = speak(dialogue, alice.address, f"From: {alice.address}\r\n\r\n".encode() + body)
    assert replies
    assert replies[0].refused


def test_commands_ahead_of_time_are_refused(outside: Outside) -> None:
    """A client that speaks a whole transaction before it is asked to is no mail server."""
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        envelope = f"MAIL FROM:<{STRANGER}>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n"
        dialogue.send(f"{envelope}Subject: Too soon\r\n\r\n.\r\nQUIT\r\n".encode())
        replies = dialogue.rest()
    assert any(reply.refused for reply in replies)


@pytest.mark.parametrize("port", ["smtp", "submission"])
def test_a_message_has_one_end_only(deployment: Deployment, port: str) -> None:
    """In chunks (BDAT) it would end by its length, and a server behind this one that counts differently is deceived."""
    with Dialogue(deployment.port(port)) as dialogue:
        dialogue.ehlo()
        assert "CHUNKING" not in dialogue.capabilities
        if port == "submission":
            dialogue.starttls()
            dialogue.ehlo()
            assert "CHUNKING" not in dialogue.capabilities
        assert dialogue.command("BDAT 0 LAST").refused


@pytest.mark.parametrize("port", ["smtp", "submission"])
def test_what_is_slipped_in_before_tls_is_forgotten(deployment: Deployment, port: str) -> None:
    """An attacker in the middle may put commands behind STARTTLS; they must not run once the line is encrypted."""
    with Dialogue(deployment.port(port)) as dialogue:
        dialogue.ehlo()
        dialogue.send(b"STARTTLS\r\nRSET\r\n")
        reply = dialogue.read()
        if reply.code == 220:
            dialogue.handshake()
            assert dialogue.ehlo().text.startswith(deployment.hostname), "the reply is to EHLO, not to RSET"
        else:
            assert reply.refused
