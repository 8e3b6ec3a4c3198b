# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The copy that Postfix and the milter read: what they need of the directory, and no password.

``content`` is pure as far as a database is: it turns the views into tables with indexes and a file of expressions.
``publish`` puts both in place by rename, only when something in them has changed.  Who reads the lookups notices a new
file; expressions are read by Postfix itself, which has to be told.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from . import store
from .errors import PublishError
from .names import DELIMITER

FORMAT = 1
"""Part of the stamp: raised when the same directory is to be published differently."""

LOOKUP_FILE = "lookup.sqlite3"
EXPRESSIONS_FILE = "expressions.pcre"
STATE_FILE = "state.json"
LOCK_FILE = ".lock"
RELOAD_SECONDS = 60
SYSTEMCTL_NOT_INSTALLED = 5
FOLDER_MODE = 0o750
FILE_MODE = 0o640

_TABLES = (
    ("postfix_domain", "name TEXT, class TEXT, nexthop TEXT", "name"),
    ("postfix_alias", "address TEXT, destination TEXT, keep_extension INTEGER", "address, destination"),
    ("postfix_catch_all", "domain TEXT, destination TEXT", "domain, destination"),
    ("postfix_refused_recipient", "address TEXT, reply TEXT", "address"),
    ("postfix_mailbox", "address TEXT", "address"),
    ("postfix_sender", "address TEXT, login TEXT", "address, login"),
    ("postfix_relay_recipient", "address TEXT", "address"),
    ("milter_sending_limit", "sender TEXT, name TEXT, most INTEGER", "sender, name"),
)
_HEADER = (
    "# Regular-expression aliases of the directory, published together with lookup.sqlite3.\n"
    "# Written by postoffice-publish: changes here are overwritten.\n"
)
_SAFE_LOCAL_PART = r"(?=[a-z0-9!#$%&'*+\/=?^_`{|}~.-]+@)"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to publish, for which group (an id, None: keep), and how to tell who reads the expressions.

    ``reload`` is an argument list; empty: nobody is told.
    """

    database: str
    folder: str
    group: int | None = None
    reload: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication did."""

    written: bool
    reloaded: bool
    stamp: str


def publish(settings: Settings) -> Published:
    """Bring the published copy up to date; raises ``StoreError`` or ``PublishError``, the old copy then stays."""
    try:
        _make_folder(settings)
        with _lock(settings.folder):
            while True:
                done = _publish_once(settings)
                if read_state(settings.folder).get("counter") == store.change_counter(settings.database):
                    return done
    except OSError as error:
        raise PublishError(f"cannot publish to {settings.folder}: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise PublishError(f"cannot publish to {settings.folder}: {error}") from error


@contextmanager
def _private_copy(database: str) -> Iterator[sqlite3.Connection]:
    """The database as it is now; it is closed again before anything is made of it."""
    with ExitStack() as stack:
        with store.connect(database) as live:
            copy = stack.enter_context(store.in_memory(live))
        yield copy


def _publish_once(settings: Settings) -> Published:
    counter = store.change_counter(settings.database)
    lookup = os.path.join(settings.folder, LOOKUP_FILE)
    with _private_copy(settings.database) as copy:
        expressions = _HEADER + "".join(f"{line}\n" for line in expression_rules(copy))
        temporary = os.path.join(settings.folder, f".{LOOKUP_FILE}.new")
        stamp = _write_lookup(copy, temporary, expressions)
    complete = os.path.exists(os.path.join(settings.folder, EXPRESSIONS_FILE))
    written = not complete or stamp != published_stamp(lookup)
    if written:
        _write_file(settings, EXPRESSIONS_FILE, expressions)
        _put(settings, temporary, lookup)
    else:
        os.unlink(temporary)
    state = read_state(settings.folder)
    told = hashlib.sha256(expressions.encode()).hexdigest()
    reload_wanted = state.get("expressions") != told
    if reload_wanted:
        _reload(settings.reload)
    if state != (new_state := {"stamp": stamp, "expressions": told, "counter": counter}):
        _write_file(settings, STATE_FILE, json.dumps(new_state) + "\n")
    return Published(written, reload_wanted and bool(settings.reload), stamp)


def read_state(folder: str) -> dict[str, object]:
    """Return what was published last: its stamp, the expressions that were told, the database's change counter."""
    try:
        with open(os.path.join(folder, STATE_FILE), encoding="utf-8") as file:
            state = json.load(file)
    except (FileNotFoundError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def published_stamp(lookup: str) -> str:
    """Return the stamp of a published file, empty when there is none that can be read."""
    if not os.path.isfile(lookup):
        return ""
    try:
        with closing(sqlite3.connect(f"file:{urllib.parse.quote(lookup)}?mode=ro&immutable=1", uri=True)) as file:
            row = file.execute("SELECT stamp FROM publication").fetchone()
    except sqlite3.Error:
        return ""
    return str(row[0]) if row else ""


def _write_lookup(live: sqlite3.Connection, path: str, expressions: str) -> str:
    """Write all tables to a new file and return the stamp of their content."""
    with open(path, "wb"):
        pass
    digest = hashlib.sha256(f"{FORMAT}\n{expressions}".encode())
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        for pragma in ("journal_mode = off", "synchronous = off", "cache_spill = off"):
            made.execute(f"PRAGMA {pragma}").close()
        made.execute("BEGIN").close()
        for name, columns, key in _TABLES:
            made.execute(f"CREATE TABLE {name} ({columns}, PRIMARY KEY ({key})) STRICT, WITHOUT ROWID").close()
            with closing(live.execute(f"SELECT DISTINCT * FROM {name} ORDER BY {key}")) as cursor:
                rows = cursor.fetchall()
            digest.update(repr((name, columns, rows)).encode())
            marks = ", ".join("?" * (columns.count(",") + 1))
            made.executemany(f"INSERT OR IGNORE INTO {name} VALUES ({marks})", rows).close()
        stamp = digest.hexdigest()
        made.execute("CREATE TABLE publication (stamp TEXT NOT NULL) STRICT").close()
        made.execute("INSERT INTO publication VALUES (?)", (stamp,)).close()
        made.execute("COMMIT").close()
    return stamp


def expression_rules(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield one line per expression and domain, in Postfix's pcre_table(5) format, first match first.

    What stands before the @ must be an unquoted local part: a quoted one could carry further addresses into the
    destination.  A tag is matched apart, so that an expression means the same with and without.  There is no flag:
    case does not matter by default, and the flag i would turn that off.
    """
    rules: dict[tuple[str, int, str], list[str]] = {}
    query = "SELECT domain, position, pattern, destination FROM postfix_expression ORDER BY 1, 2, 4"
    with closing(connection.execute(query)) as cursor:
        for domain, position, pattern, destination in cursor:
            rules.setdefault((domain, position, pattern), []).append(destination)
    for (domain, _position, pattern), destinations in rules.items():
        quoted = re.sub(r"(\\.)|/", lambda match: match[1] or r"\/", pattern)
        tag = rf"(?:\{DELIMITER}[^@]*)?"
        yield f"/^{_SAFE_LOCAL_PART}(?:{quoted}){tag}@{re.escape(domain)}$/ {', '.join(destinations)}"


def _make_folder(settings: Settings) -> None:
    os.makedirs(settings.folder, exist_ok=True)
    if settings.group is not None and os.stat(settings.folder).st_gid != settings.group:
        os.chown(settings.folder, -1, settings.group)
    if os.stat(settings.folder).st_mode & 0o7777 != FOLDER_MODE:
        os.chmod(settings.folder, FOLDER_MODE)


@contextmanager
def _lock(folder: str) -> Iterator[None]:
    descriptor = os.open(os.path.join(folder, LOCK_FILE), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_file(settings: Settings, name: str, text: str) -> None:
    temporary = os.path.join(settings.folder, f".{name}.new")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    _put(settings, temporary, os.path.join(settings.folder, name))


def _put(settings: Settings, temporary: str, path: str) -> None:
    """Let a complete file take its place: permissions first, on disk before its name is."""
    descriptor = os.open(temporary, os.O_RDWR | os.O_CLOEXEC)
    try:
        if settings.group is not None:
            os.fchown(descriptor, -1, settings.group)
        os.fchmod(descriptor, FILE_MODE)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
    folder = os.open(settings.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _reload(command: Sequence[str]) -> None:
    """Tell Postfix; that it is not installed yet is no failure, since it will read the current copy when it starts."""
    if not command:
        return
    try:
        # There is no AnsibleModule here, whose run_command is asked for from ansible-core 2.21 on.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            command, capture_output=True, text=True, check=False, timeout=RELOAD_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise PublishError(f"published, but {' '.join(command)} did not end within {RELOAD_SECONDS} seconds") from None
    if done.returncode == SYSTEMCTL_NOT_INSTALLED and os.path.basename(command[0]) == "systemctl":
        return
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise PublishError(f"published, but {' '.join(command)} failed with {done.returncode}: {said}")
