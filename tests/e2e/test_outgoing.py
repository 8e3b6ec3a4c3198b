"""Mail to other servers: DANE first, MTA-STS second, any TLS otherwise, and nothing less than was demanded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

import pytest
from mailtest.deployment import Deployment, Shell
from mailtest.elsewhere import Arrival
from mailtest.internet import Internet
from mailtest.mail import MailProgram
from mailtest.waiting import wait_for

pytestmark = pytest.mark.needs("internet", "resolver")

POLICY_SOCKET = "socketmap:unix:/run/postoffice-tls-policy/policy.sock:policy"


@pytest.fixture
def send(mail_program: Callable[..., MailProgram], deployment: Deployment) -> Callable[[str], EmailMessage]:
    """Mail of somebody without a smarthost."""
    people = deployment.people
    somebody = people.get("keeper@lists.example", people["alice@example.org"])

    def sending(domain: str) -> EmailMessage:
        return mail_program(somebody).send(f"reader@{domain}")

    return sending


def in_queue(host: Shell, domain: str) -> dict[str, Any]:
    """The message to a domain that could not be delivered yet, empty when there is none."""
    queue = map(json.loads, host.output("postqueue", "-j").splitlines())
    return next(
        (
            entry
            for entry in queue
            if entry["queue_name"] == "deferred" and entry["recipients"][0]["address"].endswith(f"@{domain}")
        ),
        {},
    )


@contextmanager
def waiting(host: Shell, domain: str) -> Iterator[str]:
    """Why the message to a domain waits; it does not stay."""
    entry = wait_for(lambda: in_queue(host, domain), f"a message to {domain} that waits")
    try:
        yield str(entry["recipients"][0]["delay_reason"])
    finally:
        host.run("postsuper", "-d", entry["queue_id"], check=False)


def tried_again(host: Shell, internet: Internet, message: EmailMessage) -> None:
    """A message that waits is delivered. What the DNS said a second ago may still count the first time."""

    def arrivals() -> list[Arrival]:
        host.run("postqueue", "-f")
        return internet.elsewhere.arrivals(message)

    wait_for(arrivals, f"{message['Message-ID']} elsewhere")


def how(host: Shell, domain: str) -> set[str]:
    """How far the server of a domain was believed, each time in the last minute that TLS with it began."""
    said = host.output(
        "journalctl", "--since=-60s", "--output=cat", f"--grep=TLS connection established to mx.{domain}"
    )
    return set(re.findall(rf"(\w+) TLS connection established to mx\.{re.escape(domain)}", said))


def test_a_certificate_that_the_dns_confirms(
    send: Callable[[str], EmailMessage], internet: Internet, host: Shell
) -> None:
    assert "TLS" in internet.received(send("dane-ok.example")).received
    assert how(host, "dane-ok.example") == {"Verified"}


def test_a_certificate_that_the_dns_contradicts_gets_nothing(
    send: Callable[[str], EmailMessage], internet: Internet, host: Shell
) -> None:
    message = send("dane-bad.example")
    with waiting(host, "dane-bad.example") as reason:
        assert re.search("certificate (is )?not (trusted|verified)", reason), reason
        assert internet.elsewhere.arrivals(message) == []
        # Nothing else spoke against it.
        right = f"3 1 1 {internet.parties['dane-bad.example'].public_digest}"
        with internet.records("dane-bad.example", "_25._tcp.mx", "TLSA", right):
            tried_again(host, internet, message)


def test_a_policy_that_is_kept(send: Callable[[str], EmailMessage], internet: Internet, host: Shell) -> None:
    assert "TLS" in internet.received(send("sts-ok.example")).received
    assert how(host, "sts-ok.example") == {"Verified"}


def test_a_policy_that_is_not_kept_gets_nothing(
    send: Callable[[str], EmailMessage], internet: Internet, host: Shell
) -> None:
    message = send("sts-bad.example")
    with waiting(host, "sts-bad.example") as reason:
        assert re.search("certificate (is )?not (trusted|verified)", reason), reason
        assert internet.elsewhere.arrivals(message) == []


def test_dane_that_fails_is_not_overridden_by_a_policy_that_is_kept(
    send: Callable[[str], EmailMessage], internet: Internet, host: Shell
) -> None:
    message = send("sts-dane.example")
    with waiting(host, "sts-dane.example") as reason:
        assert re.search("certificate (is )?not (trusted|verified)", reason), reason
        assert internet.elsewhere.arrivals(message) == []
        # Without DANE the policy alone decides, and it is kept.
        with internet.records("sts-dane.example", "_25._tcp.mx", "TLSA"):
            tried_again(host, internet, message)
            assert "Verified" in how(host, "sts-dane.example")


def test_who_demands_nothing_is_sent_to_with_any_tls(
    send: Callable[[str], EmailMessage], internet: Internet, host: Shell
) -> None:
    assert "TLS" in internet.received(send("plain.example")).received
    assert "Verified" not in how(host, "plain.example")


@pytest.mark.parametrize(
    ("domain", "policy"),
    [
        ("sts-ok.example", "secure match=mx.sts-ok.example servername=hostname"),
        ("sts-dane.example", "dane-only"),
        ("dane-ok.example", ""),
        ("plain.example", ""),
        (".sts-ok.example", ""),
        ("[mx.sts-ok.example]:25", ""),
    ],
)
def test_what_the_mail_server_is_told_about_a_destination(host: Shell, domain: str, policy: str) -> None:
    told = host.run("postmap", "-q", domain, POLICY_SOCKET, check=False)
    assert told.stdout.strip() == policy
    assert told.stderr == ""


def test_mail_waits_for_the_one_who_knows_the_policies(
    send: Callable[[str], EmailMessage], internet: Internet, host: Shell
) -> None:
    host.run("systemctl", "stop", "postfix-mta-sts-resolver.service")
    try:
        message = send("sts-ok.example")
        with waiting(host, "sts-ok.example") as reason:
            assert "TLS configuration" in reason, reason
            host.run("systemctl", "start", "postfix-mta-sts-resolver.service")
            tried_again(host, internet, message)
    finally:
        host.run("systemctl", "start", "postfix-mta-sts-resolver.service")


@pytest.mark.parametrize("unit", ["postfix-mta-sts-resolver.service", "postoffice-tls-policy.service"])
def test_both_come_back_by_themselves(host: Shell, unit: str) -> None:
    def process() -> str:
        return host.output("systemctl", "show", "--property=MainPID", "--value", unit).strip()

    before = process()
    assert before != "0"
    host.run("kill", "-KILL", before)
    wait_for(lambda: process() not in ("0", before), "another process")
    wait_for(
        lambda: host.run("/usr/local/lib/postoffice/postoffice-tls-policy", "probe", check=False).returncode == 0,
        "answers",
    )


def test_only_the_mail_server_may_ask(host: Shell) -> None:
    assert host.output("stat", "--format=%a %G", "/run/postoffice-tls-policy/policy.sock").strip() == "660 postfix"
    assert host.output("stat", "--format=%a %U", "/run/postoffice-mta-sts").strip() == "750 _mta-sts"
