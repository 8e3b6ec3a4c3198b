# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boots a mail server, deploys it with the demo's inventory, sends mail through it and says how to play with it."""

from __future__ import annotations

import imaplib
import json
import os
import re
import secrets
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any, NoReturn

CHECKOUT = Path(__file__).resolve().parent.parent
BUILD = CHECKOUT / "build"
FOLDER = BUILD / "hosts" / "demo"
LOG = BUILD / "logs" / "demo.log"
TASK = re.compile(r"^TASK \[(?:postoffice\.mail\.)?(?P<role>\w+) : (?P<task>.*)\] \*+$")
RECAP = re.compile(r"^server +: ok=(?P<ok>\d+) +changed=(?P<changed>\d+)")
ARRIVAL = 30.0  # seconds that a message may take
PEOPLE = ("alice", "bob")


def fail(message: str) -> NoReturn:
    sys.exit(f"\n{message}")


class Screen:
    """Says what is going on: one line for each step, and on a terminal what the step is at."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self.begin = time.monotonic()

    def start(self) -> None:
        self.begin = time.monotonic()

    def at(self, what: str) -> None:
        """What the current step is doing; overwritten by the next."""
        if self.live:
            seconds = f"{time.monotonic() - self.begin:.0f} s"
            print(f"\r\033[K  {'':10} \033[2m{what[:66]:66} {seconds:>6}\033[0m", end="", flush=True)

    def note(self, what: str) -> None:
        """The same where lines cannot be overwritten, so more rarely."""
        if not self.live:
            print(f"  {'':10} {what[:66]:66} {time.monotonic() - self.begin:5.1f} s", flush=True)

    def done(self, name: str, what: str) -> None:
        start = "\r\033[K" if self.live else ""
        print(f"{start}  {name:10} {what:66} {time.monotonic() - self.begin:5.1f} s", flush=True)


@dataclass(frozen=True)
class Server:
    """The demo's mail server as build/demo.json describes it."""

    description: dict[str, Any]
    tls: ssl.SSLContext

    def endpoint(self, service: str) -> tuple[str, int]:
        host, _separator, port = self.description["ports"][service].rpartition(":")
        return host, int(port)

    @property
    def hostname(self) -> str:
        return str(self.description["hostname"])

    def user(self, name: str) -> tuple[str, str]:
        """Address and password of somebody."""
        found = next(user for user in self.description["users"] if user["address"].startswith(f"{name}@"))
        return found["address"], found["password"]


class Smtp(smtplib.SMTP):
    """A session with a server that is reached by address, and whose certificate bears its name."""

    def __init__(self, server: Server, service: str) -> None:
        super().__init__(*server.endpoint(service), local_hostname="friend.outside.example", timeout=30)
        self._host = server.hostname
        self.starttls(context=server.tls)


class Imap(imaplib.IMAP4_SSL):
    """A session over IMAPS; as above."""

    def __init__(self, server: Server) -> None:
        self.name = server.hostname
        host, port = server.endpoint("imaps")
        super().__init__(host, port, ssl_context=server.tls, timeout=30)

    def _create_socket(self, timeout: float | None) -> ssl.SSLSocket:
        plain: socket.socket = imaplib.IMAP4._create_socket(self, timeout)  # type: ignore[attr-defined]
        wrapped: ssl.SSLSocket = self.ssl_context.wrap_socket(plain, server_hostname=self.name)
        return wrapped


def message(sender: str, recipient: str, subject: str) -> EmailMessage:
    written = EmailMessage()
    written["From"], written["To"], written["Subject"] = sender, recipient, subject
    written["Date"], written["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2])
    written.set_content("Does it arrive?\n")
    return written


def wait_for_message(server: Server, name: str, sent: EmailMessage) -> str:
    """Looks into somebody's inbox until the message is there; returns its subject as the server gives it."""
    deadline = time.monotonic() + ARRIVAL
    with closing(Imap(server)) as inbox:
        inbox.login(*server.user(name))
        while time.monotonic() < deadline:
            inbox.select("INBOX", readonly=True)
            _status, found = inbox.search(None, "HEADER", "Message-ID", str(sent["Message-ID"]))
            if found[0]:
                number = found[0].split()[-1].decode()
                _status, answer = inbox.fetch(number, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
                return str(answer[0][1].decode().partition(":")[2].strip())  # type: ignore[index, union-attr]
            time.sleep(0.1)
    fail(f"The message did not arrive within {ARRIVAL:.0f} s. A shell on the host: {server.description['ssh']}")


def passwords() -> Path:
    """Made up once for each demo, in a file that only its owner reads."""
    path = FOLDER / "passwords.json"
    if not path.exists():
        path.touch(mode=0o600)
        made = {person: secrets.token_urlsafe(9) for person in PEOPLE}
        path.write_text(json.dumps({"demo_passwords": made}), encoding="utf-8")
    return path


def boot(screen: Screen) -> None:
    screen.start()
    command = [sys.executable, str(CHECKOUT / "tools" / "hosts.py"), "up", "demo", "--suite", "trixie", "--publish"]
    said = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            said = line.strip()
            screen.at(said)
            screen.note(said)
    if process.returncode != 0:
        fail("The host did not boot; what stopped it is said above.")
    reused = "already" in said
    screen.done("host", "the Debian 13 of before is still there" if reused else "booted a bare Debian 13")


def deploy(screen: Screen) -> None:
    screen.start()
    command = [
        "ansible-playbook",
        f"--inventory={CHECKOUT / 'inventories' / 'demo'}",
        f"--inventory={FOLDER / 'inventory'}",
        f"--extra-vars=@{passwords()}",
        str(CHECKOUT / "playbooks" / "site.yml"),
        str(CHECKOUT / "molecule" / "shared" / "describe.yml"),
    ]
    LOG.parent.mkdir(parents=True, exist_ok=True)
    recap, role = "", ""
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    with (
        LOG.open("w", encoding="utf-8") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as process,
    ):
        for line in process.stdout or ():
            log.write(line)
            if task := TASK.match(line):
                screen.at(f"{task['role']}: {task['task']}")
                if task["role"] != role:
                    role = task["role"]
                    screen.note(f"role {role} ...")
            elif (counted := RECAP.match(line)) and not recap:
                changed = f"{counted['changed']} changes" if counted["changed"] != "0" else "nothing to change"
                recap = f"{counted['ok']} tasks, {changed}"
    if process.returncode != 0:
        tail = LOG.read_text(encoding="utf-8").splitlines()[-40:]
        fail("\n".join([*tail, "", f"The deployment failed; all of it: {LOG.relative_to(CHECKOUT)}"]))
    screen.done("deployment", f"playbooks/site.yml: {recap}")


def connect() -> Server:
    """Trusts exactly the certificate that the server made for itself."""
    description = json.loads((BUILD / "demo.json").read_text(encoding="utf-8"))
    read = [*description["ssh"].split(), "cat /etc/postoffice/tls/fullchain.pem"]
    certificate = subprocess.run(read, check=True, capture_output=True, text=True).stdout
    return Server(description, ssl.create_default_context(cadata=certificate))


def receive(screen: Screen, server: Server) -> None:
    screen.start()
    address, _password = server.user("alice")
    sent = message("friend@outside.example", address, "Hello from outside")
    with Smtp(server, "smtp") as session:
        version = session.sock.version()  # type: ignore[union-attr]
        session.send_message(sent)
    screen.done("in", f"friend@outside.example to {address}, port 25, {version}")
    read_back(screen, server, "alice", sent)


def submit(screen: Screen, server: Server) -> None:
    screen.start()
    (sender, password), (recipient, _password) = server.user("bob"), server.user("alice")
    sent = message(sender, recipient, "Hello from bob")
    with Smtp(server, "submission") as session:
        session.login(sender, password)
        session.send_message(sent)
    screen.done("submission", f"{sender} to {recipient}, port 587, logged in")
    read_back(screen, server, "alice", sent)


def read_back(screen: Screen, server: Server, name: str, sent: EmailMessage) -> None:
    screen.start()
    screen.at("waiting for it over IMAPS")
    subject = wait_for_message(server, name, sent)
    screen.done("read", f"{name} has {subject!r} over IMAPS")


def farewell(server: Server) -> None:
    ports = server.description["ports"]
    print(f"\nYour mail server {server.hostname} is up, on this machine only.\n")
    for user in server.description["users"]:
        print(f"  user {user['address']:22} password {user['password']}")
    print(f"\n  IMAP    {ports['imaps']} (TLS), {ports['imap']} (STARTTLS)")
    print(f"  send    {ports['submissions']} (TLS), {ports['submission']} (STARTTLS)")
    print(f"  port 25 {ports['smtp']}   Sieve {ports['managesieve']}")
    print(f"  page    https://{ports['https']}/, what its people read")
    print(f"  shell   {server.description['ssh']}")
    print("\nThe certificate is the server's own, so mail programs ask. All of this is in build/demo.json.")
    print("`make demo` again keeps it; `make demo-down` removes it.")


def main() -> None:
    print("A mail server from one inventory\n", flush=True)
    begin = time.monotonic()
    screen = Screen()
    steps: tuple[Callable[[Screen], None], ...] = (boot, deploy)
    for step in steps:
        step(screen)
    server = connect()
    receive(screen, server)
    submit(screen, server)
    screen.begin = begin
    screen.done("together", "")
    farewell(server)


if __name__ == "__main__":
    main()
