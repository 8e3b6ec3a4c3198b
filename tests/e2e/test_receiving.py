"""Mail from the outside world, on port 25."""

from __future__ import annotations

import os
import smtplib
from collections.abc import Callable
from email.header import decode_header, make_header

import pytest
from mailtest.deployment import Deployment, Person, Shell, a_labels
from mailtest.imap import Mailbox
from mailtest.mail import STRANGER, Outside, compose, trace
from mailtest.smtp import Dialogue, plain
from mailtest.waiting import wait_for

ATTACHMENT = 20 * 1024 * 1024


def test_a_message_reaches_the_inbox_as_it_was_sent(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    sent = outside.send(
        "alice@example.org",
        subject="Invitation",
        body="Tea at five.\n\n.\n..two dots\nFrom here on, as before.\n",
        headers=[("X-Mailer", "Strange Mailer 1")],
    )
    received = mailbox("alice@example.org").wait_for(sent)
    assert received["Subject"] == "Invitation"
    assert received.get_content().replace("\r\n", "\n") == sent.get_content().replace("\r\n", "\n")
    assert received["X-Mailer"] == "Strange Mailer 1"
    assert received["Return-Path"] == f"<{STRANGER}>"
    assert "alice@example.org" in received["Delivered-To"]
    assert any("mx.outside.example" in line for line in trace(received)), "who delivered it stays visible"


def test_a_message_says_that_it_came_encrypted(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    received = mailbox("alice@example.org").wait_for(outside.send("alice@example.org"))
    assert any("mx.outside.example" in line and "using TLSv1" in line for line in trace(received))


def test_case_does_not_matter_in_an_address(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    sent = outside.send("ALICE@Example.ORG")
    assert mailbox("alice@example.org").wait_for(sent)


def test_two_recipients_get_one_copy_each(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    sent = outside.send(["alice@example.org", "bob@example.org"])
    for address in ("alice@example.org", "bob@example.org"):
        mailbox(address).wait_for(sent)
        assert len(mailbox(address).uids(sent)) == 1


def test_a_bounce_from_elsewhere_is_let_in(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    sent = outside.send("alice@example.org", envelope_sender="")
    assert mailbox("alice@example.org").wait_for(sent)["Return-Path"] == "<>"


def test_an_unknown_recipient_is_refused(outside: Outside) -> None:
    reply = outside.ask("nobody-at-all@example.org")
    assert reply.code == 550
    assert reply.text.startswith("5.1.1")
    assert "table" not in reply.text, "how mailboxes are stored is nobody's business"


def test_a_known_recipient_is_accepted_beside_an_unknown_one(
    outside: Outside, mailbox: Callable[[str], Mailbox]
) -> None:
    message = compose(to="alice@example.org")
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        dialogue.command(f"MAIL FROM:<{STRANGER}>")
        assert dialogue.command("RCPT TO:<nobody-at-all@example.org>").code == 550
        assert dialogue.command("RCPT TO:<alice@example.org>").code == 250
        assert dialogue.message(message.as_bytes()).code == 250
    assert mailbox("alice@example.org").wait_for(message)


def test_the_postmaster_of_every_domain_can_be_reached(deployment: Deployment, outside: Outside) -> None:
    local = [
        a_labels(domain["name"]) for domain in deployment.domains if domain.get("mailboxes") or domain.get("alias_of")
    ]
    assert local
    refused = {name: reply.text for name in local if not (reply := outside.ask(f"postmaster@{name}")).ok}
    assert refused == {}
    assert outside.ask("postmaster").ok, "the postmaster without a domain (RFC 5321, 4.5.1)"


OPEN_RELAY = [
    "someone@outside.example",
    "someone%outside.example@example.org",
    "someone%outside.example",
    "someone@outside.example@example.org",
    '"someone@outside.example"@example.org',
    '"someone%outside.example"@example.org',
    '"someone@outside.example"',
    "outside.example!someone",
    "outside.example!someone@example.org",
    "example.org!someone@outside.example",
    "@example.org:someone@outside.example",
    "someone%outside.example@[127.0.0.1]",
    "someone@[192.0.2.1]",
]


@pytest.mark.parametrize("sender", [STRANGER, "alice@example.org", "", "postmaster"])
@pytest.mark.parametrize("recipient", OPEN_RELAY)
def test_nothing_is_relayed_for_strangers(outside: Outside, recipient: str, sender: str) -> None:
    assert outside.ask(recipient, envelope_sender=sender).refused


def test_a_stranger_on_the_host_s_own_address_is_a_stranger_too(deployment: Deployment, outside: Outside) -> None:
    assert outside.ask(f"someone@[{deployment.address()}]").refused


def test_refused_mail_makes_no_bounce(
    outside: Outside,
    mailbox: Callable[[str], Mailbox],
    delivered: Callable[[], None],
) -> None:
    """Backscatter would show in the inbox of the one whose address was forged."""
    forged = "alice@example.org"
    inbox = mailbox(forged)
    before = outside.send(forged, subject="Before the refusals")
    inbox.wait_for(before)
    for recipient in ("nobody-at-all@example.org", "someone@outside.example"):
        assert outside.ask(recipient, envelope_sender=forged).refused
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        dialogue.command(f"MAIL FROM:<{forged}>")
        dialogue.command("RCPT TO:<nobody-at-all@example.org>")
        assert dialogue.command("DATA").refused
    delivered()
    since = outside.send(forged, subject="After the refusals")
    inbox.wait_for(since)
    between = ["UID", f"{inbox.uids(before)[0]}:{inbox.uids(since)[0]}"]
    assert inbox.client.search([*between, "FROM", "MAILER-DAEMON"]) == []


@pytest.mark.parametrize("command", ["VRFY alice@example.org", "VRFY nobody", "EXPN info@example.org"])
def test_nobody_is_told_who_exists(outside: Outside, command: str) -> None:
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        assert dialogue.command(command).code in (500, 502)


def test_one_has_to_say_helo_first(outside: Outside) -> None:
    with Dialogue(outside.endpoint) as dialogue:
        assert dialogue.command(f"MAIL FROM:<{STRANGER}>").code == 503
        dialogue.ehlo()
        assert dialogue.command(f"MAIL FROM:<{STRANGER}>").code == 250


@pytest.mark.parametrize("name", ["..", "mail_server!", "-", "a..example"])
def test_a_server_whose_name_cannot_exist_is_refused(outside: Outside, name: str) -> None:
    with Dialogue(outside.endpoint, helo=name) as dialogue:
        replies = [dialogue.ehlo(), dialogue.command(f"MAIL FROM:<{STRANGER}>")]
        assert any(reply.refused for reply in [*replies, dialogue.command("RCPT TO:<alice@example.org>")])


@pytest.mark.parametrize("sender", ["somebody", "somebody@localhost", "grüße@outside.example"])
def test_a_sender_to_whom_no_answer_could_be_sent_is_refused(outside: Outside, sender: str) -> None:
    assert outside.ask("alice@example.org", envelope_sender=sender).refused


@pytest.mark.parametrize(
    "recipient", ["root", "alice", "root@localhost", "root@localhost.example.org", "grüße@example.org"]
)
def test_names_of_the_host_s_own_users_are_no_addresses(outside: Outside, recipient: str) -> None:
    assert outside.ask(recipient).refused


def test_an_address_beyond_ascii_is_refused_as_such(outside: Outside) -> None:
    """Before any catch-all takes it, whose mailbox could not be written to with it."""
    assert outside.ask("grüße@example.org").code == 553


def test_nobody_makes_the_queue_run(outside: Outside) -> None:
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        assert "ETRN" not in dialogue.capabilities
        assert dialogue.command("ETRN relayed.example").refused


def test_what_is_not_offered_is_not_written_down_each_time(outside: Outside, host: Shell) -> None:
    before = host.output("journalctl", "--lines=0", "--show-cursor").rpartition("cursor: ")[2].strip()
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        dialogue.command("QUIT")

    def written() -> str:
        text = host.output("journalctl", "--output=cat", f"--after-cursor={before}", "--identifier=postfix/smtpd")
        return text if "disconnect from" in text else ""

    assert "discarding EHLO keywords" not in wait_for(written, "the end of the session in the journal")


def test_a_message_over_the_limit_is_refused_before_it_is_sent(outside: Outside) -> None:
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        limit = int(dialogue.capabilities["SIZE"])
        assert limit >= 25 * 1000 * 1000, "people send photographs"
        assert dialogue.command(f"MAIL FROM:<{STRANGER}> SIZE={limit + 1}").code == 552


def test_a_message_that_grows_over_the_limit_is_refused(outside: Outside) -> None:
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        limit = int(dialogue.capabilities["SIZE"])
        dialogue.command(f"MAIL FROM:<{STRANGER}>")
        dialogue.command("RCPT TO:<alice@example.org>")
        line = b"x" * 998 + b"\r\n"
        assert dialogue.message(b"Subject: Large\r\n\r\n" + line * (limit // len(line) + 1)).code == 552


def test_a_20_mb_attachment_arrives_unharmed(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    message = compose(to="alice@example.org", subject="A film")
    message.add_attachment(os.urandom(ATTACHMENT), maintype="application", subtype="octet-stream", filename="film.bin")
    outside.send("alice@example.org", message=message)
    inbox = mailbox("alice@example.org")
    (uid,) = wait_for(lambda: inbox.uids(message), "the large message", 60)
    (film,) = message.iter_attachments()
    encoded = str(film.get_payload()).encode().replace(b"\n", b"\r\n").strip()
    assert len(encoded) > ATTACHMENT
    assert encoded in inbox.raw(uid)
    inbox.client.select_folder("INBOX")
    inbox.client.delete_messages([uid])
    inbox.client.expunge()


def test_two_sessions_at_once_do_not_mix(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    first, second = (compose(to="alice@example.org", subject=subject) for subject in ("First", "Second"))
    with Dialogue(outside.endpoint) as one, Dialogue(outside.endpoint) as other:
        for dialogue in (one, other):
            dialogue.ehlo()
        for line in (f"MAIL FROM:<{STRANGER}>", "RCPT TO:<alice@example.org>", "DATA"):
            for dialogue in (one, other):
                assert dialogue.command(line).ok
        one.send(first.as_bytes()[:40])
        other.send(second.as_bytes() + b"\r\n.\r\n")
        assert other.read().code == 250
        one.send(first.as_bytes()[40:] + b"\r\n.\r\n")
        assert one.read().code == 250
    inbox = mailbox("alice@example.org")
    assert inbox.wait_for(first)["Subject"] == "First"
    assert inbox.wait_for(second)["Subject"] == "Second"


def test_a_subject_in_any_language_arrives(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    subject = "Grüße aus Łódź · 日本語の件名 · 🦉"
    sent = outside.send("alice@example.org", subject=subject, body="Schöne Grüße\n")
    received = mailbox("alice@example.org").wait_for(sent)
    assert str(make_header(decode_header(received["Subject"]))) == subject
    assert received.get_content().strip() == "Schöne Grüße"


def test_eight_bit_bodies_pass_untouched(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    message = compose(to="alice@example.org")
    body = "Blüten, so weiß wie Schnee\r\n".encode()
    headers = message.as_bytes().partition(b"\r\n\r\n")[0]
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        assert "8BITMIME" in dialogue.capabilities
        dialogue.command(f"MAIL FROM:<{STRANGER}> BODY=8BITMIME")
        dialogue.command("RCPT TO:<alice@example.org>")
        assert dialogue.message(headers + b"\r\n\r\n" + body).code == 250
    inbox = mailbox("alice@example.org")
    inbox.wait_for(message)
    (uid,) = inbox.uids(message)
    assert body.strip() in inbox.raw(uid)


def test_addresses_beyond_ascii_are_not_promised(outside: Outside) -> None:
    """What could not be delivered to the mailbox in the end must not be accepted."""
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        assert "SMTPUTF8" not in dialogue.capabilities
        assert dialogue.command("MAIL FROM:<grüße@outside.example> SMTPUTF8").refused


@pytest.mark.needs("root mail")
@pytest.mark.parametrize("user", ["root", "www-data"])
def test_the_host_s_own_mail_reaches_its_operator(
    host: Shell, deployment: Deployment, mailbox: Callable[[str], Mailbox], user: str
) -> None:
    message = compose(to=user, sender="root", subject="Cron has something to say")
    host.run("/usr/sbin/sendmail", "-t", stdin=message.as_string())
    received = mailbox(deployment.variables["postfix_root_mail_to"]).wait_for(message)
    assert received["Subject"] == "Cron has something to say"


@pytest.mark.needs("ipv6")
def test_mail_comes_in_over_ipv6(deployment: Deployment, mailbox: Callable[[str], Mailbox]) -> None:
    message = compose(to="alice@example.org")
    with smtplib.SMTP(deployment.address(6), 25, timeout=30) as mx:
        mx.sendmail(STRANGER, "alice@example.org", message.as_bytes())
    received = mailbox("alice@example.org").wait_for(message)
    assert any("IPv6:" in line for line in trace(received))


def test_a_name_greets_that_is_the_host_s(deployment: Deployment, outside: Outside) -> None:
    with Dialogue(outside.endpoint) as dialogue:
        assert dialogue.greeting.code == 220
        assert dialogue.greeting.text.split()[0] == deployment.hostname
        assert dialogue.ehlo().text.split()[0] == deployment.hostname


@pytest.mark.parametrize("encrypted", [False, True], ids=["cleartext", "encrypted"])
def test_nobody_logs_in_on_port_25(outside: Outside, alice: Person, encrypted: bool) -> None:
    with Dialogue(outside.endpoint) as dialogue:
        dialogue.ehlo()
        if encrypted:
            assert dialogue.starttls().code == 220
            dialogue.ehlo()
        assert "AUTH" not in dialogue.capabilities
        assert dialogue.command(f"AUTH PLAIN {plain(alice)}").refused
