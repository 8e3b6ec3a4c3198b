# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check and probe what the role opendmarc configures.

    opendmarc-config check|probe

check  what `opendmarc -n` says, and what it overlooks: files that are missing, and settings with which it would believe
       what a stranger writes about himself.
probe  hands a message to the running one, which has to judge it.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

SETTINGS = Path("/etc/postoffice/opendmarc.json")
CONFIGURATION = Path("/etc/opendmarc.conf")
OPENDMARC = "/usr/sbin/opendmarc"

NOT_INSTALLED = 127
CHECK_SECONDS = 20
PROBE_SECONDS = 30  # with what its resolver takes

FILES = ("PublicSuffixList", "IgnoreHosts", "DomainWhitelistFile")
NEEDED = ("SPFIgnoreResults", "SPFSelfValidate")
TRUE = ("t", "y", "1")


class ProblemError(Exception):
    """Something that an operator has to put right; the text says what and where."""


# Check


def options(text: str) -> Iterator[tuple[int, str, str]]:
    """Number, name and value of each option."""
    for number, line in enumerate(text.splitlines(), start=1):
        name, _blank, value = line.partition("#")[0].strip().partition(" ")
        if name:
            yield number, name, value.strip()


def problems(text: str) -> Iterator[str]:
    """What is wrong with the options though OpenDMARC takes them."""
    believed = dict.fromkeys(NEEDED, "false")
    for number, name, value in options(text):
        if name in FILES and not Path(value).is_file():
            yield f"{CONFIGURATION}:{number}: {name}: there is no file {value}"
        if name in NEEDED:
            believed[name] = value
    for name, value in believed.items():
        if value[:1].lower() not in TRUE:
            yield f"{CONFIGURATION}: {name} is {value}; SPF results that a stranger writes would be believed"


def check() -> Iterator[str]:
    if not Path(OPENDMARC).exists():
        print(f"{OPENDMARC} is not installed", file=sys.stderr)
        sys.exit(NOT_INSTALLED)
    done = subprocess.run(
        [OPENDMARC, "-n", "-c", str(CONFIGURATION)],
        capture_output=True,
        text=True,
        timeout=CHECK_SECONDS,
        check=False,
    )
    said = (done.stdout + done.stderr).strip()
    text = CONFIGURATION.read_text(encoding="utf-8")
    if done.returncode or said:
        yield located(said, text) or f"opendmarc -n: exit {done.returncode}"
    yield from problems(text)


def located(said: str, text: str) -> str:
    """What OpenDMARC says, with the line that it means."""
    lines = text.splitlines()

    def place(match: re.Match[str]) -> str:
        return f"{match['path']}:{match['number']}: {lines[int(match['number']) - 1]}: "

    pattern = r"^opendmarc: (?P<path>\S+): configuration error at line (?P<number>\d+): "
    return re.sub(pattern, place, said, flags=re.MULTILINE)


# Probe: the milter protocol, version 6.

STEPS = {b"C": 0x1, b"H": 0x2, b"M": 0x4, b"R": 0x8, b"B": 0x10, b"L": 0x20, b"N": 0x40}
VERSION, EVERY_ACTION, EVERY_STEP = 6, 0x1FF, 0x7F
ADD_HEADER, INSERT_HEADER, PROGRESS = b"h", b"i", b"p"
CONTINUE, ACCEPT, DEFER = b"c", b"a", b"t"


def send(connection: socket.socket, code: bytes, payload: bytes = b"") -> None:
    connection.sendall(struct.pack("!I", 1 + len(payload)) + code + payload)


def receive(stream: BinaryIO) -> tuple[bytes, bytes]:
    head = stream.read(4)
    content = stream.read(struct.unpack("!I", head)[0]) if len(head) == 4 else b""
    if not content:
        raise ConnectionError("OpenDMARC closed the connection")
    return content[:1], content[1:]


def macros(step: bytes, values: Mapping[str, str]) -> bytes:
    return step + b"".join(text.encode() + b"\0" for pair in values.items() for text in pair)


def results(path: str) -> list[str] | None:
    """The headers that the milter adds to a message of a stranger without a domain; None when it trusts the address."""
    sender = "probe@probe.invalid"
    commands = [
        (b"D", macros(b"C", {"j": "localhost"})),
        (b"C", b"probe.invalid\0" + b"4" + struct.pack("!H", 25) + b"192.0.2.1\0"),
        (b"H", b"probe.invalid\0"),
        (b"D", macros(b"M", {"i": "probe"})),
        (b"M", f"<{sender}>\0".encode()),
        (b"R", b"<postmaster>\0"),
        (b"L", f"From\0{sender}\0".encode()),
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
                        added.append(text[4 if answer == INSERT_HEADER else 0 :].rstrip(b"\0").decode())
                    answer, text = receive(stream)
                if answer == ACCEPT and code == b"C":
                    return None
                if answer in (ACCEPT, DEFER) and code == b"E":
                    break
                if answer != CONTINUE:
                    raise ProblemError(f"{path}: {answer!r} {text!r} at {code!r}")
            send(connection, b"Q")
    return added


def probe() -> Iterator[str]:
    path = json.loads(SETTINGS.read_text(encoding="utf-8"))["socket"]
    found = results(path)
    if found is not None and not any("spf=" in header for header in found):
        yield f"OpenDMARC says nothing about a message ({path})"


def main(arguments: Sequence[str]) -> int:
    """Return 0, or 1 with what is wrong on standard error."""
    commands: dict[str, Callable[[], Iterable[str]]] = {"check": check, "probe": probe}
    try:
        found = list(commands[arguments[0]]())
    except (OSError, ProblemError) as problem:
        found = [str(problem)]
    for text in found:
        print(text, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
