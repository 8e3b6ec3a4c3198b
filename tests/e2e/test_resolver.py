"""The host finds names by itself, and believes only what is genuine."""

from __future__ import annotations

import re

import dns.rcode
import pytest
from mailtest.deployment import Shell
from mailtest.internet import Internet, texts, validated
from mailtest.waiting import wait_for

pytestmark = pytest.mark.needs("resolver")

PATIENCE = 15.0  # seconds


def main_process(host: Shell) -> int:
    return int(host.output("systemctl", "show", "--property=MainPID", "--value", "unbound.service"))


def test_the_host_asks_nobody_else(host: Shell) -> None:
    lines = host.output("cat", "/etc/resolv.conf").splitlines()
    assert [line for line in lines if line.startswith("nameserver")] == ["nameserver 127.0.0.1"]


def test_programs_of_the_host_find_names(host: Shell, internet: Internet) -> None:
    party = internet.parties["good.example"]
    found = {line.split()[0] for line in host.output("getent", "ahosts", party.mx).splitlines()}
    assert found == {*party.addresses, *party.addresses6}


def test_a_signed_name_is_known_to_be_genuine(internet: Internet) -> None:
    answer = internet.ask_host("good.example", "MX")
    assert texts(answer, "MX") == {"10 mx.good.example."}
    assert validated(answer)


def test_an_unsigned_name_is_answered_without_that(internet: Internet) -> None:
    answer = internet.ask_host("plain.example", "MX")
    assert texts(answer, "MX") == {"10 mx.plain.example."}
    assert not validated(answer)


def test_a_bogus_name_is_not_answered(internet: Internet, host: Shell) -> None:
    assert internet.ask_host("bogus.example", "MX").rcode() == dns.rcode.SERVFAIL
    assert host.run("getent", "ahosts", "mx.bogus.example", check=False).returncode == 2
    assert texts(internet.ask_host("bogus.example", "MX", checking=False), "MX") == {"10 mx.bogus.example."}


def test_why_a_name_was_not_believed_is_in_the_journal(internet: Internet, host: Shell) -> None:
    internet.ask_host("why.bogus.example", "A")
    wait_for(
        lambda: "validation failure <why.bogus.example" in host.output("journalctl", "--unit=unbound", "--output=cat"),
        "the reason in the journal",
    )


def test_blocklists_answer(internet: Internet) -> None:
    assert texts(internet.ask_host("2.0.0.127.dnsbl.example", "A"), "A") == {"127.0.0.2"}
    assert internet.ask_host("1.0.0.127.dnsbl.example", "A").rcode() == dns.rcode.NXDOMAIN


def test_addresses_of_private_networks_have_names(host: Shell, internet: Internet) -> None:
    party = internet.parties["good.example"]
    for address in (party.addresses[0], party.addresses6[0]):
        assert party.mx in host.output("getent", "hosts", address)


@pytest.mark.parametrize(("domain", "verified"), [("dane-ok.example", True), ("dane-bad.example", False)])
def test_postfix_can_tell_genuine_records_of_certificates(host: Shell, domain: str, verified: bool) -> None:
    """Which takes the resolver's word that they are, all the way through the C library."""
    told = host.run("posttls-finger", "-c", "-t", "20", "-l", "dane", domain, check=False)
    assert ("Verified TLS connection established" in told.stdout + told.stderr) is verified, told


def matches(rule: str, path: str) -> bool:
    """Whether a path is one that a rule of an AppArmor profile means (apparmor.d(5), Globbing)."""
    meanings = {r"\*\*": ".*", r"\*": "[^/]*", r"\{": "(?:", r"\}": ")", ",": "|"}
    pattern = re.sub(r"\\\*\\\*|\\\*|\\\{|\\\}|,", lambda found: meanings[found[0]], re.escape(rule))
    return re.fullmatch(pattern, path) is not None


def test_it_keeps_to_what_its_apparmor_profile_allows(host: Shell) -> None:
    """Containers are not confined, hosts are."""
    profile = host.output("cat", "/etc/apparmor.d/usr.sbin.unbound")
    allowed = re.findall(r"^\s*(?:owner )?(/\S+) [rwmk]+,$", profile, re.MULTILINE)
    used = re.findall(r'[\s"](/[^\s"]+)', host.output("grep", "-v", "^ *#", "/etc/unbound/unbound.conf"))
    assert "/run/unbound.ctl" in used
    assert [path for path in used if not any(matches(rule, path) for rule in allowed)] == []


def test_others_cannot_ask_it(host: Shell) -> None:
    sockets = host.output("ss", "--no-header", "--listening", "--numeric", "--tcp", "--udp", "sport", "=", ":53")
    assert {line.split()[4] for line in sockets.splitlines()} == {"127.0.0.1:53"}


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_it_comes_back_by_itself(host: Shell, internet: Internet, signal: str) -> None:
    before = main_process(host)
    host.run("kill", f"-{signal}", str(before))
    wait_for(lambda: main_process(host) not in (0, before), "another process")

    def answers() -> bool:
        return host.run("getent", "ahosts", "mx.good.example", check=False).returncode == 0

    wait_for(answers, "an answer")


def from_memory(host: Shell) -> int:
    """How many answers were older than their owners allowed."""
    found = re.search(r"^total\.num\.expired=(\d+)$", host.output("unbound-control", "stats_noreset"), re.MULTILINE)
    assert found
    return int(found[1])


def test_what_can_no_longer_be_asked_for_is_answered_from_memory(internet: Internet, host: Shell) -> None:
    assert texts(internet.ask_host("mx.plain.example", "A"), "A")
    before = from_memory(host)
    internet.shell.run("systemctl", "stop", "knot")
    try:

        def stale() -> set[str] | None:
            answer = internet.ask_host("mx.plain.example", "A", timeout=PATIENCE)
            return texts(answer, "A") if from_memory(host) > before else None

        assert wait_for(stale, "an answer from memory", 30) == set(internet.parties["plain.example"].addresses)
    finally:
        internet.shell.run("systemctl", "start", "knot")
    wait_for(lambda: internet.ask_host("mx.dane-ok.example", "A").rcode() == dns.rcode.NOERROR, "the servers again", 30)
