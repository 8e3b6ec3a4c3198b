"""Mail from the host's own people, on 465 and 587."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mailtest.deployment import WRONG_PASSWORD, Deployment, Endpoint, Person
from mailtest.elsewhere import Elsewhere
from mailtest.imap import Mailbox
from mailtest.mail import MailProgram, RefusedError
from mailtest.smtp import Dialogue, submission

Program = Callable[..., MailProgram]
MECHANISMS = pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])


def connect(deployment: Deployment, service: str) -> Dialogue:
    return submission(deployment.port(service), implicit_tls=service == "submissions")


def test_a_message_between_two_users(
    mail_program: Program, mailbox: Callable[[str], Mailbox], alice: Person, service: str
) -> None:
    sent = mail_program(alice, service).send("bob@example.org", subject="From me to you")
    assert mailbox("bob@example.org").wait_for(sent)["Subject"] == "From me to you"


@pytest.mark.needs("ipv6")
@pytest.mark.parametrize("port", [465, 587])
def test_mail_is_submitted_over_ipv6(deployment: Deployment, alice: Person, port: int) -> None:
    with submission(Endpoint(deployment.address(6), port), implicit_tls=port == 465) as dialogue:
        assert dialogue.login(alice).code == 235


@pytest.mark.needs("elsewhere", "smarthost")
def test_a_message_to_the_world(mail_program: Program, elsewhere: Elsewhere, alice: Person, service: str) -> None:
    sent = mail_program(alice, service).send("someone@outside.example")
    arrived = elsewhere.wait_for(sent)
    assert arrived.sender == alice.address
    assert arrived.recipients == ["someone@outside.example"]


@MECHANISMS
def test_the_right_password_opens(deployment: Deployment, alice: Person, service: str, mechanism: str) -> None:
    with connect(deployment, service) as dialogue:
        assert mechanism in dialogue.capabilities["AUTH"].split()
        assert dialogue.login(alice, mechanism).code == 235


def test_a_password_is_the_only_way_in(deployment: Deployment, service: str) -> None:
    """Also where Dovecot offers mail programs more than that."""
    with connect(deployment, service) as dialogue:
        assert set(dialogue.capabilities["AUTH"].split()) == {"PLAIN", "LOGIN"}


@MECHANISMS
def test_a_wrong_password_does_not(deployment: Deployment, alice: Person, service: str, mechanism: str) -> None:
    with connect(deployment, service) as dialogue:
        assert dialogue.login(Person(alice.address, WRONG_PASSWORD), mechanism).code == 535
        assert sends_nothing(dialogue)
        assert dialogue.login(alice).code == 235


def sends_nothing(dialogue: Dialogue) -> bool:
    """Whether the server refuses a message, at MAIL or at RCPT, and DATA in any case."""
    mail = dialogue.command("MAIL FROM:<alice@example.org>")
    recipient = dialogue.command("RCPT TO:<bob@example.org>")
    data = dialogue.command("DATA")
    dialogue.command("RSET")
    return (mail.refused or recipient.refused) and data.refused


def test_a_user_who_does_not_exist_is_refused_alike(deployment: Deployment, alice: Person) -> None:
    with connect(deployment, "submissions") as dialogue:
        unknown = dialogue.login(Person("nobody-at-all@example.org", "x"))
        wrong = dialogue.login(Person(alice.address, WRONG_PASSWORD))
        assert unknown == wrong
        assert unknown.code == 535
        assert dialogue.login(alice).code == 235


def test_the_login_s_case_does_not_matter(deployment: Deployment, alice: Person, service: str) -> None:
    with connect(deployment, service) as dialogue:
        assert dialogue.login(Person("Alice@Example.ORG", alice.password)).code == 235


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_no_password_is_taken_in_cleartext(deployment: Deployment, alice: Person, mechanism: str) -> None:
    with Dialogue(deployment.port("submission")) as dialogue:
        dialogue.ehlo()
        assert "STARTTLS" in dialogue.capabilities
        assert "AUTH" not in dialogue.capabilities
        assert dialogue.login(alice, mechanism).refused
        assert sends_nothing(dialogue)


def test_nothing_is_taken_without_a_password(deployment: Deployment, service: str) -> None:
    with connect(deployment, service) as dialogue:
        assert sends_nothing(dialogue)


def test_nothing_is_said_without_a_password(deployment: Deployment, service: str) -> None:
    """Which addresses there are, and which are well-formed, is for those to know who have logged in."""
    with connect(deployment, service) as dialogue:
        dialogue.command("MAIL FROM:<alice@example.org>")
        addresses = (
            "bob@example.org",
            "nobody-at-all@example.org",
            "root",
            "grüße@example.org",
            "someone@else.example",
        )
        replies = {dialogue.command(f"RCPT TO:<{address}>") for address in addresses}
    assert len(replies) == 1
    assert replies.pop().code == 554


@pytest.mark.parametrize("line", ["MAIL FROM:<alice@example.org>", "VRFY alice", "RCPT TO:<bob@example.org>", "DATA"])
def test_nothing_is_said_without_encryption(deployment: Deployment, line: str) -> None:
    with Dialogue(deployment.port("submission")) as dialogue:
        dialogue.ehlo()
        assert dialogue.command(line).code == 530


@pytest.mark.parametrize("name", ["Alice's laptop", "laptop_of_alice..", "[192.168.1.2", "-"])
def test_a_mail_program_may_call_itself_anything(
    deployment: Deployment, alice: Person, service: str, name: str
) -> None:
    with connect(deployment, service) as dialogue:
        dialogue.helo = name
        assert dialogue.ehlo().ok
        assert dialogue.login(alice).code == 235
        assert dialogue.command(f"MAIL FROM:<{alice.address}>").ok
        assert dialogue.command("RCPT TO:<bob@example.org>").ok


@pytest.mark.parametrize("recipient", ["bob", "root", "root@localhost", "bob@example", "grüße@example.org"])
def test_what_is_no_address_is_refused(deployment: Deployment, alice: Person, service: str, recipient: str) -> None:
    with connect(deployment, service) as dialogue:
        assert dialogue.login(alice).code == 235
        assert dialogue.command(f"MAIL FROM:<{alice.address}>").ok
        assert dialogue.command(f"RCPT TO:<{recipient}>").refused


def test_a_recipient_beyond_ascii_is_refused_as_such(deployment: Deployment, alice: Person, service: str) -> None:
    with connect(deployment, service) as dialogue:
        assert dialogue.login(alice).code == 235
        assert dialogue.command(f"MAIL FROM:<{alice.address}>").ok
        assert dialogue.command("RCPT TO:<grüße@example.org>").code == 553


NO_SENDERS = {"alice": "504 5.5.2", "alice@localhost": "504 5.5.2", "alice+ä@example.org": "553 5.6.7"}


@pytest.mark.parametrize("sender", NO_SENDERS)
def test_what_is_no_sender_is_refused(deployment: Deployment, alice: Person, service: str, sender: str) -> None:
    with connect(deployment, service) as dialogue:
        assert dialogue.login(alice).code == 235
        replies = [dialogue.command(f"MAIL FROM:<{sender}>"), dialogue.command("RCPT TO:<bob@example.org>")]
    refused = next(reply for reply in replies if not reply.ok)
    assert f"{refused.code} {refused.text}".startswith(NO_SENDERS[sender])


@pytest.mark.needs("states")
def test_a_colleague_who_has_left_is_named(mail_program: Program, alice: Person, service: str) -> None:
    with pytest.raises(RefusedError) as refused:
        mail_program(alice, service).send("former@example.org")
    assert refused.value.step == "RCPT"
    assert "mailbox disabled" in refused.value.reply.text


def test_an_unknown_local_recipient_is_refused_at_once(mail_program: Program, alice: Person, service: str) -> None:
    with pytest.raises(RefusedError) as refused:
        mail_program(alice, service).send("nobody-at-all@example.org")
    assert refused.value.step == "RCPT"
    assert refused.value.reply.code == 550


def test_a_message_over_the_limit_is_refused(deployment: Deployment, alice: Person, service: str) -> None:
    with connect(deployment, service) as dialogue:
        limit = int(dialogue.capabilities["SIZE"])
        assert limit >= 25 * 1000 * 1000, "people send photographs"
        assert dialogue.login(alice).code == 235
        assert dialogue.command(f"MAIL FROM:<{alice.address}> SIZE={limit + 1}").code == 552


@pytest.mark.needs("states")
@pytest.mark.parametrize("address", ["former@example.org", "archive@example.org"])
def test_who_may_not_send_cannot_log_in(
    deployment: Deployment, person: Callable[[str], Person], service: str, address: str
) -> None:
    with connect(deployment, service) as dialogue:
        assert dialogue.login(person(address)).refused


@pytest.mark.needs("states")
def test_a_send_only_mailbox_sends(
    mail_program: Program, mailbox: Callable[[str], Mailbox], person: Callable[[str], Person], service: str
) -> None:
    sent = mail_program(person("printer@example.org"), service).send("alice@example.org", subject="Out of paper")
    assert mailbox("alice@example.org").wait_for(sent)


@pytest.mark.needs("nasty passwords")
@MECHANISMS
def test_every_password_works(deployment: Deployment, service: str, mechanism: str) -> None:
    """Percent signs, spaces, quotes, dollars, umlauts, braces, 200 characters."""
    nasty = [each for each in deployment.people.values() if each.domain == "passwords.example"]
    assert len(nasty) >= 7
    refused = {}
    for each in nasty:
        with connect(deployment, service) as dialogue:
            reply = dialogue.login(each, mechanism)
            if reply.code != 235:
                refused[each.address] = reply.text
    assert refused == {}


@pytest.mark.needs("nasty passwords")
def test_a_password_counts_to_its_last_character(deployment: Deployment, person: Callable[[str], Person]) -> None:
    long = person("long@passwords.example")
    assert len(long.password) == 200
    with connect(deployment, "submissions") as dialogue:
        assert dialogue.login(Person(long.address, long.password[:-1])).refused
        assert dialogue.login(long).code == 235


@pytest.mark.needs("hashes")
def test_a_password_given_as_a_hash_works(deployment: Deployment, service: str) -> None:
    hashed = deployment.variables["test_passwords"]
    assert hashed
    for address in hashed:
        with connect(deployment, service) as dialogue:
            assert dialogue.login(deployment.people[address]).code == 235
