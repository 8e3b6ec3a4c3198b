"""Reading mail over POP3, where somebody asked for it."""

from __future__ import annotations

import email
import poplib
import socket
from collections.abc import Callable

import pytest
from mailtest.deployment import WRONG_PASSWORD, Deployment, Endpoint, Person
from mailtest.imap import Mailbox
from mailtest.mail import Outside
from mailtest.tls import any_certificate

pytestmark = pytest.mark.needs("pop3")


def connect(endpoint: Endpoint) -> poplib.POP3_SSL:
    return poplib.POP3_SSL(endpoint.host, endpoint.port, timeout=30, context=any_certificate())


def test_mail_is_fetched_and_removed(
    deployment: Deployment, outside: Outside, mailbox: Callable[[str], Mailbox], person: Callable[[str], Person]
) -> None:
    carol = person("carol@example.com")
    inbox = mailbox(carol.address)
    inbox.empty()
    sent = outside.send(carol.address, subject="By POP3")
    inbox.wait_for(sent)
    client = connect(deployment.port("pop3s"))
    client.user(carol.address)
    client.pass_(carol.password)
    assert client.stat()[0] == 1
    received = email.message_from_bytes(b"\r\n".join(client.retr(1)[1]))
    assert received["Message-ID"] == sent["Message-ID"]
    client.dele(1)
    client.quit()
    inbox.client.select_folder("INBOX", readonly=True)
    assert inbox.client.search("ALL") == []


def test_a_wrong_password_does_not_open(deployment: Deployment, alice: Person) -> None:
    client = connect(deployment.port("pop3s"))
    client.user(alice.address)
    with pytest.raises(poplib.error_proto):
        client.pass_(WRONG_PASSWORD)
    client.user(alice.address)
    client.pass_(alice.password)
    client.quit()


def test_port_110_takes_no_password_in_cleartext(deployment: Deployment) -> None:
    endpoint = deployment.port("pop3")
    client = poplib.POP3(endpoint.host, endpoint.port, timeout=30)
    capabilities = client.capa()
    assert "STLS" in capabilities
    assert "USER" not in capabilities
    assert "SASL" not in capabilities or capabilities["SASL"] == []
    client.quit()


def test_a_password_that_comes_in_cleartext_opens_nothing(deployment: Deployment, alice: Person) -> None:
    endpoint = deployment.port("pop3")
    connection = socket.create_connection((endpoint.host, endpoint.port), 30)
    with connection, connection.makefile("rwb") as stream:
        stream.readline()
        stream.write(f"USER {alice.address}\r\nPASS {alice.password}\r\nSTAT\r\n".encode())
        stream.flush()
        assert [stream.readline()[:4] for _unused in range(3)] == [b"-ERR"] * 3


def test_port_110_opens_after_stls(deployment: Deployment, alice: Person) -> None:
    endpoint = deployment.port("pop3")
    client = poplib.POP3(endpoint.host, endpoint.port, timeout=30)
    client.stls(any_certificate())
    client.user(alice.address)
    client.pass_(alice.password)
    client.quit()


@pytest.mark.needs("states")
@pytest.mark.parametrize("address", ["former@example.org", "printer@example.org"])
def test_who_may_not_read_cannot_log_in(deployment: Deployment, person: Callable[[str], Person], address: str) -> None:
    client = connect(deployment.port("pop3s"))
    client.user(address)
    with pytest.raises(poplib.error_proto):
        client.pass_(person(address).password)
    client.close()
