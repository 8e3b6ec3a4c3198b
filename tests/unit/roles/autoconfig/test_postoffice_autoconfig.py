# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What mail programs and people are told, and what nobody is."""

from __future__ import annotations

import http.client
import json
import plistlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema
from postoffice_autoconfig import answers
from postoffice_autoconfig.respond import POLICY, Response, domain_of, respond
from postoffice_autoconfig.server import Server
from postoffice_autoconfig.settings import Settings, load

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"
HOST = "mail.example.org"
PORTS = {"imaps": 993, "imap": 143, "submissions": 465, "submission": 587, "sieve": 4190}
REQUEST = """<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request>
<EMailAddress>{}</EMailAddress>
<AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema>
</Request></Autodiscover>"""


def told(**changed: object) -> Settings:
    raw: dict[str, object] = {
        "hostname": HOST,
        "domains": {"example.com": "example.com", "example.org": "example.org", "example.net": "example.org"},
        "ports": PORTS,
        "title": "",
        "contact": "",
        "webmail": "",
    }
    return load(json.dumps({**raw, **changed}))


SETTINGS = told()


def get(target: str, host: str = HOST) -> Response:
    return respond(SETTINGS, "GET", host, target)


def discovered(address: str) -> Response:
    return respond(SETTINGS, "POST", HOST, "/autodiscover/autodiscover.xml", REQUEST.format(address).encode())


# Thunderbird


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("autoconfig.example.com", "/mail/config-v1.1.xml"),
        ("autoconfig.example.com:443", "/mail/config-v1.1.xml?emailaddress=alice%40example.com"),
        (HOST, "/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=nobody@example.com"),
        ("example.com", "/.well-known/autoconfig/mail/config-v1.1.xml"),
    ],
)
def test_thunderbird_is_told_by_the_name_or_by_the_address(host: str, target: str) -> None:
    answer = get(target, host)
    assert (answer.status, answer.kind) == (200, "application/xml; charset=utf-8")
    xmlschema.XMLSchema(SCHEMAS / "client_config.xsd").validate(answer.body.decode())
    provider = ElementTree.fromstring(answer.body).find("emailProvider")
    assert provider is not None
    assert provider.get("id") == provider.findtext("domain") == "example.com"
    servers = [
        (server.get("type"), server.findtext("hostname"), server.findtext("port"), server.findtext("socketType"))
        for server in provider
        if server.tag.endswith("Server")
    ]
    assert servers == [
        ("imap", HOST, "993", "SSL"),
        ("imap", HOST, "143", "STARTTLS"),
        ("smtp", HOST, "465", "SSL"),
        ("smtp", HOST, "587", "STARTTLS"),
    ]
    assert {server.findtext("username") for server in provider if server.tag.endswith("Server")} == {"%EMAILADDRESS%"}


def test_who_has_an_alias_domain_logs_in_with_the_domain_of_the_mailbox() -> None:
    assert (
        b"<username>%EMAILLOCALPART%@example.org</username>"
        in get("/mail/config-v1.1.xml", "autoconfig.example.net").body
    )
    assert b"<LoginName>alice@example.org</LoginName>" in discovered("alice@example.net").body
    assert b"<code>you@example.org</code>" in get("/", "mail.example.net").body


# Outlook


def test_outlook_is_told_what_it_asks_for() -> None:
    answer = discovered("Alice@Example.COM")
    assert answer.status == 200
    root = ElementTree.fromstring(answer.body)
    assert root.tag == "{http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006}Autodiscover"
    schema = xmlschema.XMLSchema(SCHEMAS / "autodiscover.xsd")
    schema.validate(ElementTree.tostring(root[0], encoding="unicode"))
    space = {"o": answers.OUTLOOK}
    protocols = [
        tuple(
            each.findtext(f"o:{name}", namespaces=space)
            for name in ("Type", "Server", "Port", "Encryption", "LoginName")
        )
        for each in root.iterfind(".//o:Protocol", space)
    ]
    assert protocols == [
        ("IMAP", HOST, "993", "SSL", "alice@example.com"),
        ("SMTP", HOST, "465", "SSL", "alice@example.com"),
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", b"This is no request for autodiscovery.\n"),
        (b"<Request/>", b"The request has no address.\n"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', b"Declarations are not read.\n"),
        (REQUEST.format("nobody").encode(), b"This is no address.\n"),
        (REQUEST.format("a@elsewhere.example").encode(), b"Mail for elsewhere.example is not here.\n"),
        (b'<?xml version="1.0" encoding="nonsense"?><x/>', b"This is no request for autodiscovery.\n"),
    ],
)
def test_what_cannot_be_answered_is_said(body: bytes, said: bytes) -> None:
    answer = respond(SETTINGS, "POST", HOST, "/Autodiscover/Autodiscover.xml", body)
    assert (answer.status, answer.body) == (400, said)


# Apple


def test_an_apple_device_is_given_a_profile() -> None:
    answer = get("/apple.mobileconfig?email=alice%40example.com")
    assert (answer.status, answer.kind) == (200, "application/x-apple-aspen-config")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="mail.mobileconfig"'
    profile = plistlib.loads(answer.body)
    (account,) = profile["PayloadContent"]
    assert account["EmailAddress"] == account["IncomingMailServerUsername"] == "alice@example.com"
    assert (account["IncomingMailServerHostName"], account["IncomingMailServerPortNumber"]) == (HOST, 993)
    assert (account["OutgoingMailServerHostName"], account["OutgoingMailServerPortNumber"]) == (HOST, 465)
    assert account["IncomingMailServerUseSSL"] is account["OutgoingMailServerUseSSL"] is True
    for payload in (profile, account):
        assert {
            "PayloadType",
            "PayloadVersion",
            "PayloadIdentifier",
            "PayloadUUID",
            "PayloadDisplayName",
        } <= payload.keys()
    # The same account, installed again, takes the place of the old one.
    assert get("/apple.mobileconfig?email=alice%40example.com").body == answer.body
    assert (
        plistlib.loads(get("/apple.mobileconfig?email=bob%40example.com").body)["PayloadUUID"] != profile["PayloadUUID"]
    )


@pytest.mark.parametrize("email", ["", "alice", "alice@elsewhere.example", "a%0d%0ab@example.org", "a<b>@example.org"])
def test_no_profile_for_what_is_no_address_of_ours(email: str) -> None:
    assert get(f"/apple.mobileconfig?email={email}").status == 400


# People


def test_people_read_what_their_program_asks_for() -> None:
    answer = get("/", "mail.example.com")
    assert (answer.status, answer.kind) == (200, "text/html; charset=utf-8")
    text = answer.body.decode()
    assert "<h1>Mail for example.com</h1>" in text
    assert f"<code>{HOST}</code>, port 993, TLS" in text
    assert f"<code>{HOST}</code>, port 465, TLS" in text
    assert f"<code>{HOST}</code>, port 587, STARTTLS" in text
    assert "port 143" not in text
    assert "<footer>" not in text
    assert "http" not in text.replace("http-equiv", "")
    full = told(title="Club <of> mail", contact="help@example.org", webmail="https://mail.example.org/?a=1&b=2")
    text = respond(full, "GET", HOST, "/").body.decode()
    assert "<h1>Club &lt;of&gt; mail: mail for example.org</h1>" in text
    assert "<code>help@example.org</code>" in text
    assert 'href="https://mail.example.org/?a=1&amp;b=2"' in text


def test_whose_people_come_is_seen_by_the_name() -> None:
    assert domain_of(SETTINGS, "autodiscover.example.net") == "example.net"
    assert domain_of(SETTINGS, "EXAMPLE.com.:443") == "example.com"
    assert domain_of(SETTINGS, HOST) == "example.org"
    assert domain_of(SETTINGS, "192.0.2.1") == "example.org"
    assert told(domains={"example.com": "example.com"}).default_domain == "example.com"
    assert told(domains={}).default_domain == HOST


# What nobody learns


def test_an_address_that_is_not_there_is_answered_like_one_that_is() -> None:
    for ask in (discovered, lambda address: get(f"/apple.mobileconfig?email={address}")):
        one, other = ask("alice@example.org"), ask("zzzzz@example.org")
        assert one.status == other.status
        assert one.headers == other.headers
        assert len(one.body) == len(other.body)
    known, unknown = (get(f"/mail/config-v1.1.xml?emailaddress={name}@example.org") for name in ("alice", "nobody"))
    assert known == unknown


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/autodiscover/autodiscover.xml", 405),
        ("POST", "/", 405),
        ("DELETE", "/", 405),
        ("GET", "/etc/passwd", 404),
        ("GET", "//example.org/", 200),
    ],
)
def test_other_requests(method: str, target: str, status: int) -> None:
    assert respond(SETTINGS, method, HOST, target).status == status


# Over a socket


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    listening.listen()
    with Server(listening, SETTINGS) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield tmp_path / "socket"
        server.shutdown()
        thread.join()


def connected(path: Path) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    connection.sock.connect(str(path))
    return connection


def test_requests_of_one_connection_are_answered_in_turn(path: Path) -> None:
    connection = connected(path)
    for method in ("GET", "HEAD"):
        connection.request(method, "/", headers={"Host": "mail.example.com"})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        body = answer.read()
        assert body == (get("/", "mail.example.com").body if method == "GET" else b"")
    connection.request("POST", "/autodiscover/autodiscover.xml", REQUEST.format("a@example.org"))
    assert b"<LoginName>a@example.org</LoginName>" in connection.getresponse().read()
    connection.close()


@pytest.mark.parametrize("length", ["70000", "-1", "x"])
def test_a_body_without_a_sensible_length_is_not_read(path: Path, length: str) -> None:
    connection = connected(path)
    connection.putrequest("POST", "/autodiscover/autodiscover.xml")
    connection.putheader("Content-Length", length)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
