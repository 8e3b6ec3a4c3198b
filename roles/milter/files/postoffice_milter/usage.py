# SPDX-License-Identifier: GPL-3.0-or-later
"""What users have sent, in a small SQLite file of the service's own.

A write-ahead log lets messages that arrive together be counted one after another without waiting for the disk: after
a power failure the last few may be missing. Both processes of a reload use the file at the same time; what is
decided and what is counted belong to one transaction, so nobody slips between.

Recipients are remembered as digests: the file says how many somebody writes to, not to whom.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from .limits import DAY, LIMITS, Amount, Excess, Limit, Message, first_fit
from .verdict import UnavailableError

REMEMBERED = 365 * DAY
"""How long a recipient is known to a user who does not write to it any more."""

TOMORROW = 2 * DAY
"""What lies further ahead was counted by a clock that was wrong."""

_TIDIED_EVERY = 3600.0
_BUSY_SECONDS = 20.0
_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS sent (
        login TEXT NOT NULL, at REAL NOT NULL, recipients INTEGER NOT NULL, new_recipients INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX IF NOT EXISTS sent_by_login ON sent (login, at)",
    """
    CREATE TABLE IF NOT EXISTS known (
        login TEXT, recipient BLOB, at REAL NOT NULL, PRIMARY KEY (login, recipient)
    ) STRICT, WITHOUT ROWID
    """,
)


class Usage:
    """The counts in ``path``, which is made when it is not there. Times are seconds since 1970, by ``clock``."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._opened: sqlite3.Connection | None = None
        self._tidied = -_TIDIED_EVERY

    def count(self, login: str, recipients: Collection[str], most: Mapping[str, int]) -> Excess | None:
        """Count a message if ``most``, by name of the limit, allows it; otherwise return what is exceeded.

        Raises :class:`UnavailableError`; the message is not counted then.
        """
        with self._transaction() as (rows, now):
            digests = {digest(login, recipient) for recipient in recipients}
            new = sum(not _is_known(rows, login, recipient) for recipient in digests)
            message = Message(now, len(digests), new)
            if excess := _exceeded(rows, login, message, most):
                return excess
            rows.execute("INSERT INTO sent VALUES (?, ?, ?, ?)", (login, *message))
            rows.executemany(
                "INSERT INTO known VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET at = ?3",
                [(login, recipient, now) for recipient in digests],
            )
        return None

    def used(self, login: str) -> dict[str, int]:
        """Return how much of each limit a user has used now."""
        with self._transaction() as (rows, now):
            return {limit.name: _used(rows, login, limit, now) for limit in LIMITS}

    def senders(self) -> list[str]:
        """Return who has sent anything within the last day."""
        with self._transaction() as (rows, now):
            found = rows.execute("SELECT DISTINCT login FROM sent WHERE at > ? ORDER BY login", (now - DAY,))
            return [str(login) for (login,) in found]

    def clear(self, login: str) -> bool:
        """Forget what a user has sent, not to whom; return whether there was anything."""
        with self._transaction() as (rows, _now):
            return rows.execute("DELETE FROM sent WHERE login = ?", (login,)).rowcount > 0

    @contextmanager
    def _transaction(self) -> Iterator[tuple[sqlite3.Connection, float]]:
        try:
            with self._lock:
                rows = self._opened = self._opened or _open(self._path)
                rows.execute("BEGIN IMMEDIATE")
                try:
                    now = self._clock()
                    self._tidy(rows, now)
                    yield rows, now
                    rows.execute("COMMIT")
                finally:
                    if rows.in_transaction:
                        rows.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._close()
            raise UnavailableError(f"{self._path}: {error}") from error

    def _close(self) -> None:
        """The next one finds the file as it is then."""
        with self._lock:
            if self._opened:
                self._opened.close()
            self._opened = None

    def _tidy(self, rows: sqlite3.Connection, now: float) -> None:
        """Forget what counts no more, now and then."""
        if abs(now - self._tidied) < _TIDIED_EVERY:
            return
        rows.execute("DELETE FROM sent WHERE at NOT BETWEEN ? AND ?", (now - DAY, now + TOMORROW))
        rows.execute("DELETE FROM known WHERE at NOT BETWEEN ? AND ?", (now - REMEMBERED, now + TOMORROW))
        self._tidied = now


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = normal")
        for statement in _SCHEMA:
            connection.execute(statement)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Have a new file written ahead. SQLite does not wait by itself for another that is about to do the same."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def digest(login: str, recipient: str) -> bytes:
    """Return what is remembered of a recipient."""
    return hashlib.blake2b(f"{login}\0{recipient}".encode("utf-8", "surrogateescape"), digest_size=16).digest()


def _is_known(rows: sqlite3.Connection, login: str, recipient: bytes) -> bool:
    found = rows.execute("SELECT 1 FROM known WHERE login = ? AND recipient = ?", (login, recipient))
    return found.fetchone() is not None


def _used(rows: sqlite3.Connection, login: str, limit: Limit, now: float) -> int:
    query = "SELECT count(*), total(recipients), total(new_recipients) FROM sent WHERE login = ? AND at > ?"
    return int(rows.execute(query, (login, now - limit.seconds)).fetchone()[limit.counted])


def _exceeded(rows: sqlite3.Connection, login: str, message: Message, most: Mapping[str, int]) -> Excess | None:
    """Return the limit that this message would exceed, of several the one that takes longest."""
    found = []
    for limit in LIMITS:
        asked = message.amount(limit)
        allowed = most.get(limit.name, 0)
        if not allowed or not asked:
            continue
        used = _used(rows, login, limit, message.at)
        if used + asked > allowed:
            over = first_fit(_past(rows, login, limit, message.at), limit, used + asked - allowed)
            found.append(Excess(limit, allowed, used, asked, message.at, over))
    return max(found, key=lambda excess: (excess.over is None, excess.over or 0), default=None)


def _past(rows: sqlite3.Connection, login: str, limit: Limit, now: float) -> Iterator[Amount]:
    query = "SELECT at, 1, recipients, new_recipients FROM sent WHERE login = ? AND at > ? ORDER BY at"
    with closing(rows.execute(query, (login, now - limit.seconds))) as found:
        for at, *amounts in found:
            yield Amount(at, amounts[limit.counted])
