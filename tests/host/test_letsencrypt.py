# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates come from an authority, are served at once, and whatever goes wrong with that, mail goes on."""

from __future__ import annotations

import imaplib
import json
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from mailtest.deployment import Deployment, Shell
from mailtest.internet import Internet
from mailtest.services import Connect, https, imap, imaps, managesieve, smtp, submission, submissions
from mailtest.smtp import Dialogue
from mailtest.tls import any_certificate
from mailtest.waiting import wait_for
from playing import Player

PROGRAM = "/usr/local/lib/postoffice/postoffice-letsencrypt"
UNIT = "postoffice-letsencrypt.service"
SPOOL = "/var/lib/postoffice-letsencrypt"
MEMORY = "/var/lib/postoffice/letsencrypt/memory.json"
TLS = "/etc/postoffice/tls"
CHAIN, KEY = f"{TLS}/fullchain.pem", f"{TLS}/privkey.pem"
SERVICES: tuple[Connect, ...] = (smtp, submissions, submission, imap, imaps, managesieve, https)
THIRD = "third.example.org"
CUSTOMER, CUSTOMER_NAME = "example.net", "mail.example.net"

# The roots and intermediates of the authority, which are new each time it is started.
FETCH = """
import ssl, sys, urllib.request
trusting = ssl.create_default_context(cafile="/var/lib/internet/ca.pem")
print(urllib.request.urlopen(sys.argv[1] + "/roots/0", context=trusting, timeout=10).read().decode())
"""


@dataclass
class Authority:
    """Who issues certificates on the small internet."""

    internet: Internet

    @property
    def unit(self) -> str:
        return str(self.internet.facts["acme"]["unit"])

    def root(self) -> str:
        management = self.internet.facts["acme"]["management"]
        return self.internet.shell.run("python3", "-", management, stdin=FETCH).stdout

    def switch(self, verb: str) -> None:
        self.internet.shell.run("systemctl", verb, self.unit)
        if verb != "stop":
            wait_for(self.answers, "the authority's answer")

    def answers(self) -> bool:
        management = self.internet.facts["acme"]["management"]
        return self.internet.shell.run("python3", "-", management, stdin=FETCH, check=False).returncode == 0

    def heard(self) -> int:
        """How many requests it has had."""
        said = self.internet.shell.output("journalctl", "--quiet", "--output=cat", f"--unit={self.unit}")
        return len(re.findall(r"\b(?:GET|HEAD|POST) /", said))


@pytest.fixture(scope="module")
def authority(internet: Internet) -> Authority:
    return Authority(internet)


@pytest.fixture
def certificate(deployment: Deployment) -> dict[str, Any]:
    """That of the host, as site.yml wants it."""
    names = deployment.variables["base_certificate_names"]
    name = deployment.hostname
    return {"name": name, "names": [name], "optional_names": names, "certificate": CHAIN, "key": KEY}


@pytest.fixture
def as_before(host: Shell, player: Player) -> Iterator[None]:
    """In the end the settings are those of the inventory, and the certificate is as wanted."""
    yield
    host.run("rm", "-rf", f"{TLS}/third", MEMORY)
    played = player.roles(["letsencrypt"], {})
    assert played.status == 0, played.output


def due(host: Shell) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(host.output(PROGRAM, "due"))}


def renew(host: Shell, name: str) -> subprocess.CompletedProcess[str]:
    return host.run(PROGRAM, "renew", name, check=False)


def journal(host: Shell, since: float) -> str:
    return host.output("journalctl", "--quiet", "--output=cat", f"--unit={UNIT}", f"--since=@{since}")


def served(deployment: Deployment, root: str | None = None, name: str = "") -> dict[str, x509.Certificate]:
    """What clients that ask for a name see on each port; they trust nobody but the authority, if a root is given."""
    context = any_certificate() if root is None else ssl.create_default_context(cadata=root)
    found = {}
    for connect in SERVICES:
        with context.wrap_socket(connect(deployment), server_hostname=name or deployment.hostname) as connection:
            found[connect.__name__] = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
    return found


def serials(found: dict[str, x509.Certificate]) -> set[int]:
    return {each.serial_number for each in found.values()}


def public_keys(found: dict[str, x509.Certificate]) -> set[bytes]:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {each.public_key().public_bytes(*form) for each in found.values()}


def names(each: x509.Certificate) -> list[str]:
    return each.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)


def test_clients_that_trust_the_authority_are_content_on_every_port(
    deployment: Deployment, authority: Authority, host: Shell
) -> None:
    found = served(deployment, authority.root())
    assert len(serials(found)) == 1
    assert set(names(found["smtp"])) == {deployment.hostname, *deployment.variables["base_certificate_names"]}
    assert host.output("stat", "-c", "%a %U:%G", KEY).strip() == "600 root:root"
    assert host.run("runuser", "-u", "postoffice-letsencrypt", "--", "cat", KEY, check=False).returncode != 0
    assert host.output(PROGRAM, "status").startswith(f"{deployment.hostname}: good until ")


def test_people_of_another_domain_use_its_own_name(
    deployment: Deployment, authority: Authority, host: Shell, player: Player, internet: Internet
) -> None:
    """And when it goes elsewhere, nobody else's certificate suffers."""
    root = authority.root()
    found = served(deployment, root, CUSTOMER_NAME)
    assert {tuple(names(each)) for each in found.values()} == {(CUSTOMER_NAME,)}
    ours = served(deployment, root)
    assert public_keys(found).isdisjoint(public_keys(ours))
    # Programs that ask for nothing, or for what there is not, get that of the host.
    assert serials(served(deployment, None, "nobody.example")) == serials(ours)
    elsewhere = str(deployment.description["elsewhere"]["address"])
    with (
        internet.records(CUSTOMER, "mail", "A", elsewhere),
        internet.records(CUSTOMER, "mail", "AAAA"),
    ):
        began = time.time()
        assert renew(host, CUSTOMER).returncode == 0
        assert renew(host, deployment.hostname).returncode == 0
        assert f"{CUSTOMER}: a new one is wanted, and none is issued: none of its names leads here" in host.output(
            PROGRAM, "status"
        )
        assert serials(served(deployment, root)).isdisjoint(serials(ours))
        assert serials(served(deployment, root, CUSTOMER_NAME)) == serials(found)
        assert f"{deployment.hostname}: good until" in journal(host, began)
    assert renew(host, CUSTOMER).returncode == 0
    assert serials(served(deployment, root, CUSTOMER_NAME)).isdisjoint(serials(found))
    played = player.playbook("certificates")
    assert played.status == 0, played.output
    assert re.search(rf"^ +993 imaps +for {CUSTOMER_NAME}: good until ", played.output, re.MULTILINE), played.output


def test_nobody_is_asked_while_all_is_well(player: Player, authority: Authority, host: Shell) -> None:
    before = authority.heard()
    assert before > 0
    host.run("systemctl", "start", UNIT)
    played = player.roles(["letsencrypt"], {})
    assert (played.status, played.changed) == (0, False), played.output
    assert authority.heard() == before


def test_a_renewed_certificate_is_served_within_a_minute_and_nobody_is_cut_off(
    deployment: Deployment, authority: Authority, host: Shell, player: Player
) -> None:
    root = authority.root()
    before = served(deployment, root)
    endpoint = deployment.port("imaps")
    reader = imaplib.IMAP4_SSL(endpoint.host, endpoint.port, ssl_context=any_certificate())
    # Who has not logged in yet is cut off by a reload of Dovecot, and programs try again.
    alice = deployment.people["alice@example.org"]
    reader.login(alice.address, alice.password)
    reader.select("INBOX", readonly=True)
    with Dialogue(deployment.port("smtp")) as talker:
        talker.ehlo()
        began = time.monotonic()
        assert renew(host, deployment.hostname).returncode == 0
        after = served(deployment, root)
        assert time.monotonic() - began < 60
        # Dovecot ends what does not end by itself five seconds after a reload.
        while time.monotonic() - began < 20:
            assert reader.noop()[0] == "OK"
            time.sleep(1)
        assert reader.noop()[0] == "OK"
        assert talker.command("NOOP").ok
    reader.logout()
    assert len(serials(after)) == 1
    assert serials(after).isdisjoint(serials(before))
    # So TLSA records of the key stay true.
    assert public_keys(after) == public_keys(before)
    # Whoever watches the file has been told, and is not told again.
    played = player.playbook("site", "--check")
    assert (played.status, played.changed) == (0, False), played.output


@pytest.mark.usefixtures("as_before")
def test_names_that_do_not_lead_here_are_left_out_until_they_do(
    deployment: Deployment, authority: Authority, player: Player, internet: Internet, certificate: dict[str, Any]
) -> None:
    elsewhere = str(deployment.description["elsewhere"]["address"])
    wished = [*certificate["optional_names"], THIRD, "elsewhere.example"]
    variables = {"letsencrypt_wired_certificates": [{**certificate, "optional_names": wished}]}
    root = authority.root()
    before = served(deployment, root)
    played = player.roles(["letsencrypt"], variables)
    assert played.status == 0
    said = re.sub(r"\s+", " ", played.output)
    assert (
        f"{deployment.hostname}: left out: {THIRD} is not in the DNS; elsewhere.example leads to {elsewhere}, " in said
    )
    assert serials(served(deployment, root)) == serials(before)
    with internet.records("example.org", "third", "A", deployment.address(4)):
        foreseen = player.roles(["letsencrypt"], variables, "--check", "--diff")
        assert (foreseen.status, foreseen.changed) == (0, True)
        assert f"it lacks {THIRD}" in foreseen.output
        assert serials(served(deployment, root)) == serials(before)
        assert player.roles(["letsencrypt"], variables).changed
        found = served(deployment, root)
        assert all(THIRD in names(each) for each in found.values())
        assert public_keys(found) == public_keys(before)
        assert not player.roles(["letsencrypt"], variables).changed


@pytest.mark.usefixtures("as_before")
def test_one_certificate_that_cannot_be_had_is_no_other_one_s_trouble(
    deployment: Deployment, host: Shell, player: Player, internet: Internet
) -> None:
    gone = {"name": THIRD, "names": [THIRD], "certificate": f"{TLS}/third/chain.pem", "key": f"{TLS}/third/key.pem"}
    variables = {"letsencrypt_certificates": [gone]}
    played = player.roles(["letsencrypt"], variables)
    assert played.status == 0
    said = re.sub(r"\s+", " ", played.output)
    assert f"{THIRD}: there is none, and none is issued: {THIRD} is not in the DNS (no certificate)" in said
    began = time.time()
    assert renew(host, deployment.hostname).returncode == 0
    assert f"{deployment.hostname}: good until " in journal(host, began)
    # It leads here now, but to nobody who knows the answer.
    with internet.records("example.org", "third", "A", str(internet.parties["plain.example"].addresses[0])):
        began = time.time()
        assert renew(host, THIRD).returncode != 0
        assert re.search(
            rf"{THIRD}: there is none, and none is issued: {THIRD}: .*; asked again after ", journal(host, began)
        )
        # Not at once, which would use up what the authority allows; the next day, or when somebody wants it.
        assert not due(host)[THIRD]["due"]
        heard = Authority(internet).heard()
        played = player.roles(["letsencrypt"], variables)
        assert (played.status, played.changed) == (0, False)
        assert "asked again after" in re.sub(r"\s+", " ", played.output)
        assert Authority(internet).heard() == heard
    with internet.records("example.org", "third", "A", deployment.address(4)):
        assert renew(host, THIRD).returncode == 0
        assert not due(host)[THIRD]["reason"]
        assert host.output("stat", "-c", "%a %U:%G", f"{TLS}/third/key.pem").strip() == "600 root:root"


@pytest.mark.usefixtures("as_before")
def test_while_the_authority_is_down_mail_goes_on_and_it_is_asked_again(
    deployment: Deployment, authority: Authority, host: Shell, player: Player
) -> None:
    before = served(deployment, authority.root())
    authority.switch("stop")
    try:
        began = time.time()
        assert renew(host, deployment.hostname).returncode != 0
        said = journal(host, began)
        assert f"{deployment.hostname}: a new one is wanted, and none is issued: " in said
        assert "Connection refused" in said
        assert re.search(r"\(good until [0-9-]+, \d+ days; asked again after ", said)
        played = player.roles(["letsencrypt"], {})
        assert (played.status, played.changed) == (0, False), played.output
        assert "Connection refused" in played.output
        assert serials(served(deployment)) == serials(before)
    finally:
        authority.switch("start")
    # It has forgotten who we are, and is told again.
    assert renew(host, deployment.hostname).returncode == 0
    after = served(deployment, authority.root())
    assert serials(after).isdisjoint(serials(before))
    assert public_keys(after) == public_keys(before)
    assert not due(host)[deployment.hostname]["reason"]


@pytest.mark.usefixtures("as_before")
def test_a_certificate_that_a_daemon_does_not_take_goes_back(deployment: Deployment, host: Shell) -> None:
    before = host.output("sha256sum", CHAIN)
    seen = served(deployment)
    state = json.loads(host.output("cat", "/var/lib/postoffice/config_tree/dovecot/state.json"))
    program = state["telling"]["check"][0][0]
    host.run("mv", program, f"{program}.away")
    try:
        began = time.time()
        assert renew(host, deployment.hostname).returncode != 0
        said = journal(host, began)
        assert "none is issued: dovecot does not serve it: " in said
        assert "The check of dovecot failed" in said
        assert host.output("sha256sum", CHAIN) == before
        assert serials(served(deployment)) == serials(seen)
    finally:
        host.run("mv", f"{program}.away", program)
    assert renew(host, deployment.hostname).returncode == 0
    assert serials(served(deployment)).isdisjoint(serials(seen))


def test_what_an_interrupted_run_was_given_is_put_into_place(
    deployment: Deployment, authority: Authority, host: Shell, player: Player
) -> None:
    """Between the answer of the authority and its place, nothing is lost, and nobody is asked twice."""
    before = served(deployment)
    host.run("tee", MEMORY, stdin=json.dumps({deployment.hostname: {"failed_names": [], "forced": True}}))
    host.run(PROGRAM, "prepare")
    ask = f"--property=User=postoffice-letsencrypt --property=AmbientCapabilities=CAP_NET_BIND_SERVICE {PROGRAM} ask"
    host.run("systemd-run", "--quiet", "--wait", *ask.split())
    heard = authority.heard()
    host.run("systemctl", "start", UNIT)
    assert authority.heard() == heard
    after = served(deployment, authority.root())
    assert serials(after).isdisjoint(serials(before))
    host.run("systemctl", "start", UNIT)
    assert authority.heard() == heard
    assert not player.roles(["letsencrypt"], {}).changed


def test_who_asks_is_locked_in(host: Shell) -> None:
    analysis = host.output("systemd-analyze", "security", "--no-pager", UNIT)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", analysis)
    assert found
    assert float(found[1]) <= 1.8, analysis
