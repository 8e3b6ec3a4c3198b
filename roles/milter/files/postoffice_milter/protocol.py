# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets and numbers of the milter protocol, version 6, as sendmail's libmilter defines it (mfdef.h) and Postfix
speaks it (MILTER_README): four octets of length, one of a command or an answer, and what belongs to it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

VERSION = 6
OLDEST_VERSION = 2
# Postfix sends a field of header_size_limit octets at most (102,400), a body in chunks of 65,535.
PACKET_LIMIT = 1024 * 1024

ADD_FIELDS, CHANGE_FIELDS, SET_MACROS = 0x1, 0x10, 0x100
ALL_ACTIONS = 0x1FF
ALL_STEPS = 0x1FFFFF
# Steps that a milter does not want to hear of, and those that it does not answer.
NO_CONNECT, NO_HELO, NO_BODY, NO_UNKNOWN, NO_HEADER_REPLY = 0x1, 0x2, 0x10, 0x100, 0x80
# Of a body, the milter may skip the rest.
CAN_SKIP = 0x400
MACROS_OF_CONNECTION, MACROS_OF_MAIL, MACROS_OF_RECIPIENT, MACROS_OF_MESSAGE = 0, 2, 3, 5

NEGOTIATE, MACROS, ABORT, QUIT, QUIT_BUT_STAY = b"O", b"D", b"A", b"Q", b"K"
CONNECT, HELO, MAIL, RECIPIENT, DATA, UNKNOWN = b"C", b"H", b"M", b"R", b"T", b"U"
HEADER, END_OF_HEADERS, BODY, END_OF_MESSAGE = b"L", b"N", b"B", b"E"
CONTINUE, ACCEPT, REJECT, TEMPFAIL, REPLY, SKIP, DISCARD = (code.encode() for code in "cartysd")
PROGRESS, INSERT_FIELD, CHANGE_FIELD = b"p", b"i", b"m"


class ProtocolError(Exception):
    """The other side does not speak the protocol, or stopped in the middle of a packet."""


def packet(code: bytes, payload: bytes = b"") -> bytes:
    """Return a packet as it travels."""
    return struct.pack("!I", 1 + len(payload)) + code + payload


def read_packet(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    """Return the next packet's command and payload, None when the other side has closed the connection."""
    head = stream.read(4)
    if not head:
        return None
    if len(head) < 4:
        raise ProtocolError("the connection ended in a packet's length")
    (length,) = struct.unpack("!I", head)
    if not 1 <= length <= PACKET_LIMIT:
        raise ProtocolError(f"a packet of {length} octets")
    content = stream.read(length)
    if len(content) < length:
        raise ProtocolError("the connection ended in a packet")
    return content[:1], content[1:]


def negotiation(actions: int, steps: int, macros: dict[int, str] | None = None, version: int = VERSION) -> bytes:
    """Return what either side says first; ``macros`` names those that a milter wants, by stage."""
    payload = struct.pack("!III", version, actions, steps)
    for stage, names in (macros or {}).items():
        payload += struct.pack("!I", stage) + names.encode() + b"\0"
    return packet(NEGOTIATE, payload)


def read_negotiation(payload: bytes) -> tuple[int, int, int, dict[int, str]]:
    """Return version, actions, steps and macros by stage."""
    if len(payload) < 12:
        raise ProtocolError("an incomplete negotiation")
    version, actions, steps = struct.unpack("!III", payload[:12])
    macros = {}
    rest = payload[12:]
    while len(rest) > 4:
        names, _end, following = rest[4:].partition(b"\0")
        macros[struct.unpack("!I", rest[:4])[0]] = names.decode("ascii", "replace")
        rest = following
    return version, actions, steps, macros


def strings(payload: bytes) -> list[bytes]:
    """Return the strings of a payload, each of which ends in a null octet."""
    if not payload.endswith(b"\0"):
        raise ProtocolError("a string without an end")
    return payload[:-1].split(b"\0")


def insertion(place: int, name: str, value: str) -> bytes:
    """Return the order to put a field before the others but ``place``."""
    return packet(INSERT_FIELD, struct.pack("!I", place) + name.encode() + b"\0" + value.encode() + b"\0")


def removal(name: str, occurrence: int) -> bytes:
    """Return the order to take out the n-th field of a name."""
    content = name.encode("utf-8", "surrogateescape") + b"\0\0"
    return packet(CHANGE_FIELD, struct.pack("!I", occurrence) + content)


def pairs(payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield names and values."""
    found = strings(payload) if payload else []
    if len(found) % 2:
        raise ProtocolError("a name without a value")
    return zip(found[::2], found[1::2], strict=True)
