"""Reading mail over IMAP, on 143 and 993."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import imapclient
import pytest
from imapclient.exceptions import IMAPClientError, LoginError
from mailtest.deployment import WRONG_PASSWORD, Deployment, Endpoint, Person, Shell
from mailtest.imap import Mailbox, connect, login
from mailtest.mail import Outside, compose
from mailtest.tls import any_certificate
from mailtest.waiting import wait_for


@pytest.fixture
def client(deployment: Deployment, alice: Person) -> Iterator[imapclient.IMAPClient]:
    """Alice's mail program, on a connection of its own."""
    with connect(deployment.port("imaps")) as connection:
        login(connection, alice)
        yield connection


def cleartext(deployment: Deployment) -> imapclient.IMAPClient:
    endpoint = deployment.port("imap")
    return imapclient.IMAPClient(endpoint.host, endpoint.port, ssl=False, timeout=30)


def test_port_143_opens_after_starttls(deployment: Deployment, alice: Person) -> None:
    with cleartext(deployment) as client:
        client.starttls(any_certificate())
        login(client, alice)
        assert client.folder_exists("INBOX")


def test_port_143_takes_no_password_in_cleartext(deployment: Deployment, alice: Person) -> None:
    with cleartext(deployment) as client:
        assert client.has_capability("STARTTLS")
        assert client.has_capability("LOGINDISABLED")
        assert not client.has_capability("AUTH=PLAIN")
        with pytest.raises(LoginError):
            client.login(alice.address, alice.password)
        with pytest.raises(IMAPClientError):
            login(client, alice)


def test_a_wrong_password_does_not_open(deployment: Deployment, alice: Person) -> None:
    with connect(deployment.port("imaps")) as client:
        with pytest.raises(LoginError):
            client.login(alice.address, WRONG_PASSWORD)
        client.login(alice.address, alice.password)


@pytest.mark.needs("states")
@pytest.mark.parametrize("address", ["former@example.org", "printer@example.org"])
def test_who_may_not_read_cannot_log_in(
    deployment: Deployment, person: Callable[[str], Person], alice: Person, address: str
) -> None:
    with connect(deployment.port("imaps")) as client:
        with pytest.raises(IMAPClientError):
            login(client, person(address))
        login(client, alice)


@pytest.mark.needs("nasty passwords")
def test_every_password_works(deployment: Deployment) -> None:
    nasty = [each for each in deployment.people.values() if each.domain == "passwords.example"]
    assert len(nasty) >= 7
    for each in nasty:
        with connect(deployment.port("imaps")) as client:
            login(client, each)


@pytest.mark.needs("nasty passwords")
def test_every_password_works_with_the_login_command(deployment: Deployment) -> None:
    """LOGIN carries the password as a literal, byte for byte."""
    for each in deployment.people.values():
        if each.domain == "passwords.example":
            with connect(deployment.port("imaps")) as client:
                client._imap.literal = each.password.encode()
                status, answer = client._imap._simple_command("LOGIN", each.address)
                assert status == "OK", f"{each.address}: {answer}"


@pytest.mark.needs("hashes")
def test_a_password_given_as_a_hash_works(deployment: Deployment) -> None:
    for address in deployment.variables["test_passwords"]:
        with connect(deployment.port("imaps")) as client:
            login(client, deployment.people[address])


@pytest.mark.needs("ipv6")
def test_mail_is_read_over_ipv6(deployment: Deployment, alice: Person) -> None:
    with connect(Endpoint(deployment.address(6), 993)) as client:
        login(client, alice)
        assert client.folder_exists("INBOX")


def test_people_see_their_own_mail_only(
    outside: Outside, mailbox: Callable[[str], Mailbox], client: imapclient.IMAPClient
) -> None:
    sent = outside.send("bob@example.org")
    mailbox("bob@example.org").wait_for(sent)
    assert mailbox("alice@example.org").folders_with(sent) == []
    for name in ("../bob", "../../example.org/bob/Maildir", "/var/vmail/example.org/bob", "~bob@example.org"):
        with pytest.raises(IMAPClientError):
            client.select_folder(name)


def test_the_usual_folders_are_there(client: imapclient.IMAPClient) -> None:
    uses = {flag for flags, _unused, _unused in client.list_folders() for flag in flags}
    assert {rb"\Drafts", rb"\Sent", rb"\Junk", rb"\Trash", rb"\Archive"} <= uses
    assert client.has_capability("SPECIAL-USE")


@pytest.mark.parametrize("name", ["Entwürfe & Grüße", "日本語", "Ελληνικά", "Łódź 🦉"])
def test_folders_have_names_in_any_language(client: imapclient.IMAPClient, name: str) -> None:
    message = compose(to="alice@example.org")
    client.create_folder(name)
    try:
        client.append(name, message.as_bytes())
        assert name in [folder for _unused, _unused, folder in client.list_folders()]
        assert client.select_folder(name)[b"EXISTS"] == 1
        assert len(client.search(["BODY", "Hello"])) == 1
        client.rename_folder(name, f"{name} 2")
        client.rename_folder(f"{name} 2", name)
    finally:
        client.unselect_folder()
        client.delete_folder(name)


def test_a_waiting_mail_program_hears_of_new_mail_at_once(outside: Outside, client: imapclient.IMAPClient) -> None:
    before = client.select_folder("INBOX")[b"EXISTS"]
    client.idle()
    sender = threading.Thread(target=outside.send, args=("alice@example.org",))
    sender.start()
    answers: list[tuple[object, ...]] = []

    def exists() -> bool:
        answers.extend(client.idle_check(timeout=1))
        return any(answer[1] == b"EXISTS" and answer[0] == before + 1 for answer in answers if len(answer) > 1)

    try:
        wait_for(exists, "word of the new message")
    finally:
        client.idle_done()
        sender.join()


def test_two_mail_programs_see_each_other_s_changes(
    outside: Outside, mailbox: Callable[[str], Mailbox], client: imapclient.IMAPClient
) -> None:
    inbox = mailbox("alice@example.org")
    sent = outside.send("alice@example.org")
    inbox.wait_for(sent)
    (uid,) = inbox.uids(sent)
    client.select_folder("INBOX")
    client.add_flags([uid], [imapclient.FLAGGED])
    inbox.client.select_folder("INBOX", readonly=True)
    assert imapclient.FLAGGED in inbox.client.get_flags([uid])[uid]
    client.delete_messages([uid])
    client.expunge([uid])
    inbox.client.noop()
    assert inbox.client.search(f"UID {uid}") == []


def test_search_finds_a_word_in_a_body(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    word = "Rhabarberkuchen"
    inbox = mailbox("bob@example.org")
    sent = outside.send("bob@example.org", body=f"Heute gibt es {word} mit Sahne.\n")
    other = outside.send("bob@example.org", body="Heute gibt es nichts.\n")
    inbox.wait_for(sent)
    inbox.wait_for(other)
    inbox.client.select_folder("INBOX", readonly=True)
    for query in (["BODY", word], ["TEXT", word.lower()]):
        found = inbox.client.search(query)
        assert inbox.uids(sent)[0] in found
        assert inbox.uids(other)[0] not in found


def test_search_is_indexed(host: Shell, outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    """A full text index lies beside the mail; without one, search reads every message."""
    inbox = mailbox("bob@example.org")
    sent = outside.send("bob@example.org", body="Zwetschgendatschi\n")
    inbox.wait_for(sent)
    inbox.client.select_folder("INBOX", readonly=True)
    assert inbox.client.search(["BODY", "Zwetschgendatschi"])
    index = host.output(
        "find", "/var/vmail/example.org/bob", "-path", "*xapian*", "-o", "-path", "*flatcurve*", "-o", "-path", "*fts*"
    )
    assert index.strip()


def test_a_message_can_be_put_away_and_thrown_away(
    outside: Outside, mailbox: Callable[[str], Mailbox], client: imapclient.IMAPClient
) -> None:
    inbox = mailbox("alice@example.org")
    sent = outside.send("alice@example.org")
    inbox.wait_for(sent)
    client.select_folder("INBOX")
    client.move(inbox.uids(sent), "Archive")
    assert inbox.wait_for(sent, "Archive")
    client.select_folder("Archive")
    client.delete_messages(inbox.uids(sent, "Archive"))
    client.expunge()
    assert client.search(["HEADER", "Message-ID", str(sent["Message-ID"])]) == []


@pytest.mark.needs("compression")
def test_mail_takes_less_room_on_disk_than_on_the_wire(
    host: Shell, outside: Outside, mailbox: Callable[[str], Mailbox]
) -> None:
    inbox = mailbox("bob@example.org")
    body = "All work and no play makes Jack a dull boy.\n" * 20_000
    sent = outside.send("bob@example.org", body=body)
    received = inbox.wait_for(sent)
    assert received.get_content().replace("\r\n", "\n") == body
    (uid,) = inbox.uids(sent)
    size = inbox.client.fetch([uid], ["RFC822.SIZE"])[uid][b"RFC822.SIZE"]
    on_disk = host.output("find", "/var/vmail/example.org/bob/Maildir", "-name", f"*W={size}*", "-printf", "%s\n")
    assert 0 < int(on_disk.split()[0]) < size / 10
