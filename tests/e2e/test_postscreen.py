"""Strangers are looked at before they may talk: who talks too early, or is on a blocklist, is refused and told why."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mailtest.deployment import Deployment, Shell
from mailtest.internet import Internet
from mailtest.mail import Outside
from mailtest.smtp import Dialogue
from mailtest.waiting import wait_for

pytestmark = pytest.mark.needs("internet", "blocklists")

RECIPIENT = "alice@example.org"

# Says EHLO without waiting for the greeting; prints every line of the server.
HASTY = """
import socket, sys
with socket.create_connection((sys.argv[2], 25), 60, (sys.argv[1], 0)) as connection:
    connection.sendall(b"EHLO mx.hasty.example\\r\\n")
    replies = connection.makefile("rb")
    def reply():
        while True:
            line = replies.readline().decode()
            print(line, end="")
            if line[3:4] != "-":
                return
    reply()  # half a greeting, and the answer to EHLO
    for command in ("MAIL FROM:<>", "RCPT TO:<alice@example.org>", "QUIT"):
        connection.sendall(f"{command}\\r\\n".encode())
        reply()
"""


def waiting_time(host: Shell) -> float:
    """How long a stranger waits for the greeting, in seconds."""
    value = host.output("postconf", "-xh", "postscreen_greet_wait").strip()
    return float(value.removesuffix("s"))


@pytest.fixture(scope="module", autouse=True)
def forgotten(host: Shell) -> None:
    """Nobody is known from earlier."""
    host.run("systemctl", "stop", "postfix.service")
    host.run("sh", "-c", "rm -f /var/lib/postfix/postscreen_cache.*")
    host.run("systemctl", "start", "postfix.service")
    wait_for(lambda: host.run("/usr/local/lib/postoffice/probe-postfix", check=False).returncode == 0, "port 25")


@contextmanager
def watched(host: Shell, address: str) -> Iterator[list[float]]:
    """Holds, after its end, how long postscreen let a client wait before it was handed on."""
    cursor = host.output("journalctl", "--lines=0", "--show-cursor").rpartition("cursor: ")[2].strip()
    waited: list[float] = []
    yield waited

    def times() -> list[float] | None:
        # Asked for one program, the journal of Debian 12 passes over the first line after a cursor at another's.
        journal = host.output("journalctl", f"--after-cursor={cursor}", "--output=json")
        lines = [json.loads(line) for line in journal.splitlines()]
        lines = [line for line in lines if line.get("SYSLOG_IDENTIFIER") == "postfix/postscreen"]
        ours = [line for line in lines if f"[{address}]" in line["MESSAGE"]]
        at = {line["MESSAGE"].split()[0]: int(line["__REALTIME_TIMESTAMP"]) / 1e6 for line in ours}
        return [at["PASS"] - at["CONNECT"]] if {"PASS", "CONNECT"} <= at.keys() else None

    waited += wait_for(times, f"{address} to be handed on")


@pytest.mark.parametrize("version", [4, 6])
def test_a_client_on_a_blocklist_is_refused_and_told_on_which(internet: Internet, version: int) -> None:
    said = internet.send_from("spam.example", RECIPIENT, version=version)
    assert said.reply("CONNECT").ok
    assert said.reply("STARTTLS").ok
    refused = said.reply(f"RCPT {RECIPIENT}")
    assert refused.code == 550
    assert "blocked using dnsbl.example" in refused.text


@pytest.mark.parametrize("version", [4, 6])
def test_the_key_with_which_a_list_is_asked_is_told_nobody(internet: Internet, version: int) -> None:
    refused = internet.send_from("spam.example", RECIPIENT, version=version, which=1).reply(f"RCPT {RECIPIENT}")
    assert refused.code == 550
    assert "blocked using zen.spamhaus.org" in refused.text
    assert "dq.spamhaus.net" not in refused.text


@pytest.mark.parametrize("domain", ["plain.example", "stranger.example"])
def test_strangers_wait_once_and_are_served(internet: Internet, host: Shell, domain: str) -> None:
    """Whatever lists say that answer everybody, or nobody, or whose word alone is not enough."""
    (address,) = internet.parties[domain].addresses
    with watched(host, address) as waited:
        first = internet.send_from(domain, RECIPIENT)
    assert first.reply("STARTTLS").ok
    assert first.reply(f"RCPT {RECIPIENT}").code != 550
    assert waiting_time(host) <= waited[0] < waiting_time(host) + 2
    with watched(host, address) as waited:
        internet.send_from(domain, RECIPIENT)
    assert waited[0] < waiting_time(host) / 2


@pytest.mark.parametrize("version", [4, 6])
def test_a_client_on_an_allow_list_is_not_kept_waiting(internet: Internet, host: Shell, version: int) -> None:
    party = internet.parties["good.example"]
    with watched(host, (party.addresses if version == 4 else party.addresses6)[0]) as waited:
        assert internet.send_from("good.example", RECIPIENT, version=version).accepted
    assert waited[0] < waiting_time(host) * 0.9


@pytest.mark.parametrize("version", [4, 6])
def test_whoever_talks_before_being_greeted_is_refused(
    internet: Internet, deployment: Deployment, version: int
) -> None:
    party = internet.parties["quarantine.example"]
    source = (party.addresses if version == 4 else party.addresses6)[0]
    said = internet.shell.output("python3", "-c", HASTY, source, deployment.address(version))
    assert "550 5.5.1 Protocol error" in said


@pytest.mark.needs("own networks")
def test_one_s_own_network_is_not_kept_waiting(outside: Outside, host: Shell) -> None:
    began = time.monotonic()
    with Dialogue(outside.endpoint) as dialogue:
        assert dialogue.greeting.code == 220
    assert time.monotonic() - began < waiting_time(host) * 0.9


@pytest.mark.needs("refused clients")
def test_whom_the_operator_does_not_want_is_refused(internet: Internet) -> None:
    said = internet.send_from("pool.example", RECIPIENT, version=6, which=3)
    assert said.last.code == 550
    assert internet.send_from("pool.example", RECIPIENT, version=6, which=2).last.code != 550


@pytest.mark.needs("resolver")
def test_mail_goes_on_while_the_resolver_does_not_answer(internet: Internet, host: Shell) -> None:
    host.run("systemctl", "stop", "unbound.service")
    try:
        said = internet.send_from("dane-ok.example", RECIPIENT)
    finally:
        host.run("systemctl", "start", "unbound.service")
    wait_for(
        lambda: host.run("getent", "ahosts", "mx.good.example", check=False).returncode == 0, "the resolver to answer"
    )
    assert said.reply(f"RCPT {RECIPIENT}").code != 550
    assert said.last.code != 421


def test_mail_goes_on_while_a_list_is_silent(internet: Internet, host: Shell) -> None:
    lists = host.output("postconf", "-h", "postscreen_dnsbl_sites").strip()
    silent = "dead.dnsbl.example=127.0.0.[2..11]*3"
    host.run("postconf", f"postscreen_dnsbl_sites={lists}, {silent}")
    host.run("systemctl", "reload", "postfix.service")
    try:
        (address,) = internet.parties["dane-bad.example"].addresses
        with watched(host, address) as waited:
            said = internet.send_from("dane-bad.example", RECIPIENT)
    finally:
        host.run("postconf", f"postscreen_dnsbl_sites={lists}")
        host.run("systemctl", "reload", "postfix.service")
    assert said.reply(f"RCPT {RECIPIENT}").code != 550
    assert waited[0] < waiting_time(host) + 2


def test_what_was_learned_of_clients_is_kept_over_a_restart(internet: Internet, host: Shell) -> None:
    (address,) = internet.parties["sts-ok.example"].addresses
    with watched(host, address):
        internet.send_from("sts-ok.example", RECIPIENT)
    host.run("systemctl", "restart", "postfix.service")
    wait_for(lambda: host.run("/usr/local/lib/postoffice/probe-postfix", check=False).returncode == 0, "port 25")
    with watched(host, address) as waited:
        internet.send_from("sts-ok.example", RECIPIENT)
    assert waited[0] < waiting_time(host) / 2
