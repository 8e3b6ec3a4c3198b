# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad configuration never reaches a server that works: Postfix and Dovecot go on serving with the files they had."""

from __future__ import annotations

import base64
import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

import pytest
from mailtest.deployment import Shell
from mailtest.waiting import wait_for
from playing import Player, Target

FOLDERS = ("/etc/postfix", "/etc/dovecot", "/etc/systemd/system", "/usr/local/lib/postoffice")
CERTIFICATE = "/etc/postoffice/tls/fullchain.pem"
ROLES = ("dovecot", "postfix")
KEY = "/etc/postoffice/tls/privkey.pem"
PATIENCE = 5.0  # seconds in which a mail program expects to get in again


@dataclass(frozen=True)
class Fault:
    """What somebody writes into the inventory, and what the error has to say about it."""

    name: str
    role: str
    variables: Mapping[str, Any]
    said: tuple[str, ...]


REFUSED = [
    Fault(
        "syntax",
        "postfix",
        {"postfix_settings": {"mail_name": "${unclosed"}},
        (r"/etc/postfix/main\.cf", "mail_name|unclosed"),
    ),
    Fault(
        "restriction",
        "postfix",
        {"postfix_client_restrictions": ["reject_unknwon_client_hostname"]},
        (r"/etc/postfix/main\.cf, line \d+: ", "reject_unknwon_client_hostname"),
    ),
    Fault(
        "setting",
        "postfix",
        {"postfix_settings": {"smtpd_bannner": "hello"}},
        (r"/etc/postfix/main\.cf, line \d+: ", "smtpd_bannner"),
    ),
    Fault(
        "table",
        "postfix",
        {"postfix_settings": {"header_checks": "pcre:/etc/postfix/nowhere.pcre"}},
        (r"/etc/postfix/main\.cf, line \d+: ", r"/etc/postfix/nowhere\.pcre"),
    ),
    Fault(
        "blocklist",
        "postfix",
        {"postfix_blocklists": ["dnsbl.sorbs.net*2"]},
        (r"/etc/postfix/main\.cf, line \d+: ", r"dnsbl\.sorbs\.net was given up"),
    ),
    Fault(
        "certificate",
        "postfix",
        {"postfix_certificate": "/etc/postoffice/tls/nowhere.pem"},
        (r"/etc/postfix/main\.cf, line \d+: ", r"/etc/postoffice/tls/nowhere\.pem"),
    ),
    Fault(
        "syntax",
        "dovecot",
        {"dovecot_settings": {"login_greeting": "hello\n}"}},
        (r"/etc/dovecot/dovecot\.conf",),
    ),
    Fault(
        "setting",
        "dovecot",
        {"dovecot_settings": {"login_greeeting": "hello"}},
        (r"/etc/dovecot/dovecot\.conf, line \d+: ", "login_greeeting"),
    ),
    Fault(
        "table",
        "dovecot",
        {"dovecot_directory": "/var/lib/postoffice/nowhere.sqlite3"},
        (r"/etc/dovecot/", r"/var/lib/postoffice/nowhere\.sqlite3"),
    ),
    Fault(
        "certificate",
        "dovecot",
        {"dovecot_certificate": "/etc/postoffice/tls/nowhere.pem"},
        (r"/etc/dovecot/dovecot\.conf", r"/etc/postoffice/tls/nowhere\.pem"),
    ),
]
SILENT = [
    Fault(
        "silent",
        "postfix",
        {"postfix_settings": {"smtpd_delay_reject": False}, "postfix_client_restrictions": ["sleep 90"]},
        (),
    ),
    Fault("silent", "dovecot", {"dovecot_settings": {"service imap-login": {"executable": "/bin/false"}}}, ()),
]


def everything() -> ssl.SSLContext:
    """The certificate is the host's own; who it is, is not the question here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def tls(endpoint: tuple[str, int]) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(endpoint, timeout=10) as plain,
        everything().wrap_socket(plain, suppress_ragged_eofs=False) as connection,
    ):
        yield connection


def last_line(stream: TextIO, tag: str) -> str:
    """The answer to a command, after whatever the server says before."""
    while (line := stream.readline()) and not line.startswith(tag):
        pass
    return line


def assert_begins(line: str, wanted: str) -> None:
    if not line.startswith(wanted):
        raise ConnectionError(f"{line!r} instead of {wanted}")


@dataclass
class Clients:
    """Asks a service again and again, and remembers when it did not answer."""

    ask: Callable[[], None]
    answers: int = 0
    troubles: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def loop(self) -> None:
        while not self.ended.wait(0.1):
            begin = time.monotonic()
            try:
                self.ask()
                self.answers += 1
            except (OSError, smtplib.SMTPException) as error:
                self.troubles.append(f"{error!r} after {time.monotonic() - begin:.1f} s")


@pytest.fixture
def ask(target: Target) -> Mapping[str, Callable[[], None]]:
    def smtp() -> None:
        with smtplib.SMTP(*target.port("smtp"), local_hostname="client.example", timeout=10) as client:
            client.starttls(context=everything())
            client.ehlo()

    def imap() -> None:
        user = target.description["users"][0]
        identity = base64.b64encode("\0{address}\0{password}".format_map(user).encode()).decode()
        with tls(target.port("imaps")) as connection, connection.makefile("rw", newline="\r\n") as stream:
            assert_begins(stream.readline(), "* OK")
            stream.write(f"a AUTHENTICATE PLAIN {identity}\n")
            stream.flush()
            assert_begins(last_line(stream, "a "), "a OK")

    return {"postfix": smtp, "dovecot": imap}


def patient(ask: Callable[[], None]) -> Callable[[], None]:
    """As mail programs do: Dovecot cuts off who is just logging in when it reloads, and is there again at once.

    Twice in a row happens: the second connection may still reach a process that is about to leave.
    """

    def ask_again() -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return ask()
            except (ConnectionError, ssl.SSLEOFError) as error:
                if isinstance(error, ConnectionRefusedError) or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    return ask_again


@contextmanager
def clients(ask: Callable[[], None]) -> Iterator[Clients]:
    loop = Clients(ask)
    thread = threading.Thread(target=loop.loop)
    thread.start()
    try:
        yield loop
    finally:
        loop.ended.set()
        thread.join()


def files(host: Shell) -> list[str]:
    attributes = host.output("find", *FOLDERS, "-printf", "%p %y %l %m %u:%g %s\\n")
    contents = host.output("find", *FOLDERS, "-type", "f", "-exec", "sha256sum", "{}", "+")
    return sorted((attributes + contents).splitlines())


def names(fault: Fault) -> str:
    return f"{fault.role}-{fault.name}"


@pytest.mark.parametrize("fault", REFUSED, ids=names)
def test_what_cannot_work_is_refused_and_nobody_notices(
    fault: Fault, player: Player, host: Shell, ask: Mapping[str, Callable[[], None]]
) -> None:
    before = files(host)
    with clients(ask[fault.role]) as loop:
        played = player.roles([fault.role], fault.variables)
        wait_for(lambda: loop.answers > 3, "clients")
    assert played.status != 0
    for pattern in fault.said:
        assert re.search(pattern, played.output), played.output
    assert files(host) == before
    assert loop.troubles == []


@pytest.mark.parametrize("fault", SILENT, ids=names)
def test_what_passes_every_check_but_does_not_answer_is_taken_back(
    fault: Fault, player: Player, host: Shell, ask: Mapping[str, Callable[[], None]]
) -> None:
    before = files(host)
    played = player.roles([fault.role], fault.variables)
    assert played.status != 0
    assert f"{fault.role} does not answer with the new configuration" in played.output
    assert f"The old files are back, {fault.role} answers" in played.output
    assert files(host) == before
    ask[fault.role]()
    again = player.roles([fault.role], {})
    assert (again.status, again.changed) == (0, False), again.output


def served(role: str, target: Target) -> str:
    """The certificate that a client sees."""
    if role == "dovecot":
        with tls(target.port("imaps")) as connection:
            return pem(connection)
    with smtplib.SMTP(*target.port("smtp"), local_hostname="client.example", timeout=10) as mta:
        mta.starttls(context=everything())
        assert isinstance(mta.sock, ssl.SSLSocket)
        return pem(mta.sock)


def pem(connection: ssl.SSLSocket) -> str:
    return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"").strip()


def test_a_new_certificate_is_served_after_the_run(player: Player, host: Shell, target: Target) -> None:
    kept = "/run/postoffice-host-test"
    host.run("cp", "-a", "/etc/postoffice/tls", kept)
    try:
        old = {role: served(role, target) for role in ROLES}
        host.run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "30", "-subj", "/CN=new.example", "-keyout", KEY, "-out", CERTIFICATE),
        )
        new = host.output("openssl", "x509", "-in", CERTIFICATE).strip()
        played = player.roles(ROLES, {}, "--diff")
        assert played.output.count(f"{CERTIFICATE} is not what it was at the last reload") == len(ROLES)
        assert {role: served(role, target) for role in ROLES} == dict.fromkeys(ROLES, new)
    finally:
        host.run("cp", "-a", f"{kept}/.", "/etc/postoffice/tls/")
        host.run("rm", "-r", kept)
        assert player.roles(ROLES, {}).status == 0
    assert {role: served(role, target) for role in ROLES} == old


def process_of_run(host: Shell, role: str) -> str:
    """The process that holds the lock of the role's tree, once the swap has begun."""
    state = f"/var/lib/postoffice/config_tree/{role}"
    marked = host.run("test", "-e", f"{state}/pending.json", check=False).returncode == 0
    inode = host.output("stat", "-c", "%i", f"{state}/lock").strip()
    locks = [line.split() for line in host.output("cat", "/proc/locks").splitlines()]
    return next((lock[4] for lock in locks if marked and lock[5].endswith(f":{inode}")), "")


@pytest.mark.parametrize(
    ("role", "change"),
    [
        ("postfix", {"postfix_settings": {"delay_warning_time": "7h"}}),
        ("dovecot", {"dovecot_connections_per_user": 31}),
    ],
)
def test_after_a_kill_the_next_run_finishes_and_reports_it(
    role: str, change: Mapping[str, Any], player: Player, host: Shell, ask: Mapping[str, Callable[[], None]]
) -> None:
    try:
        with clients(patient(ask[role]) if role == "dovecot" else ask[role]) as loop:
            process = player.start_roles([role], change)
            host.run("kill", "-9", wait_for(lambda: process_of_run(host, role), "the swap", deadline=90))
            status, _unused = player.finish(process)
            assert status != 0
            finished = player.roles([role], change)
        assert (finished.status, finished.changed) == (0, True)
        assert loop.troubles == []
    finally:
        undone = player.roles([role], {}, "--diff")
        assert undone.status == 0
    assert "was interrupted" not in undone.output


def test_everything_is_as_it_was_in_the_end(player: Player, ask: Mapping[str, Callable[[], None]]) -> None:
    played = player.roles(ROLES, {}, "--check", "--diff")
    assert (played.status, played.changed) == (0, False), played.output
    for question in ask.values():
        question()
