# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check, run and probe what the role opendkim configures.

    opendkim-config check [KEY...]|resolve NAME|reload|probe|run|stop

check    what `opendkim -n` says, and what it overlooks: keys that are missing or that OpenDKIM would not take, and
         senders without a key. KEY is a file that is yet to be made.
resolve  writes the configuration that an instance reads: with the resolvers of this host, whom it would not ask else.
reload   puts the configuration to work, also of an instance that is new or not wanted any more.
probe    asks the running ones: mail of a signed domain is signed, what a stranger sends as the same is not.
run      enables and starts the units; says what it did, or would (--dry-run).
stop     disables and stops the units; says so, too.
"""

from __future__ import annotations

import json
import pwd
import re
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

SETTINGS = Path("/etc/postoffice/opendkim.json")
RESOLVERS = Path("/etc/resolv.conf")
OPENDKIM = "/usr/sbin/opendkim"
NAMES = ("opendkim", "opendkim-ed25519")

NOT_INSTALLED = 127
CHECK_SECONDS = 20
PROBE_SECONDS = 5


class ProblemError(Exception):
    """Something that an operator has to put right; the text says what and where."""


@dataclass(frozen=True)
class Instance:
    """A process of OpenDKIM. `mode` is sv (signs and verifies) or s."""

    name: str
    algorithm: str
    mode: str
    socket: str

    @property
    def unit(self) -> str:
        return f"{self.name}.service"

    @property
    def configuration(self) -> Path:
        return Path(f"/etc/{self.name}.conf")

    @property
    def keys(self) -> Path:
        return Path(f"/etc/opendkim/{self.name}.keys")

    @property
    def senders(self) -> Path:
        return Path(f"/etc/opendkim/{self.name}.senders")

    @property
    def resolved(self) -> Path:
        """What the process reads."""
        return Path(self.socket).with_name("opendkim.conf")


@dataclass(frozen=True)
class Settings:
    """What the role wants of OpenDKIM."""

    instances: list[Instance]
    user: str
    originating: str

    @classmethod
    def load(cls) -> Settings:
        """Read the file that the role writes."""
        values: dict[str, Any] = json.loads(SETTINGS.read_text(encoding="utf-8"))
        return cls(**{**values, "instances": [Instance(**each) for each in values["instances"]]})


# Configuration files


def rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number, key and value of each line of a table."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            key, _blank, value = line.strip().partition(" ")
            yield number, key, value.strip()


def resolvers(text: str) -> list[str]:
    """The addresses in a resolv.conf(5)."""
    return re.findall(r"^nameserver[ \t]+([0-9A-Fa-f.:]+)\s*$", text, re.MULTILINE)


def with_resolvers(configuration: str, addresses: Sequence[str]) -> str:
    """OpenDKIM resolves by itself, from the root on, unless it is told whom to ask."""
    if not addresses or re.search(r"^\s*Nameservers\s", configuration, re.MULTILINE | re.IGNORECASE):
        return configuration
    return f"{configuration}Nameservers {','.join(addresses)}\n"


def complete(instance: Instance) -> str:
    """The configuration with what only the host knows."""
    return with_resolvers(
        instance.configuration.read_text(encoding="utf-8"), resolvers(RESOLVERS.read_text(encoding="utf-8"))
    )


def resolve(settings: Settings, name: str) -> Iterator[str]:
    for instance in settings.instances:
        if instance.name == name:
            new = instance.resolved.with_name(".opendkim.conf.new")
            new.write_text(complete(instance), encoding="utf-8")
            new.chmod(0o600)
            new.replace(instance.resolved)
            return
    yield f"there is no instance {name}"


# Check


def check(settings: Settings, foreseen: Sequence[str]) -> Iterator[str]:
    if not Path(OPENDKIM).exists():
        print(f"{OPENDKIM} is not installed", file=sys.stderr)
        sys.exit(NOT_INSTALLED)
    for instance in settings.instances:
        yield from check_syntax(instance)
        yield from check_tables(instance, settings.user, foreseen)


def check_syntax(instance: Instance) -> Iterator[str]:
    """OpenDKIM's own check of the file as it will read it."""
    with tempfile.NamedTemporaryFile("w", prefix="postoffice-opendkim-", suffix=".conf", encoding="utf-8") as file:
        file.write(complete(instance))
        file.flush()
        done = subprocess.run(
            [OPENDKIM, "-n", "-x", file.name], capture_output=True, text=True, timeout=CHECK_SECONDS, check=False
        )
        said = (done.stdout + done.stderr).strip().replace(file.name, str(instance.configuration))
        if done.returncode or said:
            yield located(said, complete(instance)) or f"opendkim -n: exit {done.returncode}"


def located(said: str, text: str) -> str:
    """What OpenDKIM says, with the line that it means."""
    lines = text.splitlines()

    def place(match: re.Match[str]) -> str:
        return f"{match['path']}:{match['number']}: {lines[int(match['number']) - 1]}: "

    pattern = r"^opendkim: (?P<path>\S+): configuration error at line (?P<number>\d+): "
    return re.sub(pattern, place, said, flags=re.MULTILINE)


def check_tables(instance: Instance, user: str, foreseen: Sequence[str]) -> Iterator[str]:
    names = set()
    for number, name, value in rows(instance.keys):
        names.add(name)
        path = value.split(":", 2)[-1]
        if path not in foreseen:
            for problem in key_problems(Path(path), user):
                yield f"{instance.keys}:{number}: {path} {problem}"
    for number, _sender, name in rows(instance.senders):
        if name not in names:
            yield f"{instance.senders}:{number}: there is no key {name}"


def key_problems(path: Path, user: str) -> Iterator[str]:
    """Why OpenDKIM, as its user, would not sign with a key. Its own check does not look."""
    try:
        found = path.stat()
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        yield f"cannot be read: {error.strerror}"
        return
    account = pwd.getpwnam(user)
    if "PRIVATE KEY-----" not in text:
        yield "is no private key"
    if found.st_mode & stat.S_IRWXO:
        yield "may be read by everybody"
    readable = (found.st_uid == account.pw_uid and found.st_mode & stat.S_IRUSR) or (
        found.st_gid == account.pw_gid and found.st_mode & stat.S_IRGRP
    )
    if not readable:
        yield f"cannot be read by {user}"


# Probe: the milter protocol, version 6.

STEPS = {b"C": 0x1, b"M": 0x4, b"R": 0x8, b"L": 0x20, b"N": 0x40}
VERSION, EVERY_ACTION, EVERY_STEP = 6, 0x1FF, 0x7F
ADD_HEADER, INSERT_HEADER, PROGRESS = b"h", b"i", b"p"
CONTINUE, ACCEPT = b"c", b"a"


def send(connection: socket.socket, code: bytes, payload: bytes = b"") -> None:
    connection.sendall(struct.pack("!I", 1 + len(payload)) + code + payload)


def receive(stream: BinaryIO) -> tuple[bytes, bytes]:
    head = stream.read(4)
    content = stream.read(struct.unpack("!I", head)[0]) if len(head) == 4 else b""
    if not content:
        raise ConnectionError("OpenDKIM closed the connection")
    return content[:1], content[1:]


def macros(step: bytes, values: Mapping[str, str]) -> bytes:
    return step + b"".join(text.encode() + b"\0" for pair in values.items() for text in pair)


def added_headers(path: str, service: str, sender: str) -> list[str]:
    """The names of the headers that a milter adds to a message that a service of the mail server got."""
    commands = [
        (b"D", macros(b"C", {"j": "localhost", "{daemon_name}": service})),
        (b"C", b"localhost\0" + b"4" + struct.pack("!H", 25) + b"192.0.2.1\0"),
        (b"D", macros(b"M", {"i": "probe"})),
        (b"M", f"<{sender}>\0".encode()),
        (b"R", b"<postmaster@probe.invalid>\0"),
        (b"L", f"From\0{sender}\0".encode()),
        (b"L", b"Subject\0OpenDKIM probe\0"),
        (b"N", b""),
        (b"B", b"Hello.\r\n"),
        (b"E", b""),
    ]
    added: list[str] = []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PROBE_SECONDS)
        connection.connect(path)
        with connection.makefile("rb") as stream:
            send(connection, b"O", struct.pack("!III", VERSION, EVERY_ACTION, EVERY_STEP))
            skipped = struct.unpack("!III", receive(stream)[1][:12])[2]
            for code, payload in commands:
                if skipped & STEPS.get(code, 0):
                    continue
                send(connection, code, payload)
                if code == b"D":
                    continue
                answer, text = receive(stream)
                while answer in (ADD_HEADER, INSERT_HEADER, PROGRESS):
                    if answer != PROGRESS:
                        added.append(text[4 if answer == INSERT_HEADER else 0 :].split(b"\0")[0].decode())
                    answer, text = receive(stream)
                if answer == ACCEPT:
                    break
                if answer != CONTINUE:
                    raise ProblemError(f"{path}: {answer!r} {text!r} to a message from {sender}")
            send(connection, b"Q")
    return added


def probe(settings: Settings) -> Iterator[str]:
    """The first sender of each instance is signed when the mail server says so; nobody else is."""
    for instance in settings.instances:
        for _number, sender, _key in rows(instance.senders):
            address = sender.replace("*", "probe")
            if "DKIM-Signature" not in added_headers(instance.socket, settings.originating, address):
                yield f"{instance.unit} does not sign mail of {address}"
            if "DKIM-Signature" in added_headers(instance.socket, "mail", address):
                yield f"{instance.unit} signs what strangers send as {address}"
            break
        else:
            added_headers(instance.socket, settings.originating, "probe@probe.invalid")


# Units


def systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)


def demand(*arguments: str) -> None:
    """Run systemctl; its failure is a problem."""
    done = systemctl(*arguments)
    if done.returncode:
        raise ProblemError(done.stderr.strip() or f"systemctl {' '.join(arguments)}: exit {done.returncode}")


def states(*units: str) -> dict[str, tuple[str, str]]:
    """Whether units are enabled, and whether they are active, in systemd's words."""
    shown = systemctl("show", "--property=Id,UnitFileState,ActiveState", *units).stdout
    found = [dict(line.split("=", 1) for line in block.splitlines()) for block in shown.strip().split("\n\n")]
    return {unit["Id"]: (unit["UnitFileState"], unit["ActiveState"]) for unit in found}


def reload(settings: Settings) -> Iterator[str]:
    """Reload or start what is wanted, now and at boot, and let nothing else run."""
    wanted = [instance.unit for instance in settings.instances]
    list(disable([f"{name}.service" for name in NAMES if f"{name}.service" not in wanted], dry=False))
    demand("reload-or-restart", *wanted)
    if disabled := [unit for unit, (enabled, _active) in states(*wanted).items() if enabled != "enabled"]:
        demand("enable", *disabled)
    yield from ()


def run(settings: Settings, *, dry: bool) -> Iterator[str]:
    """Enable and start what has to be; yields what was done."""
    for unit, (enabled, active) in states(*(instance.unit for instance in settings.instances)).items():
        if enabled != "enabled" or active != "active":
            if not dry:
                demand("enable", "--now", unit)
            yield f"started {unit}"


def disable(units: Sequence[str], *, dry: bool) -> Iterator[str]:
    """Disable and stop what is installed; yields what was done."""
    for unit, (enabled, active) in states(*units).items() if units else ():
        if enabled == "enabled" or active not in ("inactive", "failed"):
            if not dry:
                demand("disable", "--now", unit)
            yield f"disabled {unit}"


def main(arguments: Sequence[str]) -> int:
    """Return 0, or 1 with what is wrong on standard error. What was done goes to standard output."""
    command, *rest = arguments
    dry = "--dry-run" in rest
    settings = Settings.load()
    doing: dict[str, Callable[[], Iterable[str]]] = {
        "run": lambda: run(settings, dry=dry),
        "stop": lambda: disable([f"{name}.service" for name in NAMES], dry=dry),
    }
    judging: dict[str, Callable[[], Iterable[str]]] = {
        "check": lambda: check(settings, rest),
        "resolve": lambda: resolve(settings, *rest),
        "reload": lambda: reload(settings),
        "probe": lambda: probe(settings),
    }
    try:
        for line in doing[command]() if command in doing else ():
            print(line)
        problems = list(judging[command]()) if command in judging else []
    except (OSError, ProblemError) as problem:
        problems = [str(problem)]
    for text in problems:
        print(text, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
