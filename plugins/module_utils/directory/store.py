# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SQLite file: opened, read whole, changed in one transaction.

Rollback journal, and a page cache that never spills: readers are kept out only for the moment of the commit.  Every
connection is closed explicitly, since a statement that failed would otherwise keep the file locked.
"""

from __future__ import annotations

import os
import sqlite3
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from . import errors
from .migrations import MIGRATIONS, SCHEMA_VERSION
from .model import AliasRow, Directory, Domain, Expression, Limits, SendingLimits
from .planning import Plan

APPLICATION_ID = 0x506F4F66
BUSY_SECONDS = 60.0
COMMIT_MILLISECONDS = 40
RETRY_SECONDS = 0.15
MODE = 0o660

_MAILBOX_COLUMNS = "address, display_name, quota, state, managed_by, removed_at"


@contextmanager
def connect(path: str) -> Iterator[sqlite3.Connection]:
    """Open an existing database; SQLite's errors become ours, each saying what to do."""
    with _translated(path):
        if not os.path.isfile(path):
            raise errors.Unwritable(f"{path} does not exist")
        address = f"file:{urllib.parse.quote(os.path.abspath(path))}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
            connection.execute("PRAGMA cache_spill = off").close()
            connection.execute("PRAGMA foreign_keys = on").close()
            _check_identity(connection, path)
            yield connection


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _typed(error, path) from error
    except OSError as error:
        if error.errno in (28, 122):
            raise errors.DiskFull(f"{path}: no space left on the file system; nothing was changed") from error
        raise errors.Unwritable(f"{path}: {error.strerror or error}") from error


def _typed(error: sqlite3.Error, path: str) -> errors.StoreError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_NOTADB"):
        return errors.NotADatabase(f"{path} is not an SQLite database; move it away, or name another path")
    if name.startswith("SQLITE_CORRUPT"):
        return errors.CorruptDatabase(f"{path} is damaged ({error}); restore it from a backup")
    if name.startswith("SQLITE_FULL"):
        return errors.DiskFull(f"{path}: no space left to write ({error}); nothing was changed")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return errors.Busy(f"{path} was locked by another program for more than {BUSY_SECONDS:.0f} seconds")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return errors.Unwritable(f"{path} cannot be opened for writing ({error})")
    if name.startswith("SQLITE_IOERR"):
        return errors.StoreError(f"{path}: input or output failed ({name}); nothing was changed")
    return errors.StoreError(f"{path}: {error}")


def _check_identity(connection: sqlite3.Connection, path: str) -> None:
    """Refuse what is not ours before anything is written."""
    version = _pragma(connection, "user_version")
    application = _pragma(connection, "application_id")
    tables = _value(connection, "SELECT count(*) FROM sqlite_schema")
    if application != APPLICATION_ID and (version or tables):
        raise errors.NotADatabase(f"{path} is the SQLite database of another program; name another path")
    if version > SCHEMA_VERSION:
        raise errors.NewerSchema(
            f"{path} was written by a newer release (schema {version}, this one knows {SCHEMA_VERSION}); upgrade the"
            " collection"
        )


def refuse_older(connection: sqlite3.Connection, path: str) -> None:
    """Raise ``OlderSchema`` for a database that ``migrate`` would change; an empty one is nobody's yet."""
    version = _pragma(connection, "user_version")
    if 0 < version < SCHEMA_VERSION:
        raise errors.OlderSchema(
            f"{path} was written by an older release (schema {version}, this one has {SCHEMA_VERSION}); bring the host"
            " up to date first, which is what site.yml does"
        )


def create(path: str) -> bool:
    """Make an empty file with the right mode unless there is one; tell whether it was made."""
    with _translated(path):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return False
        try:
            os.fchmod(descriptor, MODE)
        finally:
            os.close(descriptor)
        return True


def migrate(connection: sqlite3.Connection) -> bool:
    """Bring the schema up to date, each step in a transaction of its own; tell whether there was anything to do."""
    changed = False
    while (version := _pragma(connection, "user_version")) < SCHEMA_VERSION:
        write(connection, partial(_migrate_one, connection, version))
        changed = True
    return changed


def _migrate_one(connection: sqlite3.Connection, version: int) -> None:
    if _pragma(connection, "user_version") != version:
        return
    for statement in MIGRATIONS[version]:
        connection.execute(statement).close()
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}").close()
    connection.execute(f"PRAGMA user_version = {version + 1}").close()


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the schema's number; 0 is an empty file."""
    return _pragma(connection, "user_version")


@contextmanager
def in_memory(connection: sqlite3.Connection | None = None) -> Iterator[sqlite3.Connection]:
    """Yield a private, migrated copy, or an empty database: what can be asked of it holds nobody up."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
        if connection is not None:
            connection.backup(copy)
        copy.execute("PRAGMA foreign_keys = on").close()
        migrate(copy)
        yield copy


def write(connection: sqlite3.Connection, work: Callable[[], None], seconds: float = BUSY_SECONDS) -> None:
    """Run ``work`` in one transaction that never makes readers wait for another reader.

    While a commit waits for somebody who is still reading, SQLite lets no new reader in.  So it waits a moment only,
    steps back, and tries again until ``seconds`` have passed.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            _set_timeout(connection, max(0.0, deadline - time.monotonic()))
            connection.execute("BEGIN IMMEDIATE").close()
            work()
            connection.execute(f"PRAGMA busy_timeout = {COMMIT_MILLISECONDS}").close()
            connection.execute("COMMIT").close()
            return
        except sqlite3.OperationalError as error:
            _roll_back(connection)
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        except BaseException:
            _roll_back(connection)
            raise
        finally:
            _set_timeout(connection, seconds)
        time.sleep(RETRY_SECONDS)


def _set_timeout(connection: sqlite3.Connection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}").close()


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK").close()


def data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection commits."""
    return _pragma(connection, "data_version")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return _value(connection, f"PRAGMA {name}")


def _value(connection: sqlite3.Connection, query: str) -> int:
    with closing(connection.execute(query)) as cursor:
        return int(cursor.fetchone()[0])


def _rows(connection: sqlite3.Connection, query: str) -> list[tuple[str, ...]]:
    with closing(connection.execute(query)) as cursor:
        return cursor.fetchall()


# Reading


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything read inside belongs to one moment."""
    connection.execute("BEGIN").close()
    try:
        yield
    finally:
        _roll_back(connection)


def read(connection: sqlite3.Connection) -> Directory:
    """Return everything, without passwords."""
    with closing(connection.execute(f"SELECT {_MAILBOX_COLUMNS} FROM mailbox")) as cursor:
        mailboxes = {row[0]: row for row in cursor}
    return Directory(
        domains=_read_domains(connection),
        mailboxes=mailboxes,
        senders=_grouped(connection, "SELECT mailbox, sender FROM mailbox_sender ORDER BY mailbox, sender"),
        aliases=_read_aliases(connection),
        sending_limits=_read_sending_limits(connection, "SELECT mailbox, name, most FROM mailbox_sending_limit"),
    )


def _grouped(connection: sqlite3.Connection, query: str) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    with closing(connection.execute(query)) as cursor:
        for key, value in cursor:
            groups.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in groups.items()}


def _read_sending_limits(connection: sqlite3.Connection, query: str) -> dict[str, SendingLimits]:
    limits: dict[str, dict[str, int]] = {}
    with closing(connection.execute(query)) as cursor:
        for owner, name, most in cursor:
            limits.setdefault(owner, {})[name] = most
    return {owner: tuple(sorted(by_name.items())) for owner, by_name in limits.items()}


def _read_aliases(connection: sqlite3.Connection) -> dict[str, AliasRow]:
    destinations = _grouped(connection, "SELECT alias, destination FROM alias_destination ORDER BY alias, destination")
    with closing(connection.execute("SELECT address, managed_by, removed_at FROM alias")) as cursor:
        return {
            address: (address, destinations.get(address, ()), managed_by, removed_at)
            for address, managed_by, removed_at in cursor
        }


def _read_domains(connection: sqlite3.Connection) -> dict[str, Domain]:
    catch_all = _grouped(connection, "SELECT domain, destination FROM domain_catch_all ORDER BY domain, destination")
    recipients = _grouped(connection, "SELECT domain, address FROM relay_recipient ORDER BY domain, address")
    expressions = _read_expressions(connection)
    sending_limits = _read_sending_limits(connection, "SELECT domain, name, most FROM domain_sending_limit")
    domains = {}
    with closing(
        connection.execute(
            "SELECT name, kind, alias_of, nexthop, any_recipient, default_quota, max_mailboxes, max_aliases, max_quota,"
            " max_total_quota, managed_by, removed_at FROM domain"
        )
    ) as cursor:
        for name, kind, alias_of, nexthop, any_recipient, default_quota, *limits, managed_by, removed_at in cursor:
            listed = None if any_recipient or kind != "relay" else recipients.get(name, ())
            domains[name] = Domain(
                name,
                kind,
                alias_of,
                nexthop,
                listed,
                catch_all.get(name, ()),
                expressions.get(name, ()),
                default_quota,
                Limits(*limits),
                sending_limits.get(name, ()),
                managed_by,
                removed_at,
            )
    return domains


def _read_expressions(connection: sqlite3.Connection) -> dict[str, tuple[Expression, ...]]:
    found: dict[str, dict[int, tuple[str, list[str]]]] = {}
    query = (
        "SELECT domain, position, pattern, destination FROM domain_expression"
        " JOIN domain_expression_destination USING (domain, position) ORDER BY domain, position, destination"
    )
    with closing(connection.execute(query)) as cursor:
        for domain, position, pattern, destination in cursor:
            found.setdefault(domain, {}).setdefault(position, (pattern, []))[1].append(destination)
    return {
        domain: tuple(Expression(pattern, tuple(destinations)) for pattern, destinations in rules.values())
        for domain, rules in found.items()
    }


def read_passwordless(connection: sqlite3.Connection) -> frozenset[str]:
    """Return the mailboxes that have no password."""
    return frozenset(row[0] for row in _rows(connection, "SELECT address FROM mailbox WHERE password = ''"))


def read_hashes(connection: sqlite3.Connection, addresses: Iterable[str]) -> dict[str, str]:
    """Return the stored hashes of some mailboxes."""
    wanted = frozenset(addresses)
    with closing(connection.execute("SELECT address, password FROM mailbox")) as cursor:
        return {address: password for address, password in cursor if address in wanted}


# Writing


def apply(connection: sqlite3.Connection, plan: Plan, hashes: Mapping[str, str]) -> None:
    """Do what ``plan`` says; the caller holds the transaction.  ``hashes`` has one for each of ``plan.passwords``."""
    many = connection.executemany
    _apply_domains(connection, plan)
    mailboxes = plan.mailboxes
    if mailboxes.created:
        find = hashes.get
        rows = sorted(mailboxes.created)
        many(
            f"INSERT INTO mailbox ({_MAILBOX_COLUMNS}, password) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(*row, find(row[0], "")) for row in rows],
        ).close()
    if mailboxes.updated:
        many(
            "UPDATE mailbox SET display_name = ?2, quota = ?3, state = ?4, managed_by = ?5, removed_at = ?6"
            " WHERE address = ?1",
            [new for _old, new in mailboxes.updated],
        ).close()
    many("DELETE FROM mailbox WHERE address = ?", [row[:1] for row in mailboxes.deleted]).close()
    created = {row[0] for row in mailboxes.created}
    changed = [(hashes[address], address) for address in plan.passwords if address not in created]
    many("UPDATE mailbox SET password = ? WHERE address = ?", changed).close()
    _apply_senders(connection, plan)
    _apply_sending_limits(connection, plan)
    _apply_aliases(connection, plan)


def _apply_domains(connection: sqlite3.Connection, plan: Plan) -> None:
    many, changes = connection.executemany, plan.domains
    replaced = [new for _old, new in changes.updated]
    many("DELETE FROM domain WHERE name = ?", [(row.name,) for row in (*changes.deleted, *replaced)]).close()
    rows = sorted((*changes.created, *replaced), key=lambda row: row.name)
    many(
        "INSERT INTO domain (name, kind, alias_of, nexthop, any_recipient, default_quota, max_mailboxes, max_aliases,"
        " max_quota, max_total_quota, managed_by, removed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                row.name,
                row.kind,
                row.alias_of,
                row.nexthop,
                row.kind == "relay" and row.relay_recipients is None,
                row.default_quota,
                *row.limits,
                row.managed_by,
                row.removed_at,
            )
            for row in rows
        ],
    ).close()
    many("INSERT INTO domain_catch_all VALUES (?, ?)", _pairs((row.name, row.catch_all) for row in rows)).close()
    many(
        "INSERT INTO relay_recipient VALUES (?, ?)", _pairs((row.name, row.relay_recipients or ()) for row in rows)
    ).close()
    many(
        "INSERT INTO domain_sending_limit VALUES (?, ?, ?)",
        [(row.name, name, most) for row in rows for name, most in row.sending_limits],
    ).close()
    rules = [(row.name, index, rule) for row in rows for index, rule in enumerate(row.expressions)]
    many(
        "INSERT INTO domain_expression VALUES (?, ?, ?)", [(name, index, rule.pattern) for name, index, rule in rules]
    ).close()
    many(
        "INSERT INTO domain_expression_destination VALUES (?, ?, ?)",
        [(name, index, destination) for name, index, rule in rules for destination in rule.destinations],
    ).close()


def _pairs(groups: Iterable[tuple[str, tuple[str, ...]]]) -> list[tuple[str, str]]:
    return [(key, value) for key, values in groups for value in values]


def _apply_senders(connection: sqlite3.Connection, plan: Plan) -> None:
    many = connection.executemany
    many("DELETE FROM mailbox_sender WHERE mailbox = ?", [(mailbox,) for mailbox in plan.senders]).close()
    rows = _pairs((mailbox, new) for mailbox, (_old, new) in sorted(plan.senders.items()))
    many("INSERT INTO mailbox_sender VALUES (?, ?)", rows).close()


def _apply_sending_limits(connection: sqlite3.Connection, plan: Plan) -> None:
    many, changes = connection.executemany, plan.sending_limits
    many("DELETE FROM mailbox_sending_limit WHERE mailbox = ?", [(mailbox,) for mailbox in changes]).close()
    rows = [(mailbox, *limit) for mailbox, (_old, new) in sorted(changes.items()) for limit in new]
    many("INSERT INTO mailbox_sending_limit VALUES (?, ?, ?)", rows).close()


def _apply_aliases(connection: sqlite3.Connection, plan: Plan) -> None:
    many, changes = connection.executemany, plan.aliases
    many("DELETE FROM alias WHERE address = ?", [row[:1] for row in changes.deleted]).close()
    many(
        "UPDATE alias SET managed_by = ?, removed_at = ? WHERE address = ?",
        [(row[2], row[3], row[0]) for _old, row in changes.updated],
    ).close()
    moved = [(old, new) for old, new in changes.updated if old[1] != new[1]]
    many("DELETE FROM alias_destination WHERE alias = ?", [new[:1] for _old, new in moved]).close()
    created = sorted(changes.created)
    many(
        "INSERT INTO alias (address, managed_by, removed_at) VALUES (?, ?, ?)",
        [(address, managed_by, removed_at) for address, _destinations, managed_by, removed_at in created],
    ).close()
    rows = _pairs((row[0], row[1]) for row in sorted((*created, *(new for _old, new in moved))))
    many("INSERT INTO alias_destination VALUES (?, ?)", rows).close()


def change_counter(path: str) -> int:
    """Return SQLite's own count of the commits to a file (file format, section 1.3.6)."""
    with _translated(path), Path(path).open("rb") as file:
        header = file.read(28)
    return int.from_bytes(header[24:28], "big")
