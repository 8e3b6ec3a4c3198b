# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each role does its job in a play of somebody's own, on a bare host, from nothing but its own variables."""

from __future__ import annotations

import json
import re
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.postoffice.mail.tests.e2e.mailtest.deployment import Person
from ansible_collections.postoffice.mail.tests.e2e.mailtest.imap import connect, login
from ansible_collections.postoffice.mail.tests.e2e.mailtest.waiting import wait_for
from ansible_collections.postoffice.mail.tests.runs.runtest.host import Host, booted
from ansible_collections.postoffice.mail.tests.runs.runtest.inventories import SWITCHED, SWITCHED_OFF
from ansible_collections.postoffice.mail.tests.runs.runtest.run import Run, play

pytestmark = pytest.mark.long

PLAY = """---
- name: A play of somebody's own
  hosts: mail
  gather_facts: false
  become: true
  roles:
    - role: postoffice.mail.{role}
"""
CERTIFICATE = "/etc/own/certificate.pem"
KEY = "/etc/own/key.pem"
LOOKUP = "/srv/lookup.sqlite3"
MOVED = Person("moved@example.org", "wie früher")
HASH = (
    "{SHA512-CRYPT}$6$Bb9er8ZLt8Umi1ok$SNzdX1GPmBOsKISfGPnRJY3YzcLygZQ0WRc99u5fMHueNindYaq0Nj4mRJgxaaOHt3W0RqHWfU53rehxx"
    "xO3j1"
)


@pytest.fixture
def bare(suite: str) -> Iterator[Host]:
    with booted("alone", suite) as host:
        yield host


def run_alone(host: Host, role: str, variables: dict[str, Any], folder: Path) -> Run:
    """The role's first run, whose check mode succeeded before and which a second run found complete."""
    playbook = folder / "play.yml"
    playbook.write_text(PLAY.format(role=role), encoding="utf-8")
    play(host, variables, "--check", "--diff", playbook=str(playbook)).demand()
    first = play(host, variables, playbook=str(playbook)).demand()
    play(host, variables, playbook=str(playbook)).demand_unchanged()
    return first


def test_preflight(bare: Host, tmp_path: Path) -> None:
    good = {
        "mail_hostname": "mail.example.org",
        "mail_domains": [{"name": "example.org", "mailboxes": [{"name": "alice", "password": "Drink me, please"}]}],
    }
    assert not run_alone(bare, "preflight", good, tmp_path).changes
    bad = {**good, "postfix_mesage_size_limit": "40M"}
    refused = play(bare, bad, playbook=str(tmp_path / "play.yml"))
    assert refused.status != 0
    assert "postfix_mesage_size_limit" in refused.output


def test_base(bare: Host, tmp_path: Path) -> None:
    variables = {
        "base_hostname": "mx.example.org",
        "base_certificate_names": ["imap.example.org"],
        "base_timezone": "Europe/Berlin",
    }
    run_alone(bare, "base", variables, tmp_path)
    assert bare.shell.output("hostname", "--fqdn").strip() == "mx.example.org"
    assert bare.shell.output("date", "+%Z").strip() in {"CET", "CEST"}
    names = bare.shell.output(
        "openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", "/etc/postoffice/tls/fullchain.pem"
    )
    assert "DNS:mx.example.org" in names
    assert "DNS:imap.example.org" in names
    assert bare.shell.output("systemctl", "is-enabled", "systemd-timesyncd").strip() == "enabled"


def test_unbound(bare: Host, tmp_path: Path) -> None:
    before = bare.shell.output("cat", "/etc/resolv.conf")
    run_alone(bare, "unbound", {}, tmp_path)
    assert "nameserver 127.0.0.1\n" in bare.shell.output("cat", "/etc/resolv.conf")
    assert bare.shell.output("unbound-control", "get_option", "auto-trust-anchor-file").strip() == ""
    # Back again, with the root of the world, of which a test host may see nothing.
    world = {"unbound_host_resolver": False, "unbound_insecure_domains": []}
    play(bare, world, playbook=str(tmp_path / "play.yml")).demand()
    play(bare, world, playbook=str(tmp_path / "play.yml")).demand_unchanged()
    assert bare.shell.output("cat", "/etc/resolv.conf") == before
    assert "/var/lib/unbound/root.key" in bare.shell.output("unbound-control", "get_option", "auto-trust-anchor-file")


def test_directory(bare: Host, tmp_path: Path) -> None:
    domains = [
        {
            "name": "example.org",
            "mailboxes": [{"name": "alice", "password": "Drink me, please", "aliases": ["sales"]}],
        }
    ]
    run_alone(bare, "directory", {"directory_domains": domains}, tmp_path)
    asked = """
import sqlite3
published = sqlite3.connect("file:/var/lib/postoffice/published/lookup.sqlite3?mode=ro", uri=True)
print(published.execute("SELECT destination FROM postfix_alias WHERE address = 'sales@example.org'").fetchall())
directory = sqlite3.connect("file:/var/lib/postoffice/directory.sqlite3?mode=ro", uri=True)
print(directory.execute("SELECT password LIKE '{ARGON2ID}%', may_access FROM dovecot_user").fetchall())
"""
    assert bare.python(asked).splitlines() == ["[('alice@example.org',)]", "[(1, 1)]"]
    published = bare.shell.output("stat", "--format=%U:%G %a", "/var/lib/postoffice/published/lookup.sqlite3")
    assert published.strip() == "root:postoffice 640"


def test_dovecot(bare: Host, tmp_path: Path) -> None:
    run_alone(
        bare, "dovecot", {"dovecot_users": [{"name": MOVED.address, "password_hash": HASH, "quota": "1G"}]}, tmp_path
    )
    with connect(bare.port("imaps")) as client:
        login(client, MOVED)
        client.append("INBOX", b"Subject: kept\r\n\r\nHello.\r\n")
        client.select_folder("INBOX")
        assert len(client.search(["SUBJECT", "kept"])) == 1


def test_spamassassin(bare: Host, tmp_path: Path) -> None:
    variables = {
        "spamassassin_network_tests": False,
        "spamassassin_settings": "body OURS /our-rule/\nscore OURS 7",
        "spamassassin_update": True,
    }
    run_alone(bare, "spamassassin", variables, tmp_path)
    message = "From: a@x.example\nSubject: x\n\nour-rule\n"
    said = bare.shell.run("spamc", "-l", "-R", "--socket", "/run/postoffice-spamd/spamd.sock", stdin=message).stdout
    assert float(said.split("/")[0]) >= 7
    assert "OURS" in said
    # There are no rules to be had here; the key that they must be signed with is there, though.
    bare.shell.run("systemctl", "start", "spamassassin-maintenance.service", check=False)
    keys = bare.shell.output("gpg", "--homedir", "/var/lib/spamassassin/sa-update-keys", "--list-keys", "--with-colons")
    assert "updates.spamassassin.org" in keys
    play(bare, {**variables, "spamassassin_enabled": False}, playbook=str(tmp_path / "play.yml")).demand()
    assert bare.shell.run("systemctl", "is-active", "spamd.service", check=False).stdout.strip() == "inactive"
    assert bare.shell.run("systemctl", "is-enabled", "spamd.service", check=False).stdout.strip() == "disabled"
    play(bare, {**variables, "spamassassin_enabled": False}, playbook=str(tmp_path / "play.yml")).demand_unchanged()


def test_learning(bare: Host, tmp_path: Path) -> None:
    """Nobody teaches here; what was dropped waits."""
    run_alone(bare, "learning", {"learning_mail_group": "mail", "learning_spamd": "/run/nobody.sock"}, tmp_path)
    program = "/usr/local/lib/postoffice/sieve-pipe/learn"
    bare.shell.run("runuser", "-u", "mail", "--", program, "spam", "bob@example.org", stdin="Subject: x\n\n")
    shown = json.loads(bare.shell.output("/usr/local/lib/postoffice/postoffice-learning", "show"))
    assert (shown["waiting"], shown["learned"]) == (1, {})
    assert 0 <= shown["oldest"] < 60  # seconds


def test_milter(bare: Host, tmp_path: Path) -> None:
    bare.python(f"""
import sqlite3
with sqlite3.connect("{LOOKUP}") as lookup:
    lookup.execute("CREATE TABLE postfix_alias (address, destination, keep_extension)")
    lookup.execute("CREATE TABLE postfix_catch_all (domain, destination)")
    lookup.execute("CREATE TABLE postfix_mailbox (address)")
    lookup.execute("CREATE TABLE postfix_sender (address, login)")
    lookup.execute("CREATE TABLE postfix_domain (name, class, nexthop)")
    lookup.execute("CREATE TABLE milter_sending_limit (sender, name, most)")
    lookup.execute("INSERT INTO postfix_sender VALUES ('alice@example.org', 'alice@example.org')")
""")
    run_alone(bare, "milter", {"milter_directory": LOOKUP, "milter_limit_messages_per_day": 1}, tmp_path)
    answers = bare.python("""
import sys
sys.path.insert(0, "/usr/local/lib/postoffice")
from postoffice_milter.client import MilterClient
for sender in ("alice@example.org", "boss@example.org", "alice@example.org"):
    with MilterClient("/run/postoffice-milter/milter.sock") as client:
        client.connect()
        client.mail("alice@example.org", login="alice@example.org")
        client.recipient("friend@partner.example")
        print(client.message([("From", sender.encode())]))
""")
    own, foreign, second = answers.splitlines()
    assert not own.startswith(("4", "5"))
    assert foreign.startswith("550 5.7.1")
    assert second.startswith("450 4.7.1 Sending limit: 1 of at most 1 messages within 24 hours")


def test_mta_sts(bare: Host, tmp_path: Path) -> None:
    run_alone(bare, "mta_sts", {}, tmp_path)
    bare.shell.run("/usr/local/lib/postoffice/postoffice-tls-policy", "probe")
    play(bare, {"mta_sts_enabled": False}, playbook=str(tmp_path / "play.yml")).demand()
    play(bare, {"mta_sts_enabled": False}, playbook=str(tmp_path / "play.yml")).demand_unchanged()
    units = ("postfix-mta-sts-resolver.service", "postoffice-tls-policy.service", "postoffice-tls-policy.socket")
    states = bare.shell.run("systemctl", "is-enabled", *units, check=False).stdout.split()
    assert states == ["disabled"] * 3
    assert bare.shell.run("systemctl", "is-active", *units, check=False).stdout.split() == ["inactive"] * 3


def test_postsrsd(bare: Host, tmp_path: Path) -> None:
    run_alone(bare, "postsrsd", {"postsrsd_domain": "mx.example.org"}, tmp_path)
    probe = ("/usr/local/lib/postoffice/probe-postsrsd", "mx.example.org", "10001", "10002")
    bare.shell.run(*probe)
    secret = bare.shell.output("sha256sum", "/etc/postsrsd.secret")
    # Another hash would be another sender; the secret stays what it is.
    longer = {"postsrsd_domain": "mx.example.org", "postsrsd_hash_length": 12}
    play(bare, longer, playbook=str(tmp_path / "play.yml")).demand()
    bare.shell.run(*probe)
    assert bare.shell.output("sha256sum", "/etc/postsrsd.secret") == secret
    play(bare, {"postsrsd_enabled": False}, playbook=str(tmp_path / "play.yml")).demand()
    play(bare, {"postsrsd_enabled": False}, playbook=str(tmp_path / "play.yml")).demand_unchanged()
    assert bare.shell.run("systemctl", "is-enabled", "postsrsd.service", check=False).stdout.strip() == "disabled"
    assert bare.shell.run("systemctl", "is-active", "postsrsd.service", check=False).stdout.strip() == "inactive"


def test_clamav(bare: Host, tmp_path: Path) -> None:
    run_alone(bare, "clamav", {"clamav_official_databases": False}, tmp_path)
    bare.shell.run("/usr/local/lib/postoffice/clamav-config", "probe")
    assert bare.shell.output("stat", "--format=%a %G", "/run/clamav-milter/milter.sock").strip() == "660 clamav-milter"


def test_clamav_says_what_is_wrong_when_there_are_no_signatures_to_fetch(bare: Host, tmp_path: Path) -> None:
    playbook = tmp_path / "play.yml"
    playbook.write_text(PLAY.format(role="clamav"), encoding="utf-8")
    unreachable = {"clamav_mirrors": ["http://127.0.0.1:1"], "clamav_first_update_seconds": 20}
    refused = play(bare, unreachable, playbook=str(playbook))
    assert refused.status != 0
    assert "ClamAV has no database main, daily, and freshclam could not fetch it." in refused.output
    assert "clamav_mirrors for one of your own" in refused.output
    assert bare.shell.run("systemctl", "is-active", "clamav-daemon.service", check=False).stdout.strip() != "active"
    # Without ClamAV, nothing of it is left to run; and with a change of mind, it is back.
    play(bare, {**unreachable, "clamav_enabled": False}, playbook=str(playbook)).demand()
    play(bare, {**unreachable, "clamav_enabled": False}, playbook=str(playbook)).demand_unchanged()
    play(bare, {"clamav_official_databases": False}, playbook=str(playbook)).demand()
    bare.shell.run("/usr/local/lib/postoffice/clamav-config", "probe")
    play(bare, {"clamav_enabled": False}, playbook=str(playbook)).demand()
    states = bare.shell.run(
        "systemctl", "is-enabled", "clamav-daemon", "clamav-milter", "clamav-freshclam", check=False
    )
    assert set(states.stdout.split()) == {"disabled"}
    assert bare.shell.run("pgrep", "clam", check=False).stdout == ""


def test_opendkim(bare: Host, tmp_path: Path) -> None:
    """With both algorithms at first; then with a new key, and without Ed25519."""
    both = [{"selector": "one"}, {"selector": "two", "algorithm": "ed25519"}]
    run_alone(bare, "opendkim", {"opendkim_domains": ["example.org"], "opendkim_selectors": both}, tmp_path)
    program = "/usr/local/lib/postoffice/opendkim-config"
    bare.shell.run(program, "probe")
    units = ("opendkim.service", "opendkim-ed25519.service")
    assert bare.shell.output("systemctl", "is-active", *units).split() == ["active", "active"]
    assert bare.shell.output("stat", "--format=%a %G", "/run/opendkim/milter.sock").strip() == "770 opendkim"
    key = "/etc/postoffice/dkim/example.org/one.private"
    before = bare.shell.output("sha256sum", key)

    later = [{"selector": "one"}, {"selector": "three", "state": "published"}, {"selector": "two", "state": "retired"}]
    variables = {"opendkim_domains": ["example.org"], "opendkim_selectors": later}
    play(bare, variables, "--check", "--diff", playbook=str(tmp_path / "play.yml")).demand()
    play(bare, variables, playbook=str(tmp_path / "play.yml")).demand()
    play(bare, variables, playbook=str(tmp_path / "play.yml")).demand_unchanged()
    assert bare.shell.output("sha256sum", key) == before
    assert bare.shell.output("ls", "/etc/postoffice/dkim/example.org").split() == [
        "one.json", "one.private", "three.json", "three.private", "two.json",
    ]  # fmt: skip
    bare.shell.run(program, "probe")
    states = bare.shell.run("systemctl", "is-active", *units, check=False).stdout.split()
    assert states == ["active", "inactive"]

    play(bare, {**variables, "opendkim_enabled": False}, playbook=str(tmp_path / "play.yml")).demand()
    play(bare, {**variables, "opendkim_enabled": False}, playbook=str(tmp_path / "play.yml")).demand_unchanged()
    assert bare.shell.run("systemctl", "is-active", *units, check=False).stdout.split() == ["inactive", "inactive"]
    assert bare.shell.output("sha256sum", key) == before


def test_opendmarc(bare: Host, tmp_path: Path) -> None:
    run_alone(bare, "opendmarc", {"opendmarc_trusted_hosts": ["192.0.2.0/24"]}, tmp_path)
    bare.shell.run("/usr/local/lib/postoffice/opendmarc-config", "probe")
    assert bare.shell.output("stat", "--format=%a %G", "/run/opendmarc/milter.sock").strip() == "770 opendmarc"
    believing = {"opendmarc_settings": {"SPFIgnoreResults": False}}
    refused = play(bare, believing, playbook=str(tmp_path / "play.yml"))
    assert refused.status != 0
    assert "SPF results that a stranger writes would be believed" in refused.output
    play(bare, {"opendmarc_enabled": False}, playbook=str(tmp_path / "play.yml")).demand()
    play(bare, {"opendmarc_enabled": False}, playbook=str(tmp_path / "play.yml")).demand_unchanged()
    assert bare.shell.run("systemctl", "is-active", "opendmarc.service", check=False).stdout.strip() == "inactive"


def test_postgrey(bare: Host, tmp_path: Path) -> None:
    run_alone(
        bare, "postgrey", {"postgrey_client_group": "mail", "postgrey_allowed_clients": ["partner.example"]}, tmp_path
    )
    asked = """
import socket, sys
for client in ("mx.partner.example", "stranger.example"):
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect("/run/postgrey/postgrey.sock")
        asking.sendall(
            f"request=smtpd_access_policy\\nclient_address=192.0.2.7\\nclient_name={client}\\n"
            "sender=a@letters.example\\nrecipient=b@example.org\\n\\n".encode()
        )
        print(asking.makefile().readline().strip())
"""
    allowed, stranger = bare.python(asked).splitlines()
    assert allowed == "action=DUNNO"
    assert stranger.startswith("action=DEFER_IF_PERMIT Greylisted")
    assert bare.shell.output("stat", "--format=%a %G", "/run/postgrey/postgrey.sock").strip() == "660 mail"
    playbook = str(tmp_path / "play.yml")
    play(bare, {"postgrey_enabled": False}, playbook=playbook).demand()
    assert bare.shell.run("systemctl", "is-active", "postgrey.service", check=False).stdout.strip() == "inactive"
    play(bare, {"postgrey_enabled": False}, playbook=playbook).demand_unchanged()


def test_fail2ban(bare: Host, tmp_path: Path) -> None:
    run_alone(bare, "fail2ban", {"fail2ban_own_networks": ["198.51.100.0/24"]}, tmp_path)
    bare.shell.run("fail2ban-client", "set", "postoffice-mail", "banip", "192.0.2.1")
    wait_for(lambda: "192.0.2.1" in bare.shell.output("nft", "list", "ruleset"), "the ban")
    playbook = str(tmp_path / "play.yml")
    play(bare, {"fail2ban_enabled": False}, playbook=playbook).demand()
    assert "192.0.2.1" not in bare.shell.output("nft", "list", "ruleset")
    assert bare.shell.run("fail2ban-client", "status", "postoffice-mail", check=False).returncode != 0
    play(bare, {"fail2ban_enabled": False}, playbook=playbook).demand_unchanged()


def test_certificates(bare: Host, tmp_path: Path) -> None:
    served, key = own_certificate(bare, "mx.example.org")
    server = ("openssl", "s_server", "-quiet", "-accept", "8443", "-cert", served, "-key", key, "-www")
    bare.shell.run("systemd-run", "--unit=served", *server)
    variables = {
        "certificates_hostname": "mx.example.org",
        "certificates_served": [{"certificate": served, "ports": {"https": 8443}}],
    }
    run_alone(bare, "certificates", variables, tmp_path)
    unit = "postoffice-certificates.service"
    bare.shell.run("systemctl", "start", unit)
    own_certificate(bare, "mx.example.org")
    assert bare.shell.run("systemctl", "start", unit, check=False).returncode != 0
    assert "8443 https       another certificate is served" in bare.shell.output("journalctl", "--unit", unit)
    play(bare, {"certificates_enabled": False}, playbook=str(tmp_path / "play.yml")).demand()
    timer = "postoffice-certificates.timer"
    assert bare.shell.run("systemctl", "is-active", timer, check=False).stdout.strip() == "inactive"
    play(bare, {"certificates_enabled": False}, playbook=str(tmp_path / "play.yml")).demand_unchanged()


def own_certificate(host: Host, name: str) -> tuple[str, str]:
    served, key = "/srv/certificate.pem", "/srv/key.pem"
    host.shell.run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "90",
        "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", served,
    )  # fmt: skip
    return served, key


FETCH = """
import ssl, sys, urllib.request
asked = urllib.request.Request(sys.argv[1], headers={"Host": sys.argv[2]})
print(urllib.request.urlopen(asked, context=ssl._create_unverified_context()).read())
"""


def test_nginx(bare: Host, tmp_path: Path) -> None:
    served, key = own_certificate(bare, "mx.example.org")
    bare.shell.run("mkdir", "-p", "/srv/www")
    bare.shell.run("tee", "/srv/www/index.html", stdin="here it is")
    variables = {
        "nginx_certificate": served,
        "nginx_certificate_key": key,
        "nginx_sites": [{"names": ["www.example.org"], "locations": "location / { root /srv/www; }"}],
    }
    run_alone(bare, "nginx", variables, tmp_path)
    assert "here it is" in bare.shell.run("python3", "-", "https://127.0.0.1/", "www.example.org", stdin=FETCH).stdout
    gone = bare.shell.run("python3", "-", "https://127.0.0.1/", "mx.example.org", stdin=FETCH, check=False)
    assert "404" in gone.stderr
    broken = {**variables, "nginx_sites": [{"names": ["www.example.org"], "locations": "lokation / {}"}]}
    refused = play(bare, broken, playbook=str(tmp_path / "play.yml"))
    assert refused.status != 0
    assert 'unknown directive "lokation"' in refused.output
    assert "here it is" in bare.shell.run("python3", "-", "https://127.0.0.1/", "www.example.org", stdin=FETCH).stdout
    play(bare, {"nginx_enabled": False}, playbook=str(tmp_path / "play.yml")).demand()
    assert bare.shell.run("systemctl", "is-active", "nginx.service", check=False).stdout.strip() == "inactive"
    play(bare, {"nginx_enabled": False}, playbook=str(tmp_path / "play.yml")).demand_unchanged()


def test_autoconfig(bare: Host, tmp_path: Path) -> None:
    variables = {
        "autoconfig_hostname": "mx.example.org",
        "autoconfig_domains": {"example.org": "example.org"},
        "autoconfig_ports": {"imaps": 993, "submissions": 465},
        "autoconfig_client_group": "www-data",
    }
    run_alone(bare, "autoconfig", variables, tmp_path)
    program, socket = "/usr/local/lib/postoffice/postoffice-autoconfig", "/run/postoffice-autoconfig/http.sock"
    bare.shell.run(program, "probe")
    assert bare.shell.output("stat", "--format=%a %G", socket).strip() == "660 www-data"
    play(bare, {**variables, "autoconfig_title": "Chess"}, playbook=str(tmp_path / "play.yml")).demand()
    bare.shell.run(program, "probe")
    wrong = play(bare, {**variables, "autoconfig_ports": {"imaps": 993}}, playbook=str(tmp_path / "play.yml"))
    assert wrong.status != 0
    assert "autoconfig_ports needs a service to read mail" in re.sub(r"\s+", " ", wrong.output)
    off = {"autoconfig_enabled": False}
    play(bare, off, playbook=str(tmp_path / "play.yml")).demand()
    units = ("postoffice-autoconfig.service", "postoffice-autoconfig.socket")
    assert bare.shell.run("systemctl", "is-active", *units, check=False).stdout.split() == ["inactive"] * 2
    play(bare, off, playbook=str(tmp_path / "play.yml")).demand_unchanged()


def test_letsencrypt(bare: Host, tmp_path: Path) -> None:
    """With an authority that nobody can reach, which is no failure."""
    chain, key = "/srv/tls/chain.pem", "/srv/tls/key.pem"
    variables = {
        "letsencrypt_enabled": True,
        "letsencrypt_server": "https://127.0.0.1:1/dir",
        "letsencrypt_challenge": "dns",
        "letsencrypt_dns_plugin": "rfc2136",
        "letsencrypt_dns_credentials": "dns_rfc2136_server = ::1\ndns_rfc2136_name = us\ndns_rfc2136_secret = c2U=",
        "letsencrypt_certificates": [
            {"name": "mx.example.org", "names": ["mx.example.org"], "certificate": chain, "key": key}
        ],
    }
    first = run_alone(bare, "letsencrypt", variables, tmp_path)
    said = re.sub(r"\s+", " ", first.output)
    assert "mx.example.org: there is none, and none is issued: " in said
    assert "Connection refused" in said
    assert bare.shell.output("stat", "--format=%a %U", key).strip() == "600 root"
    credentials = "/etc/postoffice/letsencrypt-dns.ini"
    assert bare.shell.output("stat", "--format=%a %U", credentials).strip() == "600 postoffice-letsencrypt"
    assert bare.shell.run("test", "-e", chain, check=False).returncode == 1
    # Debian's own timer looks elsewhere, and finds nothing.
    assert bare.shell.output("find", "/etc/letsencrypt", "-name", "*.pem") == ""
    wrong = play(bare, {**variables, "letsencrypt_dns_plugin": ""}, playbook=str(tmp_path / "play.yml"))
    assert wrong.status != 0
    assert "letsencrypt_challenge is http, or dns with the name of a plugin" in re.sub(r"\s+", " ", wrong.output)
    play(bare, {"letsencrypt_enabled": False}, playbook=str(tmp_path / "play.yml")).demand()
    timer = "postoffice-letsencrypt.timer"
    assert bare.shell.run("systemctl", "is-active", timer, check=False).stdout.strip() == "inactive"
    play(bare, {"letsencrypt_enabled": False}, playbook=str(tmp_path / "play.yml")).demand_unchanged()


def test_dns(bare: Host, tmp_path: Path) -> None:
    variables = {
        "dns_hostname": "mx.example.org",
        "dns_domains": ["example.org"],
        "dns_addresses": ["192.0.2.25"],
        "dns_check": False,
    }
    first = run_alone(bare, "dns", variables, tmp_path)
    assert "mx.example.org. 3600 IN A 192.0.2.25" in first.output
    assert "example.org. 3600 IN MX 10 mx.example.org." in first.output


def test_roles_that_are_switched_off_leave_a_bare_host_alone(bare: Host, tmp_path: Path) -> None:
    playbook = tmp_path / "play.yml"
    head, _separator, last = PLAY.rstrip("\n").rpartition("\n")
    playbook.write_text("\n".join([head, *(last.format(role=role) for role in SWITCHED)]) + "\n", encoding="utf-8")
    play(bare, SWITCHED_OFF, "--check", "--diff", playbook=str(playbook)).demand_unchanged()
    play(bare, SWITCHED_OFF, playbook=str(playbook)).demand_unchanged()


def test_postfix(bare: Host, tmp_path: Path) -> None:
    bare.shell.run("mkdir", "/etc/own")
    bare.shell.run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
        "-subj", "/CN=mx.example.org", "-keyout", KEY, "-out", CERTIFICATE,
    )  # fmt: skip
    variables = {
        "postfix_hostname": "mx.example.org",
        "postfix_certificate": CERTIFICATE,
        "postfix_certificate_key": KEY,
        "postfix_virtual_domains": ["example.org"],
        "postfix_virtual_mailboxes": ["alice@example.org"],
        "postfix_virtual_aliases": {"sales@example.org": ["alice@example.org"]},
        "postfix_mailbox_transport": "discard:",
    }
    run_alone(bare, "postfix", variables, tmp_path)
    endpoint = bare.port("smtp")
    with smtplib.SMTP(endpoint.host, endpoint.port, local_hostname="mx.outside.example", timeout=30) as mx:
        mx.ehlo()
        assert mx.has_extn("starttls")
        mx.mail("stranger@outside.example")
        assert mx.rcpt("nobody@example.org")[0] == 550
        assert mx.rcpt("somebody@elsewhere.example")[0] in {454, 554}
        mx.rset()
        refused = mx.sendmail("stranger@outside.example", ["sales@example.org"], "Subject: hello\r\n\r\nHello.\r\n")
    assert not refused
    wait_for(
        lambda: (
            "to=<alice@example.org>, orig_to=<sales@example.org>" in bare.shell.output("journalctl", "--output=cat")
        ),
        "the message's delivery to alice",
    )
