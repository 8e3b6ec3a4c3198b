# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

ROLE = Path(__file__).resolve().parents[4] / "roles" / "milter"
sys.path.insert(0, str(ROLE / "files"))

SCHEMA = """
CREATE TABLE postfix_alias (address TEXT, destination TEXT, keep_extension INTEGER, PRIMARY KEY (address, destination));
CREATE TABLE postfix_catch_all (domain TEXT, destination TEXT, PRIMARY KEY (domain, destination));
CREATE TABLE postfix_mailbox (address TEXT PRIMARY KEY);
CREATE TABLE postfix_sender (address TEXT, login TEXT, PRIMARY KEY (address, login));
CREATE TABLE milter_sending_limit (sender TEXT, name TEXT, most INTEGER, PRIMARY KEY (sender, name));
"""
MAILBOXES = ("alice", "bob", "full", "brim")
ALIASES = (
    ("sales@example.org", "alice@example.org"),
    ("tofull@example.org", "full@example.org"),
    ("chain@example.org", "tofull@example.org"),
    ("both@example.org", "full@example.org"),
    ("both@example.org", "alice@example.org"),
    ("fulls@example.org", "full@example.org"),
    ("fulls@example.org", "brim@example.org"),
    ("away@example.org", "full@example.org"),
    ("away@example.org", "friend@partner.example"),
    ("full@example.net", "full@example.org"),
    ("loop@example.org", "pool@example.org"),
    ("pool@example.org", "loop@example.org"),
    ("filed@example.org", "full+lists@example.org"),
)
SENDERS = (
    ("alice@example.org", "alice@example.org"),
    ("alice@example.net", "alice@example.org"),
    ("sales@example.org", "alice@example.org"),
    ("u@xn--bcher-kva.example", "alice@example.org"),
    ("bob@example.org", "bob@example.org"),
    ("@lists.example.org", "bob@example.org"),
)
LIMITS = (
    ("bob@example.org", "messages_per_hour", 2),
    ("bob@example.org", "recipients_per_day", 0),
    ("@example.org", "messages_per_hour", 9),
    ("@example.org", "recipients_per_day", 8),
    ("007@example.org", "messages_per_hour", 7),
)


def write_directory(path: Path, senders: tuple[tuple[str, str], ...] = SENDERS) -> None:
    """Publish a directory as the real one is: a complete new file takes the old one's place."""
    new = path.with_suffix(".new")
    with closing(sqlite3.connect(new)) as connection:
        connection.executescript(SCHEMA)
        mailboxes = [f"{name}@example.org" for name in MAILBOXES]
        connection.executemany("INSERT INTO postfix_mailbox VALUES (?)", [(name,) for name in mailboxes])
        connection.executemany("INSERT INTO postfix_alias VALUES (?, ?, 1)", [(name, name) for name in mailboxes])
        connection.executemany("INSERT INTO postfix_alias VALUES (?, ?, 1)", ALIASES)
        connection.execute("INSERT INTO postfix_catch_all VALUES ('example.net', 'full@example.org')")
        connection.executemany("INSERT INTO postfix_sender VALUES (?, ?)", senders)
        connection.executemany("INSERT INTO milter_sending_limit VALUES (?, ?, ?)", LIMITS)
        connection.commit()
    new.rename(path)


@pytest.fixture
def lookups(tmp_path: Path) -> Path:
    """A published directory."""
    path = tmp_path / "lookup.sqlite3"
    write_directory(path)
    return path


@pytest.fixture
def expressions(tmp_path: Path) -> Path:
    """Published expressions."""
    path = tmp_path / "expressions.pcre"
    path.write_text(
        "# comment\n"
        r"/^(?=[a-z0-9\/+-]+@)(?:team-.*)(?:\+[^@]*)?@example\.org$/ full@example.org"
        "\n"
        r"/^(?:to-([a-z]+))(?:\+[^@]*)?@example\.org$/ ${1}@example.org, $1@partner.example"
        "\n"
        r"/^(?:(?(R)x))@example\.org$/ alice@example.org"
        "\n"
    )
    return path


@pytest.fixture
def role() -> Path:
    """The role's folder."""
    return ROLE


@pytest.fixture
def publish() -> Callable[..., None]:
    """Publishes another directory at a path."""
    return write_directory
