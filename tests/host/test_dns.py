# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the domains need in the DNS is said, compared with what their nameservers have, and published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.zone
import pytest
from mailtest.deployment import Shell
from mailtest.internet import Internet, texts
from playing import Played, Player

SPF_ELSEWHERE = '"v=spf1 include:elsewhere.example -all"'
CERTIFICATE = "/etc/postoffice/tls/fullchain.pem"


@pytest.fixture
def domain(internet: Internet) -> Iterator[str]:
    """The one that has the name of the server; what is published is gone afterwards."""
    with internet.changing("example.org"):
        yield "example.org"


def asked(player: Player, *arguments: str, **variables: Any) -> Played:
    """Run the playbook with variables that no list of processes shows."""
    extra = player.folder / "dns.json"
    extra.write_text(json.dumps({"mail_domains": [{"name": "example.org"}], **variables}))
    return player.playbook("dns", f"--extra-vars=@{extra}", *arguments)


def pushing(internet: Internet) -> dict[str, Any]:
    updates = internet.facts["updates"]
    # What resolvers keep for long would be there after the test.
    return {
        "dns_push": True,
        "dns_ttl": 1,
        "dns_key_name": updates["key_name"],
        "dns_key_secret": updates["key_secret"],
    }


def test_what_is_there_is_said_for_every_domain(player: Player) -> None:
    played = player.playbook("dns")
    assert (played.status, played.changed) == (0, False), played.output
    assert "; example.org\n" in played.output, played.output
    assert " 3600 IN MX 10 " in played.output
    assert "present  example.org. MX 10 " in played.output
    assert "missing  _dmarc.example.org. TXT v=DMARC1; p=none" in played.output


def test_what_is_not_there_is_a_failure_for_those_who_ask(player: Player) -> None:
    played = asked(player, dns_strict=True)
    assert played.status != 0
    assert "0 wrong" in played.output, played.output
    assert "they are named above" in played.output


def test_what_is_missing_or_wrong_is_published_once(
    player: Player, internet: Internet, host: Shell, domain: str
) -> None:
    name = host.output("postconf", "-h", "myhostname").strip()
    wanted = {"dns_dmarc": "v=DMARC1; p=quarantine", "dns_reports": f"bob@{domain}", "dovecot_pop3": False}
    with (
        internet.records(domain, "@", "TXT", '"for=somebody-else"', SPF_ELSEWHERE),
        internet.records(domain, "_dmarc", "TXT", '"v=DMARC1; " "p=reject"'),
    ):
        before = asked(player)
        assert "wrong    example.org. TXT v=spf1 mx -all" in before.output, before.output
        assert "ns.example has v=spf1 include:elsewhere.example -all" in before.output
        foreseen = asked(player, "--check", "--diff", **pushing(internet))
        assert (foreseen.status, foreseen.changed) == (0, True), foreseen.output
        assert "-example.org. TXT v=spf1 include:elsewhere.example -all" in foreseen.output
        assert texts(internet.ask(f"_dmarc.{domain}", "TXT"), "TXT") == {'"v=DMARC1; " "p=reject"'}

        published = asked(player, **pushing(internet), **wanted)
        assert (published.status, published.changed) == (0, True), published.output
        assert texts(internet.ask(domain, "TXT"), "TXT") == {'"for=somebody-else"', '"v=spf1 mx -all"'}
        dmarc = f'"v=DMARC1; p=quarantine; rua=mailto:bob@{domain}"'
        assert texts(internet.ask(f"_dmarc.{domain}", "TXT"), "TXT") == {dmarc}
        assert texts(internet.ask(f"_imaps._tcp.{domain}", "SRV"), "SRV") == {f"0 1 993 {name}."}
        assert texts(internet.ask(f"_pop3s._tcp.{domain}", "SRV"), "SRV") == {"0 0 0 ."}
        again = asked(player, **pushing(internet), **wanted, dns_strict=True)
        assert (again.status, again.changed) == (0, False), again.output
        assert "example.org: everything is there" in again.output
        (tlsa,) = texts(internet.ask(f"_25._tcp.{name}", "TLSA"), "TLSA")
        digest = host.output(
            "sh", "-c", f"openssl x509 -in {CERTIFICATE} -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum"
        )
        assert tlsa == f"3 1 1 {digest.split()[0]}"


def test_the_key_is_told_nobody(player: Player, internet: Internet, host: Shell, domain: str) -> None:
    secret = internet.facts["updates"]["key_secret"]
    cursor = host.output("journalctl", "--lines=0", "--show-cursor").rpartition("cursor: ")[2].strip()
    published = asked(player, "-vvv", "--diff", **pushing(internet))
    assert published.changed, published.output
    assert secret not in published.output
    assert secret not in host.output("journalctl", f"--after-cursor={cursor}", "--output=cat", "--no-pager")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dns_key_secret": "d3Jvbmc="}, "does not take the key updates, its secret or its algorithm"),
        ({"dns_key_name": "nobody"}, "does not let the key nobody update example.org"),
        ({"dns_key_secret": "no base64"}, "key_secret: is not in base64"),
        ({"dns_key_secret": ""}, "key_name, key_secret: both are needed"),
        ({"dns_server": "nowhere.example"}, "nowhere.example has no address"),
    ],
)
@pytest.mark.usefixtures("domain")
def test_what_cannot_be_published_is_said(wrong: dict[str, str], said: str, player: Player, internet: Internet) -> None:
    played = asked(player, **{**pushing(internet), **wrong})
    assert played.status != 0
    assert said in played.output, played.output


def test_a_file_for_each_domain_is_read_by_a_nameserver(player: Player, tmp_path: Path) -> None:
    folder = tmp_path / "zones"
    played = asked(
        player,
        mail_domains=[{"name": "example.org"}, {"name": "far.example", "relay_to": "192.0.2.1"}],
        dns_files=str(folder),
        dns_check=False,
    )
    assert played.status == 0, played.output
    assert sorted(path.name for path in folder.iterdir()) == ["example.org.zone", "far.example.zone"]
    soa = "@ 3600 IN SOA ns hostmaster 1 2 3 4 5\n@ 3600 IN NS ns.example.\n"
    zone = dns.zone.from_text(soa + (folder / "example.org.zone").read_text(), origin="example.org")
    (key,) = zone.find_rdataset("mail._domainkey", "TXT")
    assert b"".join(key.strings).startswith(b"v=DKIM1; h=sha256; k=rsa; p=")
    far = (folder / "far.example.zone").read_text()
    assert far.split()[:4] == ["far.example.", "3600", "IN", "MX"]
    assert len(far.splitlines()) == 1


def test_a_mistake_is_named_with_its_place(player: Player) -> None:
    played = asked(player, dns_spf="mx -all")
    assert played.status != 0
    assert "spf: 'mx -all' is not an SPF record" in played.output, played.output
