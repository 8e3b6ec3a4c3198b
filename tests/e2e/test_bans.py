"""Who guesses passwords is locked out for a while, and nobody else is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mailtest.deployment import Deployment, Person, Shell
from mailtest.internet import Internet
from mailtest.mail import MailProgram
from mailtest.waiting import wait_for

pytestmark = pytest.mark.needs("internet", "bans")

JAIL = "postoffice-mail"

# Logs in from an address of this host, as often as it has passwords, at once; prints how each attempt ended.
LOG_IN = r"""
import base64, concurrent.futures, json, socket, ssl, sys
given = json.load(sys.stdin)
context = ssl._create_unverified_context()

def attempt(password):
    kind, plain = given["kind"], None
    try:
        plain = socket.create_connection((given["target"], given["port"]), 20, (given["source"], 0))
        replies = plain.makefile("rb")
        if kind == "sieve":
            while not replies.readline().startswith(b"OK"):
                pass
            plain.sendall(b"STARTTLS\r\n")
            replies.readline()
        talking = context.wrap_socket(plain)
        replies = talking.makefile("rb")
        response = base64.b64encode(b"\0" + given["user"].encode() + b"\0" + password.encode()).decode()
        if kind == "smtp":
            talking.sendall(b"EHLO guess.example\r\n")
            while not replies.readline().startswith(b"250 "):
                pass
            talking.sendall(f"AUTH PLAIN {response}\r\n".encode())
            return replies.readline().startswith(b"235") and "in" or "refused"
        if kind == "imap":
            replies.readline()
            talking.sendall(f"a AUTHENTICATE PLAIN {response}\r\n".encode())
            while not (line := replies.readline()).startswith(b"a "):
                if not line:
                    return "cut off"
            talking.sendall(b"b LOGOUT\r\n")
            return "in" if line.startswith(b"a OK") else "refused"
        while not replies.readline().startswith(b"OK"):
            pass
        talking.sendall(f'AUTHENTICATE "PLAIN" "{response}"\r\n'.encode())
        line = replies.readline()
        talking.sendall(b"LOGOUT\r\n")
        return "in" if line.startswith(b"OK") else "refused"
    except OSError as error:
        return f"no connection: {error}"
    finally:
        if plain:
            plain.close()

with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(json.dumps(list(pool.map(attempt, given["passwords"]))))
"""

DOORS = {"smtp": "submissions", "imap": "imaps", "sieve": "managesieve"}


class Guesser:
    """Somebody at an address of the small internet who tries passwords of alice."""

    def __init__(self, internet: Internet, deployment: Deployment, address: str, version: int = 4) -> None:
        self.internet, self.deployment, self.address, self.version = internet, deployment, address, version

    def log_in(self, kind: str, *passwords: str) -> list[str]:
        asked: dict[str, Any] = {
            "kind": kind,
            "target": self.deployment.address(self.version),
            "port": self.deployment.port(DOORS[kind]).port,
            "source": self.address,
            "user": "alice@example.org",
            "passwords": passwords,
        }
        told = self.internet.shell.run("python3", "-c", LOG_IN, stdin=json.dumps(asked)).stdout
        return list(map(str, json.loads(told)))

    def is_let_in(self, kind: str, person: Person) -> bool:
        return self.log_in(kind, person.password) == ["in"]

    def is_locked_out(self, kind: str) -> bool:
        return self.log_in(kind, "one more")[0].startswith("no connection")


@pytest.fixture
def failures(deployment: Deployment) -> int:
    return int(deployment.variables["fail2ban_failures"])


@pytest.fixture(autouse=True)
def nobody_is_banned(host: Shell) -> Iterator[None]:
    host.run("fail2ban-client", "unban", "--all")
    yield
    host.run("fail2ban-client", "unban", "--all")


@pytest.mark.parametrize(("kind", "version"), [("smtp", 4), ("sieve", 4), ("imap", 6)])
def test_wrong_passwords_lock_an_address_out_and_no_other(
    internet: Internet, deployment: Deployment, host: Shell, alice: Person, failures: int, kind: str, version: int
) -> None:
    party = internet.parties["pool.example"]
    guilty, innocent = (party.addresses if version == 4 else party.addresses6)[:2]
    guesser, neighbour = (Guesser(internet, deployment, address, version) for address in (guilty, innocent))
    assert guesser.is_let_in(kind, alice)
    guessed = guesser.log_in(kind, *(f"guess {number}" for number in range(failures)))
    assert "in" not in guessed
    wait_for(lambda: guesser.is_locked_out(kind), "the ban")
    for other in DOORS:
        assert guesser.is_locked_out(other), f"{other} is open to it"
    assert neighbour.is_let_in(kind, alice)
    host.run("fail2ban-client", "set", JAIL, "unbanip", guilty)
    assert guesser.is_let_in(kind, alice), "the ban is lifted"


def test_fewer_wrong_passwords_do_not(internet: Internet, deployment: Deployment, alice: Person, failures: int) -> None:
    guesser = Guesser(internet, deployment, internet.parties["pool.example"].addresses[2])
    guesser.log_in("imap", *(f"guess {number}" for number in range(failures - 1)))
    assert guesser.is_let_in("imap", alice)


def test_whoever_is_locked_out_may_still_deliver_mail(internet: Internet, deployment: Deployment, host: Shell) -> None:
    address = internet.parties["plain.example"].addresses[0]
    host.run("fail2ban-client", "set", JAIL, "banip", address)
    assert Guesser(internet, deployment, address).is_locked_out("imap")
    assert internet.send_from("plain.example", "alice@example.org").accepted


@pytest.mark.needs("own networks")
def test_one_s_own_network_is_never_locked_out(
    mail_program: Callable[..., MailProgram], alice: Person, host: Shell, failures: int
) -> None:
    """The other tests guess from there more than anybody."""
    journal = host.output("journalctl", "--unit=fail2ban.service", "--output=cat")
    with mail_program(alice).connect() as client:
        assert client.sock
        address = client.sock.getsockname()[0]
    assert address not in host.output("fail2ban-client", "status", JAIL)
    assert f"Ban {address}" not in journal


def test_an_address_in_the_name_of_a_user_is_nobody_s_fault(host: Shell) -> None:
    """What a client writes into the log cannot have somebody else banned."""
    line = (
        "2026-01-01T00:00:00 mail dovecot[1]: imap-login: Login aborted: Logged out (auth failed, 1 attempts in 2 secs)"
        " (auth_failed): user=<x>, method=PLAIN, rip=198.51.100.1, lip=192.0.2.1, session=<a>>, method=PLAIN,"
        " rip=203.0.113.9, lip=192.0.2.1, TLS, session=<YKM3hyFh3MJ/AAAB>\n"
    )
    host.run("sh", "-c", "cat > /run/postoffice-guess.log", stdin=line)
    found = host.output(
        "fail2ban-regex", "--out", "ip", "/run/postoffice-guess.log", f"/etc/fail2ban/filter.d/{JAIL}.conf"
    )
    assert found.split() == ["203.0.113.9"]


def test_it_tries_by_itself_whether_it_still_bites(host: Shell) -> None:
    assert host.output("systemctl", "is-active", "postoffice-fail2ban-check.timer").strip() == "active"
    host.run("systemctl", "start", "postoffice-fail2ban-check.service")
    banned = host.output("nft", "list", "ruleset")
    assert "192.0.2.1" not in banned


def test_it_notices_when_log_ins_are_no_longer_recognised(host: Shell) -> None:
    path = f"/etc/fail2ban/filter.d/{JAIL}.conf"
    kept = host.output("cat", path)
    host.run("sed", "--in-place", "s/SASL/SASSL/", path)
    try:
        told = host.run("/usr/local/lib/postoffice/fail2ban-config", "self-check", check=False)
    finally:
        host.run("sh", "-c", f"cat > {path}", stdin=kept)
    assert told.returncode == 1
    assert "port 465: a failed log-in is not recognised" in told.stderr


def test_it_comes_back_by_itself_and_still_bans(
    internet: Internet, deployment: Deployment, host: Shell, failures: int
) -> None:
    before = host.output("systemctl", "show", "--property=MainPID", "--value", "fail2ban.service")
    host.run("systemctl", "kill", "--signal=KILL", "fail2ban.service")

    def another() -> bool:
        return host.output("systemctl", "show", "--property=MainPID", "--value", "fail2ban.service") not in {
            before,
            "0\n",
        }

    wait_for(another, "another process", 30)
    host.run("/usr/local/lib/postoffice/fail2ban-config", "probe")
    guesser = Guesser(internet, deployment, internet.parties["pool.example"].addresses[3])
    guesser.log_in("imap", *(f"guess {number}" for number in range(failures)))
    wait_for(lambda: guesser.is_locked_out("imap"), "the ban")
