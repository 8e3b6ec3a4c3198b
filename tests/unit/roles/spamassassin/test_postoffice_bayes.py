# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was learned from a mailbox goes with the mailbox, and with nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import postoffice_bayes as bayes
import pytest


def directory(folder: Path, users: Sequence[str]) -> Path:
    path = folder / "directory.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE dovecot_user (user TEXT)")
        connection.executemany("INSERT INTO dovecot_user VALUES (?)", [(user,) for user in users])
        connection.commit()
    return path


@pytest.fixture
def collections(tmp_path: Path) -> Path:
    for name in ("example.org/alice", "example.org/o%27hara", "example.org/old", "gone.example/%5fbob"):
        folder = tmp_path / "mailboxes" / name
        folder.mkdir(parents=True)
        (folder / "bayes_toks").write_bytes(b"x")
    return tmp_path / "mailboxes"


def left(collections: Path) -> list[str]:
    return sorted(str(path.relative_to(collections)) for path in collections.rglob("*"))


def test_what_has_no_mailbox_is_forgotten(collections: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = directory(collections.parent, ["alice@example.org", "O'Hara@example.org", "never@example.org"])
    assert bayes.main([str(database), str(collections)]) == 0
    assert left(collections) == [
        "example.org",
        "example.org/alice",
        "example.org/alice/bayes_toks",
        "example.org/o%27hara",
        "example.org/o%27hara/bayes_toks",
    ]
    said = capsys.readouterr().err
    assert "old@example.org" in said
    assert "_bob@gone.example" in said


def test_a_directory_that_cannot_be_read_forgets_nothing(collections: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = left(collections)
    broken = collections.parent / "broken.sqlite3"
    broken.write_bytes(b"no database at all, and long enough to be read as one" * 4)
    for database in (collections.parent / "absent.sqlite3", broken):
        assert bayes.main([str(database), str(collections)]) == 1
        assert str(database) in capsys.readouterr().err
    assert left(collections) == before


def test_an_empty_directory_forgets_nothing(collections: Path) -> None:
    before = left(collections)
    assert bayes.main([str(directory(collections.parent, [])), str(collections)]) == 0
    assert left(collections) == before
