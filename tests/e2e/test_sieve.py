"""Filters: people's own over ManageSieve, and those that the inventory declares."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from email.message import EmailMessage

import pytest
from mailtest.deployment import WRONG_PASSWORD, Deployment, Person
from mailtest.elsewhere import Elsewhere
from mailtest.imap import Mailbox
from mailtest.mail import Outside, compose
from mailtest.managesieve import ManageSieve
from mailtest.waiting import wait_for

SCRIPT = "tests"


def connect(deployment: Deployment) -> ManageSieve:
    return ManageSieve(deployment.port("managesieve"))


@pytest.fixture
def sieve(deployment: Deployment, bob: Person) -> Iterator[ManageSieve]:
    """Bob's mail program, managing his filters; what it uploads is removed afterwards."""
    with connect(deployment) as client:
        assert client.starttls().ok
        assert client.login(bob).ok
        yield client
        assert client.activate("").ok
        if SCRIPT in client.scripts():
            assert client.delete(SCRIPT).ok


def install(sieve: ManageSieve, script: str) -> None:
    uploaded = sieve.put(SCRIPT, script)
    assert uploaded.ok, uploaded.text
    assert sieve.activate(SCRIPT).ok


def test_no_password_is_taken_in_cleartext(deployment: Deployment, bob: Person) -> None:
    with connect(deployment) as client:
        assert "STARTTLS" in client.capabilities
        assert client.capabilities["SASL"] == ""
        assert not client.login(bob).ok


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_the_right_password_opens(deployment: Deployment, bob: Person, mechanism: str) -> None:
    with connect(deployment) as client:
        client.starttls()
        assert mechanism in client.capabilities["SASL"].split()
        assert client.login(bob, mechanism).ok


def test_a_wrong_password_does_not(deployment: Deployment, alice: Person) -> None:
    with connect(deployment) as client:
        client.starttls()
        assert not client.login(Person(alice.address, WRONG_PASSWORD)).ok
        assert client.login(alice).ok


@pytest.mark.needs("nasty passwords")
def test_every_password_works(deployment: Deployment) -> None:
    for each in deployment.people.values():
        if each.domain == "passwords.example":
            with connect(deployment) as client:
                client.starttls()
                assert client.login(each).ok, each.address


def replies(inbox: Mailbox, *messages: EmailMessage) -> list[EmailMessage]:
    """Bob's answers to messages. They are looked through: of the fields of a header, only some can be searched for."""
    inbox.client.select_folder("INBOX", readonly=True)
    ids = {str(message["Message-ID"]) for message in messages}
    found = [inbox.fetch(uid) for uid in inbox.client.search(["FROM", "bob@example.org"])]
    return [reply for reply in found if str(reply["In-Reply-To"]) in ids]


def test_a_message_is_filed(sieve: ManageSieve, outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    install(
        sieve,
        'require ["fileinto", "mailbox"];\nif header :contains "Subject" "Rechnung für" { fileinto :create "Büro"; }\n',
    )
    filed = outside.send("bob@example.org", subject="Eine Rechnung für Sie")
    other = outside.send("bob@example.org", subject="Something else")
    inbox = mailbox("bob@example.org")
    assert inbox.wait_for(filed, "Büro")
    assert inbox.wait_for(other)
    assert inbox.folders_with(filed) == ["Büro"]


def test_an_absent_person_answers(
    sieve: ManageSieve,
    outside: Outside,
    mailbox: Callable[[str], Mailbox],
    delivered: Callable[[], None],
) -> None:
    """Once, to who wrote to them, with an empty envelope sender."""
    install(
        sieve,
        'require ["vacation"];\n'
        f'vacation :days 1 :handle "{uuid.uuid4()}" :subject "Ich bin verreist" "Zurück am 1. Mai.";\n',
    )
    writer = "alice@example.org"
    inbox = mailbox("alice@example.org")
    messages = [compose(to="bob@example.org", sender=writer, subject=f"Question {number}") for number in (1, 2)]
    for message in messages:
        outside.send("bob@example.org", envelope_sender=writer, message=message)
        mailbox("bob@example.org").wait_for(message)
    wait_for(lambda: replies(inbox, *messages), "the vacation reply")
    delivered()
    (answer,) = replies(inbox, *messages)
    assert answer["Subject"] == "Ich bin verreist"
    assert answer["Return-Path"] == "<>"
    assert answer["Auto-Submitted"].startswith("auto-replied")
    assert "Zurück am 1. Mai." in answer.get_content()


def test_a_mailing_list_gets_no_vacation_reply(
    sieve: ManageSieve,
    outside: Outside,
    mailbox: Callable[[str], Mailbox],
    delivered: Callable[[], None],
) -> None:
    install(sieve, 'require ["vacation"];\nvacation :subject "To a list" "Away.";\n')
    sent = compose(to="bob@example.org", sender="alice@example.org", headers=[("List-Id", "<talk.example.org>")])
    outside.send("bob@example.org", envelope_sender="alice@example.org", message=sent)
    mailbox("bob@example.org").wait_for(sent)
    delivered()
    assert replies(mailbox("alice@example.org"), sent) == []


@pytest.mark.needs("spam rule")
def test_spam_gets_no_vacation_reply(
    sieve: ManageSieve,
    outside: Outside,
    mailbox: Callable[[str], Mailbox],
    delivered: Callable[[], None],
) -> None:
    """It would go to whomever the sender pretends to be."""
    install(sieve, 'require ["vacation"];\nvacation :subject "To a spammer" "Away.";\n')
    sent = compose(to="bob@example.org", sender="alice@example.org", body="post-office-test-seven\n")
    outside.send("bob@example.org", envelope_sender="alice@example.org", message=sent)
    mailbox("bob@example.org").wait_for(sent, "Junk")
    delivered()
    assert replies(mailbox("alice@example.org"), sent) == []


def test_a_script_with_a_mistake_is_refused_with_its_line(sieve: ManageSieve) -> None:
    answer = sieve.put(SCRIPT, 'require "fileinto";\nfilinto "Spam";\n')
    assert not answer.ok
    assert "line 2" in answer.text
    assert SCRIPT not in sieve.scripts()


@pytest.mark.parametrize(
    "extension", ["vnd.dovecot.pipe", "vnd.dovecot.execute", "vnd.dovecot.filter", "vnd.dovecot.environment"]
)
def test_people_s_scripts_run_no_programs(sieve: ManageSieve, extension: str) -> None:
    assert not sieve.put(SCRIPT, f'require "{extension}";\nkeep;\n').ok


@pytest.mark.needs("elsewhere", "smarthost")
def test_a_script_redirects(sieve: ManageSieve, outside: Outside, elsewhere: Elsewhere) -> None:
    install(sieve, 'redirect "friend@partner.example";\n')
    sent = outside.send("bob@example.org")
    assert elsewhere.wait_for(sent).recipients == ["friend@partner.example"]


@pytest.mark.needs("sieve scripts")
@pytest.mark.parametrize(
    ("recipient", "subject", "folder"),
    [
        pytest.param("filer@example.org", "for the site", "Site", id="for everybody"),
        pytest.param("dave@example.com", "for the site", "Site", id="for everybody, in another domain"),
        pytest.param("filer@example.org", "for the domain", "Domain", id="for a domain"),
        pytest.param("dave@example.com", "for the domain", "INBOX", id="not for another domain"),
        pytest.param("filer@example.org", "for the mailbox", "Mailbox", id="for a mailbox"),
        pytest.param("alice@example.org", "for the mailbox", "INBOX", id="not for another mailbox"),
        pytest.param("filer@example.org", "for nobody", "INBOX", id="for nobody"),
    ],
)
def test_declared_scripts_file(
    outside: Outside, mailbox: Callable[[str], Mailbox], recipient: str, subject: str, folder: str
) -> None:
    sent = outside.send(recipient, subject=subject)
    mailbox(recipient).wait_for(sent, folder)
    assert mailbox(recipient).folders_with(sent) == [folder]


@pytest.mark.needs("sieve scripts")
def test_a_declared_script_runs_before_one_s_own(
    sieve: ManageSieve, outside: Outside, mailbox: Callable[[str], Mailbox]
) -> None:
    install(sieve, 'require ["fileinto", "mailbox"];\nfileinto :create "Own";\n')
    declared = outside.send("bob@example.org", subject="for the site")
    own = outside.send("bob@example.org", subject="Something else")
    assert mailbox("bob@example.org").wait_for(declared, "Site")
    assert mailbox("bob@example.org").wait_for(own, "Own")
    assert mailbox("bob@example.org").folders_with(own) == ["Own"]
