# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks Postfix and Dovecot for recipients and users, as their clients do, and takes the time. Runs on the host.

The first line of standard input is the settings, each further one says what goes on meanwhile. Its end ends this
program, which then prints every answer as JSON: [what, meanwhile, begin, seconds, trouble]. When the settings name the
live file and the published one as `probe`, the list also has the times during which the first let no reader in, and the
moments in which the second was replaced.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import socket
import sqlite3
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from io import BufferedRWPair

TIMEOUT = 30.0
HOST = "127.0.0.1"
KEPT = 80  # after 100 RSETs without a message Postfix counts each as an error
PROBE_SECONDS = 0.002


def expect(stream: BufferedRWPair, wanted: str) -> None:
    """Read one reply, of however many lines."""
    while (line := stream.readline())[3:4] == b"-":
        pass
    if not line.startswith(wanted.encode()):
        raise ConnectionError(f"{line!r} instead of {wanted}")


def say(stream: BufferedRWPair, line: str, wanted: str) -> None:
    stream.write(f"{line}\r\n".encode())
    stream.flush()
    expect(stream, wanted)


@contextmanager
def smtp() -> Iterator[BufferedRWPair]:
    """A session that has said EHLO."""
    with socket.create_connection((HOST, 25), TIMEOUT) as connection, connection.makefile("rwb") as stream:
        expect(stream, "220")
        say(stream, "EHLO client.example", "250")
        yield stream


def ask_recipient(stream: BufferedRWPair, recipient: str, reply: str) -> None:
    say(stream, "MAIL FROM:<>", "250")
    say(stream, f"RCPT TO:<{recipient}>", reply)


class Users:
    """The protocol by which Dovecot's own services look up users."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect("/run/dovecot/auth-userdb")
        self.stream = self.socket.makefile("rwb")
        self.stream.write(b"VERSION\t1\t0\n")
        self.stream.flush()
        while not self.stream.readline().startswith(b"SPID\t"):
            pass
        self.numbers = itertools.count(1)

    def close(self) -> None:
        self.stream.close()
        self.socket.close()

    def ask(self, address: str) -> str:
        """The answer: USER with its fields, NOTFOUND, or FAIL."""
        number = next(self.numbers)
        self.stream.write(f"USER\t{number}\t{address}\tservice=lmtp\n".encode())
        self.stream.flush()
        kind, answered, *fields = [*self.stream.readline().decode().rstrip("\n").split("\t"), ""]
        if answered != str(number):
            raise ConnectionError(f"{kind} instead of an answer")
        return "\t".join((kind, *fields))


def log_in(address: str, password: str) -> None:
    """IMAP over TLS, from the connection on."""
    identity = base64.b64encode(f"\0{address}\0{password}".encode()).decode()
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((HOST, 993), TIMEOUT) as plain,
        context.wrap_socket(plain) as connection,
        closing(connection.makefile("rwb")) as stream,
    ):
        stream.readline()
        stream.write(f"a AUTHENTICATE PLAIN {identity}\r\n".encode())
        stream.flush()
        while not (line := stream.readline()).startswith(b"a "):
            if not line:
                raise ConnectionError("the connection ended")
        if not line.startswith(b"a OK"):
            raise ConnectionError(repr(line))
        say(stream, "b LOGOUT", "* BYE")


class Asker:
    """Addresses to ask for, each with the beginning of the reply that is right.

    A kept session hears of known recipients only: Postfix slows down whoever asks for many others, and then hangs up.
    """

    def __init__(self, recipients: dict[str, str], users: dict[str, str], login: Sequence[str]) -> None:
        self.recipients = itertools.cycle(recipients.items())
        self.known = itertools.cycle([address for address, reply in recipients.items() if reply == "250"])
        self.users = itertools.cycle(users.items())
        self.login = login

    def new_session(self) -> None:
        recipient, reply = next(self.recipients)
        with smtp() as stream:
            ask_recipient(stream, recipient, reply)
            say(stream, "QUIT", "221")

    def kept_session(self) -> Callable[[], None]:
        sessions = self.sessions()
        numbers = itertools.count()
        stream = next(sessions)

        def ask() -> None:
            nonlocal stream
            if next(numbers) % KEPT == KEPT - 1:
                stream = next(sessions)
            say(stream, "RSET", "250")
            ask_recipient(stream, next(self.known), "250")

        return ask

    def sessions(self) -> Iterator[BufferedRWPair]:
        """One after another, each until the next is wanted."""
        while True:
            with smtp() as stream:
                yield stream

    def user(self) -> Callable[[], None]:
        users = Users()

        def ask() -> None:
            address, wanted = next(self.users)
            if not (answer := users.ask(address)).startswith(wanted):
                raise ConnectionError(f"{answer} instead of {wanted}")

        return ask

    def log_in(self) -> None:
        log_in(*self.login)


Answer = tuple[str, str, float, float, str]


class Watch:
    """Asks at a steady rate, in threads, and notes every answer."""

    def __init__(self) -> None:
        self.meanwhile = ""
        self.answers: list[Answer] = []
        self.ended = threading.Event()
        self.threads: list[threading.Thread] = []

    def start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)
        thread.start()
        self.threads.append(thread)

    def ask(self, what: str, interval: float, ask: Callable[[], None]) -> None:
        due = time.monotonic()
        while not self.ended.wait(max(0.0, due - time.monotonic())):
            meanwhile, trouble, begin = self.meanwhile, "", time.monotonic()
            try:
                ask()
            except OSError as error:
                trouble = f"{type(error).__name__}: {error}"
            self.answers.append((what, meanwhile, begin, time.monotonic() - begin, trouble))
            due = max(due + interval, begin)

    def probe(self, path: str, published: str) -> None:
        """When Dovecot may have to wait, and when Postfix's lookups go over to another file."""
        closed: float | None = None
        known = os.stat(published).st_ino
        while not self.ended.wait(PROBE_SECONDS):
            meanwhile, begin = self.meanwhile, time.monotonic()
            if (found := os.stat(published).st_ino) != known:
                known = found
                self.answers.append(("published", meanwhile, begin, 0.0, ""))
            try:
                with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=0)) as connection:
                    connection.execute("SELECT count(*) FROM postfix_domain").fetchone()
            except sqlite3.Error:
                closed = closed or begin
                continue
            if closed:
                self.answers.append(("live file closed", meanwhile, closed, begin - closed, ""))
                closed = None

    def stop(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


def main() -> None:
    settings = json.loads(sys.stdin.readline())
    asker = Asker(settings["recipients"], settings["users"], settings["login"])
    watch = Watch()
    kinds: dict[str, Callable[[], Callable[[], None]]] = {
        "SMTP, new session": lambda: asker.new_session,
        "SMTP, kept session": asker.kept_session,
        "Dovecot, user": asker.user,
        "Dovecot, log-in": lambda: asker.log_in,
    }
    for what, (threads, rate) in settings["rates"].items():
        for _number in range(threads):
            watch.start(watch.ask, what, threads / rate, kinds[what]())
    if settings.get("probe"):
        watch.start(watch.probe, *settings["probe"])
    print("asking", flush=True)
    for line in sys.stdin:
        watch.meanwhile = line.strip()
    watch.stop()
    json.dump(watch.answers, sys.stdout)


if __name__ == "__main__":
    main()
