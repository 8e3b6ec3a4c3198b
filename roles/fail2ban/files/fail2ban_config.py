# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Usage: fail2ban-config check | probe | self-check. Exits with 1 and says what is wrong.

`check` reads the configuration, `probe` asks the running server for its jail. `self-check` proves that it still bites:
it fails to log in where mail is sent and read, demands that what the daemons write down about it is recognised, and
has addresses that belong to nobody (RFC 5737, RFC 3849) banned and unbanned by the firewall.
"""

from __future__ import annotations

import base64
import contextlib
import imaplib
import ipaddress
import json
import re
import secrets
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

JAIL = "postoffice-mail"
SETTINGS = Path(f"/etc/fail2ban/jail.d/{JAIL}.local")
FILTER = f"/etc/fail2ban/filter.d/{JAIL}.conf"
HERE = "127.0.0.1"
NOBODY = ("192.0.2.1", "2001:db8::1")
STARTS = 10.0  # seconds in which the server is up
WRITTEN = 8.0  # seconds in which a failed log-in is in the journal
TIMEOUT = 30.0


class NotBitingError(Exception):
    """What does not work."""


def run(*argv: str, check: bool = True) -> str:
    """The output of a program, whose failure is this one's as well."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if check and done.returncode:
        raise NotBitingError(f"{' '.join(argv)}: {(done.stderr + done.stdout).strip() or f'exit {done.returncode}'}")
    return done.stdout


# Before and after a change


def check() -> Iterator[str]:
    """What is wrong with the configuration."""
    with contextlib.suppress(FileNotFoundError):
        for number, line in enumerate(SETTINGS.read_text(encoding="utf-8").splitlines(), start=1):
            name, _equals, value = (part.strip() for part in line.partition("="))
            for network in value.split() if name == "ignoreip" else ():
                try:
                    ipaddress.ip_network(network, strict=False)
                except ValueError as error:
                    yield f"{SETTINGS}:{number}: {error}"
    done = subprocess.run(["fail2ban-client", "--test"], capture_output=True, text=True, check=False)
    if done.returncode:
        yield from (done.stderr + done.stdout).strip().splitlines()[-5:]


def probe() -> Iterator[str]:
    """What does not answer."""
    deadline = time.monotonic() + STARTS
    while True:
        try:
            run("fail2ban-client", "status", JAIL)
            return
        except NotBitingError as error:
            problem = str(error)
        if time.monotonic() > deadline:
            yield problem
            return
        time.sleep(0.2)


# Does it bite?


def any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def imap(port: int, user: str) -> None:
    with imaplib.IMAP4_SSL(HERE, port, ssl_context=any_certificate(), timeout=TIMEOUT) as client:
        client.login(user, "wrong")


def submissions(port: int, user: str) -> None:
    with smtplib.SMTP_SSL(HERE, port, context=any_certificate(), timeout=TIMEOUT) as client:
        authenticate(client, user)


def submission(port: int, user: str) -> None:
    with smtplib.SMTP(HERE, port, timeout=TIMEOUT) as client:
        client.starttls(context=any_certificate())
        authenticate(client, user)


def authenticate(client: smtplib.SMTP, user: str) -> None:
    """One attempt; the library's own would try one mechanism after the other."""
    client.ehlo()
    code, text = client.docmd("AUTH", "PLAIN " + base64.b64encode(f"\0{user}\0wrong".encode()).decode())
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, text)


REFUSALS = (imaplib.IMAP4.error, smtplib.SMTPAuthenticationError)
# Of the daemons that write failed log-ins down, each in its own words; POP3 and ManageSieve use the words of IMAP.
DOORS: dict[int, Callable[[int, str], None]] = {465: submissions, 587: submission, 993: imap}


def is_open(port: int) -> bool:
    try:
        with socket.create_connection((HERE, port), timeout=5):
            return True
    except OSError:
        return False


def fail_at(port: int) -> None:
    """Fail to log in."""
    try:
        DOORS[port](port, f"self-check-{secrets.token_hex(4)}@postoffice.invalid")
    except REFUSALS:
        return
    raise NotBitingError(f"port {port}: a user that does not exist can log in")


def journal(since: float) -> list[str]:
    """What the watched units have written, as Fail2Ban reads it."""
    units = re.findall(r"_SYSTEMD_UNIT=(\S+)", Path(FILTER).read_text(encoding="utf-8"))
    options = [f"--unit={unit}" for unit in units]
    lines = []
    for line in run("journalctl", f"--since=@{since:.3f}", "--output=json", *options).splitlines():
        entry = json.loads(line)
        who = f"{entry.get('SYSLOG_IDENTIFIER')}[{entry.get('SYSLOG_PID', entry.get('_PID'))}]"
        lines.append(f"{entry.get('_HOSTNAME')} {who}: {entry.get('MESSAGE')}")
    return lines


def recognised(lines: list[str]) -> int:
    """How many lines the filter takes for failed log-ins from here."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".log") as file:
        now = time.strftime("%Y-%m-%dT%H:%M:%S")
        file.writelines(f"{now} {line}\n" for line in lines)
        file.flush()
        return run("fail2ban-regex", "--out", "ip", file.name, FILTER, check=False).split().count(HERE)


def demand_recognition() -> None:
    """A log-in that fails is recognised, whichever door it fails at."""
    ports = [port for port in DOORS if is_open(port)]
    if not ports:
        raise NotBitingError(f"none of the ports {', '.join(map(str, DOORS))} is open here")
    for port in ports:
        begin = time.time()
        fail_at(port)
        deadline = time.monotonic() + WRITTEN
        while not recognised(journal(begin)):
            if time.monotonic() > deadline:
                raise NotBitingError(
                    f"port {port}: a failed log-in is not recognised by {FILTER}: journalctl --since=@{begin:.0f}"
                )
            time.sleep(0.5)


def banned(address: str) -> bool:
    """Whether the firewall holds an address."""
    return re.search(rf"\b{re.escape(address)}\b", run("nft", "list", "ruleset")) is not None


def demand_bans() -> None:
    """The firewall holds whoever is banned, and nobody who is not."""
    for address in NOBODY:
        try:
            run("fail2ban-client", "set", JAIL, "banip", address)
            demand(address, True, f"{address} was banned, and the firewall lets it in")
        finally:
            run("fail2ban-client", "set", JAIL, "unbanip", address)
        demand(address, False, f"{address} was unbanned, and the firewall holds it")


def demand(address: str, wanted: bool, otherwise: str) -> None:
    """The firewall comes to hold an address, or to let it go."""
    deadline = time.monotonic() + WRITTEN
    while banned(address) is not wanted:
        if time.monotonic() > deadline:
            raise NotBitingError(otherwise)
        time.sleep(0.2)


def self_check() -> Iterator[str]:
    """What does not bite any more."""
    for part in (demand_recognition, demand_bans):
        try:
            part()
        except (NotBitingError, OSError) as error:
            yield str(error)


def main(arguments: list[str]) -> int:
    commands = {"check": check, "probe": probe, "self-check": self_check}
    problems = list(commands[arguments[0]]())
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
