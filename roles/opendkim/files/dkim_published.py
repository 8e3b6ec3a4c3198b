# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the nameservers of each domain whether they have the records of its DKIM keys.

Reads `[{"name": ..., "value": ...}]` from standard input. Resolvers may still have what was there before; so each of
the zone's own nameservers is asked. Writes a line for each that does not have a record, and exits with 1 then.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

RESOLVERS = Path("/etc/resolv.conf")
PORT = 53
SECONDS = 5
ATTEMPTS = 2
NS, TXT, OPT, INTERNET = 2, 16, 41, 1
RECURSION_DESIRED, TRUNCATED, RCODE = 0x0100, 0x0200, 0x000F
NOERROR, NXDOMAIN = 0, 3
PAYLOAD = 1232  # octets; what passes everywhere without fragments

# Sends a question to an address and returns the answer.
Ask = Callable[[str, bytes], bytes]


class DnsError(Exception):
    """A server that does not answer, or with something else than an answer."""


@dataclass(frozen=True)
class Answer:
    """What a server said; `data` has type and content of each record, names in them expanded."""

    rcode: int
    data: Sequence[tuple[int, str]]

    def of(self, kind: int) -> list[str]:
        return [text for each, text in self.data if each == kind]


def encoded(name: str) -> bytes:
    """A name in its wire format (RFC 1035, 3.1)."""
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def question(name: str, kind: int, *, recursive: bool) -> bytes:
    """A query with a random number, for answers up to PAYLOAD octets (RFC 6891)."""
    flags = RECURSION_DESIRED if recursive else 0
    head = struct.pack("!6H", secrets.randbelow(0x10000), flags, 1, 0, 0, 1)
    return head + encoded(name) + struct.pack("!2H", kind, INTERNET) + b"\0" + struct.pack("!2HIH", OPT, PAYLOAD, 0, 0)


def decoded(message: bytes, at: int) -> tuple[str, int]:
    """The name at a place, and where it ends."""
    labels: list[str] = []
    end = 0
    for _jump in range(256):
        length = message[at]
        if length >= 0xC0:
            end = end or at + 2
            at = struct.unpack_from("!H", message, at)[0] & 0x3FFF
        elif length == 0:
            return ".".join(labels), end or at + 1
        else:
            labels.append(message[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
            at += 1 + length
    raise DnsError("an answer without end")


def read(message: bytes, asked: bytes) -> Answer:
    """Read an answer to a question."""
    try:
        number, flags, questions, answers = struct.unpack_from("!4H", message)
        if number != struct.unpack_from("!H", asked)[0]:
            raise DnsError("an answer to another question")
        at = 12
        for _question in range(questions):
            at = decoded(message, at)[1] + 4
        data: list[tuple[int, str]] = []
        for _answer in range(answers):
            at = decoded(message, at)[1]
            kind, _class, _ttl, length = struct.unpack_from("!2HIH", message, at)
            at += 10
            if kind == NS:
                data.append((kind, decoded(message, at)[0]))
            elif kind == TXT:
                data.append((kind, joined(message[at : at + length])))
            at += length
    except (IndexError, struct.error):
        raise DnsError("an answer that cannot be read") from None
    return Answer(flags & RCODE, data)


def joined(data: bytes) -> str:
    """The strings of a TXT record, one behind the other."""
    text = b""
    while data:
        text, data = text + data[1 : 1 + data[0]], data[1 + data[0] :]
    return text.decode("utf-8", "replace")


def ask(address: str, message: bytes) -> bytes:
    """By UDP, and by TCP when the answer is too long for that."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    problem: OSError | None = None
    for _attempt in range(ATTEMPTS):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asking:
                asking.settimeout(SECONDS)
                asking.connect((address, PORT))
                asking.send(message)
                answer = asking.recv(65535)
            if len(answer) >= 4 and struct.unpack_from("!H", answer, 2)[0] & TRUNCATED:
                answer = ask_by_tcp(family, address, message)
            return answer
        except OSError as error:
            problem = error
    raise DnsError(f"does not answer: {problem}")


def ask_by_tcp(family: int, address: str, message: bytes) -> bytes:
    with socket.socket(family, socket.SOCK_STREAM) as asking:
        asking.settimeout(SECONDS)
        asking.connect((address, PORT))
        asking.sendall(struct.pack("!H", len(message)) + message)
        with asking.makefile("rb") as stream:
            length = struct.unpack("!H", stream.read(2).ljust(2, b"\0"))[0]
            return stream.read(length)


def lookup(asking: Ask, address: str, name: str, kind: int, *, recursive: bool) -> Answer:
    message = question(name, kind, recursive=recursive)
    return read(asking(address, message), message)


def nameservers(asking: Ask, resolvers: Sequence[str], name: str) -> list[str]:
    """The servers of the zone in which a name is: those of the closest name above that has any."""
    labels = name.split(".")
    for start in range(len(labels)):
        zone = ".".join(labels[start:])
        for number, resolver in enumerate(resolvers, start=1):
            try:
                answer = lookup(asking, resolver, zone, NS, recursive=True)
            except DnsError:
                if number == len(resolvers):
                    raise
                continue
            if answer.rcode not in (NOERROR, NXDOMAIN):
                raise DnsError(f"the resolver {resolver} cannot say who has {zone}")
            if answer.of(NS):
                return sorted(answer.of(NS))
            break
    raise DnsError(f"nobody has {name}")


def addresses(server: str) -> list[str]:
    try:
        found = socket.getaddrinfo(server, PORT, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise DnsError(f"has no address: {error}") from None
    return [str(each[4][0]) for each in found]


def tags(text: str) -> dict[str, str]:
    """The tags of a key record; blanks and order mean nothing (RFC 6376, 3.2)."""
    pairs = (part.partition("=") for part in text.split(";") if part.strip())
    return {name.strip(): re.sub(r"\s", "", value) for name, _sign, value in pairs}


def server_has(asking: Ask, server: str, name: str, value: str, find: Callable[[str], list[str]]) -> str:
    """What is wrong at one server, or nothing. One of its addresses has to answer; no answer may be another one."""
    silent = "does not answer"
    answered = False
    for address in find(server):
        try:
            answer = lookup(asking, address, name, TXT, recursive=False)
        except DnsError as error:
            silent = f"{address} {error}"
            continue
        answered = True
        texts = answer.of(TXT)
        if not texts:
            return "does not have it"
        if [tags(text) for text in texts] != [tags(value)]:
            return "has another one" if len(texts) == 1 else f"has {len(texts)} of that name"
    return "" if answered else silent


def problems(
    records: Sequence[dict[str, str]], resolvers: Sequence[str], asking: Ask, find: Callable[[str], list[str]]
) -> Iterator[str]:
    for record in records:
        try:
            servers = nameservers(asking, resolvers, record["name"])
        except DnsError as error:
            yield f"{record['name']}: {error}"
            continue
        for server in servers:
            try:
                wrong = server_has(asking, server, record["name"], record["value"], find)
            except DnsError as error:
                wrong = str(error)
            if wrong:
                yield f"{record['name']}: {server} {wrong}"


def main() -> int:
    resolvers = re.findall(r"^nameserver[ \t]+(\S+)", RESOLVERS.read_text(encoding="utf-8"), re.MULTILINE)
    found = list(problems(json.load(sys.stdin), resolvers, ask, addresses))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
