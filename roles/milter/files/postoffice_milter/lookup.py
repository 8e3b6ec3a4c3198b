# SPDX-License-Identifier: GPL-3.0-or-later
"""What the directory says: questions to the file that it publishes for the mail server.

The file is replaced by a rename and never written in place. It is therefore opened for every question: always the
current one, one state for the whole of an answer, nothing shared between threads and nothing left open (about
0.2 ms). The regular-expression aliases beside it are read again when that file was replaced.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from .addresses import Address
from .verdict import UnavailableError

QUERIES = {
    "sender": "SELECT 1 FROM postfix_sender WHERE login = ? AND address IN (?, ?) LIMIT 1",
    "alias": "SELECT destination FROM postfix_alias WHERE address = ?",
    "catch_all": "SELECT destination FROM postfix_catch_all WHERE domain = ?",
    "sending_limits": "SELECT sender, name, most FROM milter_sending_limit WHERE sender IN (?, ?)",
    "mailbox": "SELECT 1 FROM postfix_mailbox WHERE address = ? LIMIT 1",
}


class Snapshot(Protocol):
    """One state of the directory; addresses are asked for as text and without tag."""

    def may_send_as(self, login: str, address: Address) -> bool:
        """Whether ``login`` was granted the address or its whole domain."""

    def alias(self, address: str) -> tuple[str, ...]:
        """Return the destinations of an alias; a mailbox is its own."""

    def expression(self, address: str) -> tuple[str, ...]:
        """Return the destinations by the first regular expression that matches."""

    def catch_all(self, domain: str) -> tuple[str, ...]:
        """Return the catch-all destinations of a domain."""

    def is_mailbox(self, address: str) -> bool:
        """Whether mail for the address is kept here."""

    def sending_limits(self, login: str) -> dict[str, int]:
        """Return how much a login may send at most, by name of the limit, where the directory says so; 0: any."""


@dataclass(frozen=True)
class Expression:
    """One line of the published expressions: what it matches and where that goes."""

    pattern: re.Pattern[str]
    destinations: str

    def expand(self, address: str) -> tuple[str, ...] | None:
        """Return the destinations for ``address``, None when it does not match."""
        match = self.pattern.search(address)
        if match is None:
            return None
        filled = re.sub(r"\$(?:(\d)|\{(\d+)\}|\((\d+)\)|(\$))", lambda ref: _reference(match, ref), self.destinations)
        return tuple(part.strip() for part in filled.split(",") if part.strip())


def _reference(match: re.Match[str], reference: re.Match[str]) -> str:
    if reference[4]:
        return "$"
    return match[int(reference[1] or reference[2] or reference[3])] or ""


def parse_expressions(text: str) -> tuple[Expression, ...]:
    """Read the lines ``/pattern/flags destination, ...`` of a pcre table (pcre_table(5)); comments are left out.

    Matching ignores case unless the flag ``i`` turns that off, as in Postfix. A pattern that Python's ``re`` does
    not understand is left out: its recipients are not asked about at RCPT, delivery still holds their quota.
    """
    expressions = []
    for line in text.splitlines():
        found = re.match(r"/((?:[^/\\]|\\.)*)/([a-zA-Z]*)\s+(\S.*)", line)
        if found is None:
            continue
        try:
            pattern = re.compile(found[1].replace("\\/", "/"), 0 if "i" in found[2] else re.IGNORECASE)
        except re.error:
            continue
        expressions.append(Expression(pattern, found[3]))
    return tuple(expressions)


class Directory:
    """The published file ``lookups`` and, when there is one, the published ``expressions``."""

    def __init__(self, lookups: Path, expressions: Path | None = None) -> None:
        self._uri = f"file:{quote(str(lookups))}?mode=ro&immutable=1"
        self._lookups = lookups
        self._expressions = _ExpressionFile(expressions) if expressions else None

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Open the current state; raises :class:`UnavailableError` when it cannot be read."""
        try:
            with closing(sqlite3.connect(self._uri, uri=True, isolation_level=None)) as connection:
                yield _Rows(connection, self._expressions)
        except sqlite3.Error as error:
            raise UnavailableError(f"{self._lookups}: {error}") from error


class _Rows:
    def __init__(self, connection: sqlite3.Connection, expressions: _ExpressionFile | None) -> None:
        self._connection = connection
        self._expressions = expressions

    def _all(self, query: str, *values: str) -> tuple[str, ...]:
        return tuple(str(row[0]) for row in self._connection.execute(QUERIES[query], values))

    def may_send_as(self, login: str, address: Address) -> bool:
        return bool(self._all("sender", login, str(address), f"@{address.domain}"))

    def alias(self, address: str) -> tuple[str, ...]:
        return self._all("alias", address)

    def expression(self, address: str) -> tuple[str, ...]:
        for expression in self._expressions.current() if self._expressions else ():
            destinations = expression.expand(address)
            if destinations is not None:
                return destinations
        return ()

    def catch_all(self, domain: str) -> tuple[str, ...]:
        return self._all("catch_all", domain)

    def is_mailbox(self, address: str) -> bool:
        return bool(self._all("mailbox", address))

    def sending_limits(self, login: str) -> dict[str, int]:
        everybody = f"@{login.rpartition('@')[2]}"
        rows = self._connection.execute(QUERIES["sending_limits"], (everybody, login)).fetchall()
        return {name: most for sender, name, most in sorted(rows, key=lambda row: row[0] != everybody)}


class _ExpressionFile:
    """The published expressions, compiled once per state of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._expressions: tuple[Expression, ...] = ()

    def current(self) -> tuple[Expression, ...]:
        try:
            with self._lock, self._path.open(encoding="utf-8") as file:
                status = os.fstat(file.fileno())
                seen = (status.st_ino, status.st_mtime_ns, status.st_size)
                if seen != self._seen:
                    self._expressions = parse_expressions(file.read())
                    self._seen = seen
                return self._expressions
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(f"{self._path}: {error}") from error
