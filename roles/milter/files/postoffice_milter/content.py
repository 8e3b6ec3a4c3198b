# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole message as a check sees it, and what a check may do to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .verdict import Reply

_NO_NAME = re.compile(r"[^A-Za-z0-9.:\[\]_-]")


@dataclass(frozen=True)
class Client:
    """Who talks to the mail server: the verified name ('unknown' without one), the address, the name it greets with."""

    name: str = "unknown"
    address: str = ""
    helo: str = ""


@dataclass(frozen=True)
class Content:
    """A message: fields in order with raw values, and the body; of its ``size`` octets not all may be kept."""

    headers: Sequence[tuple[str, bytes]]
    body: bytes
    size: int
    queue_id: str = ""
    host: str = ""
    client: Client = field(default_factory=Client)

    @property
    def cut(self) -> bool:
        """Whether the end of the body is missing here."""
        return len(self.body) < self.size


@dataclass(frozen=True)
class AddField:
    """A field to be put above all others; lines after the first begin with white space, LF between them."""

    name: str
    value: str


@dataclass(frozen=True)
class RemoveField:
    """A field to be taken out: the n-th of that name, from 1."""

    name: str
    occurrence: int


@dataclass(frozen=True)
class Outcome:
    """What a check makes of a message: a refusal, or changes of its header."""

    reply: Reply | None = None
    changes: tuple[AddField | RemoveField, ...] = ()


def removed(headers: Sequence[tuple[str, bytes]], prefix: str) -> tuple[RemoveField, ...]:
    """Return the removal of every field whose name begins so, the last ones first, which keeps the others' places."""
    seen: dict[str, int] = {}
    found = []
    for name, _value in headers:
        key = name.strip(" \t").lower()
        if key.startswith(prefix.lower()):
            seen[key] = seen.get(key, 0) + 1
            found.append(RemoveField(name, seen[key]))
    return tuple(reversed(found))


def safe_name(text: str) -> str:
    """Return a host name as a client gave it, with a question mark for whatever does not belong into one."""
    return _NO_NAME.sub("?", text[:255])
