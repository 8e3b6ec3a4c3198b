# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail programs find the server by the address alone, and people by a page."""

from __future__ import annotations

import http.client
import imaplib
import plistlib
import re
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema
from mailtest.deployment import Deployment, Person, Shell
from mailtest.tls import any_certificate

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"
OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
REQUEST = """<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request>
<EMailAddress>{}</EMailAddress><AcceptableResponseSchema>{}</AcceptableResponseSchema></Request></Autodiscover>"""
NOBODY = "nobody-at-all@example.org"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


Ask = Callable[..., Answer]


@pytest.fixture
def ask(deployment: Deployment) -> Ask:
    """A request over TLS, or without, to a name of the server."""

    def ask(name: str, target: str, body: str | None = None, *, plain: bool = False) -> Answer:
        endpoint = deployment.port("http" if plain else "https")
        connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=30)
        connection.connect()
        if not plain:
            connection.sock = any_certificate().wrap_socket(connection.sock, server_hostname=name)
        connection.request("GET" if body is None else "POST", target, body, {"Host": name})
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        connection.close()
        return answer

    return ask


def config(ask: Ask, address: str, *, plain: bool = False) -> ElementTree.Element:
    """What Thunderbird is told for an address."""
    domain = address.rpartition("@")[2]
    answer = ask(f"autoconfig.{domain}", f"/mail/config-v1.1.xml?emailaddress={address}", plain=plain)
    assert answer.status == 200
    xmlschema.XMLSchema(SCHEMAS / "client_config.xsd").validate(answer.body.decode())
    return ElementTree.fromstring(answer.body)


@pytest.mark.parametrize("plain", [False, True])
def test_thunderbird_reads_and_sends_with_what_it_is_told(
    deployment: Deployment, alice: Person, ask: Ask, plain: bool
) -> None:
    found = config(ask, alice.address, plain=plain)
    incoming, outgoing = found.find(".//incomingServer"), found.find(".//outgoingServer")
    assert incoming is not None
    assert outgoing is not None
    assert incoming.findtext("hostname") == outgoing.findtext("hostname") == deployment.hostname
    assert (incoming.findtext("socketType"), outgoing.findtext("socketType")) == ("SSL", "SSL")
    ports = {"993": "imaps", "465": "submissions"}
    name = str(incoming.findtext("username")).replace("%EMAILADDRESS%", alice.address)
    reading = deployment.port(ports[str(incoming.findtext("port"))])
    with imaplib.IMAP4_SSL(reading.host, reading.port, ssl_context=any_certificate()) as imap:
        assert imap.login(name, alice.password)[0] == "OK"
    sending = deployment.port(ports[str(outgoing.findtext("port"))])
    with smtplib.SMTP_SSL(sending.host, sending.port, context=any_certificate()) as smtp:
        assert smtp.login(name, alice.password)[0] == 235


def test_outlook_is_told_with_post(deployment: Deployment, ask: Ask) -> None:
    address = "alice@example.org"
    answer = ask("autodiscover.example.org", "/autodiscover/autodiscover.xml", REQUEST.format(address, OUTLOOK))
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/xml")
    root = ElementTree.fromstring(answer.body)
    xmlschema.XMLSchema(SCHEMAS / "autodiscover.xsd").validate(ElementTree.tostring(root[0], encoding="unicode"))
    servers = {
        each.findtext(f"{{{OUTLOOK}}}Type"): (
            each.findtext(f"{{{OUTLOOK}}}Server"),
            each.findtext(f"{{{OUTLOOK}}}Port"),
            each.findtext(f"{{{OUTLOOK}}}LoginName"),
        )
        for each in root.iter(f"{{{OUTLOOK}}}Protocol")
    }
    assert servers["IMAP"] == (deployment.hostname, "993", address)
    assert servers["SMTP"] == (deployment.hostname, "465", address)
    assert ask("autodiscover.example.org", "/autodiscover/autodiscover.xml").status == 405
    # An address in clear text is nobody's to read.
    told = ask(
        "autodiscover.example.org", "/autodiscover/autodiscover.xml", REQUEST.format(address, OUTLOOK), plain=True
    )
    assert told.status == 308
    assert told.headers["Location"] == "https://autodiscover.example.org/autodiscover/autodiscover.xml"


def test_apple_devices_are_given_a_profile(deployment: Deployment, ask: Ask) -> None:
    answer = ask(deployment.hostname, "/apple.mobileconfig?email=alice%40example.org")
    assert answer.headers["Content-Type"] == "application/x-apple-aspen-config"
    (account,) = plistlib.loads(answer.body)["PayloadContent"]
    assert account["IncomingMailServerHostName"] == account["OutgoingMailServerHostName"] == deployment.hostname
    assert account["IncomingMailServerUsername"] == "alice@example.org"


def test_nobody_learns_which_addresses_there_are(ask: Ask) -> None:
    known = "alice@example.org"
    assert [ElementTree.tostring(config(ask, known))] == [ElementTree.tostring(config(ask, NOBODY))]
    answers = [
        ask("autodiscover.example.org", "/autodiscover/autodiscover.xml", REQUEST.format(address, OUTLOOK)).body
        for address in (known, NOBODY)
    ]
    assert answers[0].replace(known.encode(), NOBODY.encode()) == answers[1]
    assert ask("mail.example.org", f"/apple.mobileconfig?email={NOBODY}").status == 200


def test_people_find_a_page_at_the_name_of_the_server(deployment: Deployment, ask: Ask) -> None:
    answer = ask(deployment.hostname, "/")
    assert answer.status == 200
    text = answer.body.decode()
    assert "<h1>Mail for example.org</h1>" in text
    assert f"<code>{deployment.hostname}</code>, port 993, TLS" in text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Server"] == "nginx"
    moved = ask(deployment.hostname, "/", plain=True)
    assert (moved.status, moved.headers["Location"]) == (308, f"https://{deployment.hostname}/")


def test_who_asks_for_another_name_finds_nothing(ask: Ask) -> None:
    for plain in (False, True):
        assert ask("elsewhere.example", "/", plain=plain).status == 404
    assert ask("mail.example.org", f"/{'x' * 20_000}").status == 414
    assert ask("mail.example.org", "/", "x").status == 405


def test_what_is_too_large_is_not_read(deployment: Deployment) -> None:
    endpoint = deployment.port("https")
    connection = http.client.HTTPSConnection(endpoint.host, endpoint.port, timeout=30, context=any_certificate())
    connection.putrequest("POST", "/autodiscover/autodiscover.xml", skip_host=True)
    connection.putheader("Host", "autodiscover.example.org")
    connection.putheader("Content-Length", "100000")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_systemd_is_told_to_start_it_again_and_gives_it_no_lasting_user(
    host: Shell, ask: Ask, deployment: Deployment
) -> None:
    for unit in ("postoffice-autoconfig.service", "nginx.service"):
        assert host.output("systemctl", "show", "--property=Restart", "--value", unit).strip() in (
            "always",
            "on-failure",
        )
    shown = host.output("systemctl", "show", "--property=User,DynamicUser", "postoffice-autoconfig.service")
    assert re.search("DynamicUser=yes", shown)
    assert ask(deployment.hostname, "/").status == 200
