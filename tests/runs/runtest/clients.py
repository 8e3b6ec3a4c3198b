# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that use the server again and again while something happens to it.

Another mail server never tries the same thing twice. A mail program whose log-in Dovecot cuts off, which a reload of
Dovecot does, connects again at once; it has a place of its own in the diary. So has one that Dovecot 2.3 tells to try
again: a reload ends its auth-worker while that is being asked, and what it would have answered becomes UNAVAILABLE.
"""

from __future__ import annotations

import base64
import heapq
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedIOBase

from ansible_collections.postoffice.mail.tests.e2e.mailtest.deployment import Endpoint
from ansible_collections.postoffice.mail.tests.e2e.mailtest.tls import any_certificate

from .host import Host
from .inventories import ALICE

INTERVAL = 0.1  # seconds from one visit to the next
PATIENCE = 10.0  # seconds that a client waits for an answer
PUT_OFF = "a NO [UNAVAILABLE]"
IN_AGAIN = 5.0  # seconds in which somebody who was cut off must be in


class WrongAnswer(Exception):
    """The server answered, though not what it should."""


class CutOff(Exception):
    """The server ended the connection before it answered the log-in, or put it off (UNAVAILABLE, RFC 5530)."""


@dataclass(frozen=True)
class Experience:
    """Something worth telling: when it was over (seconds since the epoch), where, how long it took (seconds), what."""

    moment: float
    service: str
    took: float
    what: str

    def __str__(self) -> str:
        return f"{clock(self.moment)} {self.service}: {self.what} (after {self.took:.2f} s)"


@dataclass
class Diary:
    """What the client of one service experienced."""

    service: str
    visits: list[Experience] = field(default_factory=list)
    failures: list[Experience] = field(default_factory=list)
    cut_offs: list[Experience] = field(default_factory=list)

    @property
    def slowest(self) -> list[Experience]:
        return heapq.nlargest(3, self.visits, key=lambda visit: visit.took)

    def experience(self, began: float, what: str) -> Experience:
        now = time.time()
        return Experience(now, self.service, now - began, what)

    def __str__(self) -> str:
        counts = f"{len(self.visits)} visits, {len(self.failures)} failures, {len(self.cut_offs)} cut-offs"
        slow = ", ".join(f"{visit.took:.2f} s at {clock(visit.moment)}" for visit in self.slowest)
        told = [f"{self.service}: {counts}; slowest: {slow}", *map(str, self.failures), *map(str, self.cut_offs)]
        return "\n  ".join(told)


def clock(moment: float) -> str:
    """The time of day in UTC, with milliseconds."""
    return f"{time.strftime('%H:%M:%S', time.gmtime(moment))}.{int(moment % 1 * 1000):03}"


def ask_smtp(endpoint: Endpoint) -> None:
    """Another mail server, which is greeted and asks whether alice gets mail."""
    with smtplib.SMTP(endpoint.host, endpoint.port, local_hostname="mx.outside.example", timeout=PATIENCE) as mx:
        mx.ehlo()
        replies = [mx.mail("stranger@outside.example"), mx.rcpt(ALICE[0])]
    refused = [reply for reply in replies if reply[0] != 250]
    if refused:
        raise WrongAnswer(str(refused))


def ask_imap(endpoint: Endpoint) -> None:
    """Alice, who logs in and looks at her inbox.

    Raises CutOff only for a connection that was made and then ended without an answer to the log-in, or put off there.
    """
    with socket.create_connection((endpoint.host, endpoint.port), timeout=PATIENCE) as plain:
        stage = "the handshake"
        try:
            with any_certificate().wrap_socket(plain) as connection, connection.makefile("rwb") as stream:
                stage = "the greeting"
                expect(stream, b"* OK", b"*")
                stage = "the log-in"
                identity = base64.b64encode("\0{}\0{}".format(*ALICE).encode())
                try:
                    command(stream, b"a", b"AUTHENTICATE PLAIN " + identity)
                except WrongAnswer as error:
                    if str(error).startswith(PUT_OFF):
                        raise CutOff(f"the log-in was put off: {error}") from error
                    raise
                stage = ""
                command(stream, b"b", b"EXAMINE INBOX")
                command(stream, b"c", b"LOGOUT")
        except (ConnectionError, EOFError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            if not stage:
                raise
            raise CutOff(f"{stage} was not answered: {error!r}") from error


def command(stream: BufferedIOBase, tag: bytes, text: bytes) -> None:
    """Say something to an IMAP server that must answer OK."""
    stream.write(tag + b" " + text + b"\r\n")
    stream.flush()
    expect(stream, tag + b" OK", tag + b" ")


def expect(stream: BufferedIOBase, wanted: bytes, mark: bytes) -> None:
    """Read up to the line that begins with the mark; it must begin as wanted.

    Raises EOFError when the server leaves instead, with or without a word.
    """
    last = b""
    while line := stream.readline():
        last = line.strip()
        if line.startswith(mark) and not line.startswith(b"* BYE"):
            if not line.startswith(wanted):
                raise WrongAnswer(last.decode(errors="replace"))
            return
    raise EOFError(last.decode(errors="replace"))


def patient(ask: Callable[[Endpoint], None], diary: Diary) -> Callable[[Endpoint], None]:
    """As mail programs do: connect again at once after being cut off, and be in within seconds."""

    def is_in(endpoint: Endpoint) -> bool:
        began = time.time()
        try:
            ask(endpoint)
        except CutOff as error:
            diary.cut_offs.append(diary.experience(began, str(error)))
            return False
        return True

    def ask_again(endpoint: Endpoint) -> None:
        if is_in(endpoint):
            return
        deadline = time.time() + IN_AGAIN
        while not is_in(endpoint) and time.time() < deadline:
            pass
        if time.time() > deadline:
            raise CutOff(f"not in again within {IN_AGAIN:.0f} s")

    return ask_again


@contextmanager
def clients(host: Host) -> Iterator[dict[str, Diary]]:
    """Both clients at work until the end of the block; their diaries can be read at any time."""
    diaries = {service: Diary(service) for service in ("smtp", "imaps")}
    asking = {"smtp": ask_smtp, "imaps": patient(ask_imap, diaries["imaps"])}
    stop = threading.Event()

    def go_on(diary: Diary, ask: Callable[[Endpoint], None]) -> None:
        endpoint = host.port(diary.service)
        while not stop.is_set():
            began = time.time()
            try:
                ask(endpoint)
            except (OSError, EOFError, smtplib.SMTPException, CutOff, WrongAnswer) as error:
                diary.failures.append(diary.experience(began, repr(error)))
            diary.visits.append(diary.experience(began, "a visit"))
            stop.wait(max(began + INTERVAL - time.time(), 0))

    threads = [threading.Thread(target=go_on, args=(diaries[service], ask)) for service, ask in asking.items()]
    for thread in threads:
        thread.start()
    try:
        yield diaries
    finally:
        stop.set()
        for thread in threads:
            thread.join()
