# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records as lines of a zone file (RFC 1035, section 5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator

STRING_LIMIT = 255  # octets in a character-string (RFC 1035, section 3.3)
RECORD_LIMIT = 65535  # octets in the data of a record
LABEL_LIMIT = 63
NAME_LIMIT = 253
TYPES = ("A", "AAAA", "CAA", "CNAME", "MX", "PTR", "SRV", "TLSA", "TXT")
_STRING = re.compile(r'"[^"]*"')
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?|\*")


def split_text(value: str) -> list[bytes]:
    """The value in character-strings, all but the last of them full. No value is one empty string."""
    octets = value.encode("utf-8")
    strings = [octets[start : start + STRING_LIMIT] for start in range(0, len(octets), STRING_LIMIT)] or [b""]
    if len(octets) + len(strings) > RECORD_LIMIT:
        raise ValueError(f"has {len(octets)} octets, more than a record can hold")
    return strings


def quoted(string: bytes) -> str:
    """A character-string between quotation marks, everything unusual escaped."""
    return '"' + "".join(_escaped(octet) for octet in string) + '"'


def _escaped(octet: int) -> str:
    if octet in b'"\\':
        return "\\" + chr(octet)
    return chr(octet) if 0x20 <= octet < 0x7F else f"\\{octet:03d}"


def absolute(name: str) -> str:
    """The name with the dot that ends it."""
    bare = name.removesuffix(".")
    for label in _labels(bare):
        if len(label) > LABEL_LIMIT or not _LABEL.fullmatch(label):
            raise ValueError(f"{name!r} is no name of a record; {label!r} cannot be a part of one")
    if len(bare) > NAME_LIMIT:
        raise ValueError(f"{name!r} has more than {NAME_LIMIT} characters, the limit for a name")
    return f"{bare}."


def _labels(name: str) -> Iterator[str]:
    yield from name.split(".")


def line(name: str, kind: str, value: str, ttl: int) -> str:
    """One line: name, seconds, class, type, and the value, that of a TXT record between quotation marks."""
    data = " ".join(quoted(string) for string in split_text(value)) if kind == "TXT" else one_line(value)
    return f"{absolute(name)} {ttl} IN {kind} {data}"


def one_line(value: str) -> str:
    """The data of a record as it is; what would begin another record or a comment is refused."""
    if not value.isascii() or not value.isprintable() or ";" in _STRING.sub("", value) or not value.strip():
        raise ValueError(f"{value!r} is not the data of a record")
    return value
