# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy for Postfix: complete or not there, without passwords, renewed only when something in it has changed."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mail_model import HASH, apply, opened, rows

from ansible_collections.postoffice.mail.plugins.module_utils.directory import publishing
from ansible_collections.postoffice.mail.plugins.module_utils.directory.errors import CorruptDatabase, PublishError
from ansible_collections.postoffice.mail.plugins.module_utils.directory.publishing import Settings, publish, read_state


def site(**mailbox: Any) -> list[dict[str, Any]]:
    rules = [{"pattern": "a/b|c", "destinations": "alice"}]
    return [
        {
            "name": "example.org",
            "mailboxes": [{"name": "alice", "password_hash": HASH, **mailbox}],
            "expressions": rules,
        }
    ]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A published directory whose reloads leave a line in a file."""
    apply(tmp_path / "d", site())
    told = ("sh", "-c", f"echo reload >> {tmp_path}/told")
    return Settings(str(tmp_path / "d"), str(tmp_path / "published"), os.getegid(), told)


def told(settings: Settings) -> int:
    path = Path(settings.database).parent / "told"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_it_is_written_once_and_postfix_is_told_once(settings: Settings) -> None:
    first = publish(settings)
    assert (first.written, first.reloaded, told(settings)) == (True, True, 1)
    before = {path.name: path.stat().st_ino for path in Path(settings.folder).glob("*.*")}
    again = publish(settings)
    assert (again.written, again.reloaded, told(settings)) == (False, False, 1)
    assert {path.name: path.stat().st_ino for path in Path(settings.folder).glob("*.*")} == before


def test_without_room_for_the_copy_the_error_names_its_folder_and_the_old_one_stays(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(settings)
    before = read_state(settings.folder)
    apply(Path(settings.database), site(state="disabled"))

    def full(*_arguments: object) -> str:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(publishing, "_write_lookup", full)
        with pytest.raises(PublishError, match=f"^cannot publish to {settings.folder}: database or disk is full"):
            publish(settings)
    assert read_state(settings.folder) == before
    assert publish(settings).written


def test_what_postfix_does_not_need_renews_nothing(settings: Settings) -> None:
    publish(settings)
    apply(Path(settings.database), site(quota="9G", display_name="Alice"))
    assert not publish(settings).written
    assert told(settings) == 1


def test_only_expressions_are_worth_telling(settings: Settings) -> None:
    publish(settings)
    wanted = site()
    wanted[0]["mailboxes"].append({"name": "bob", "password_hash": HASH})
    apply(Path(settings.database), wanted)
    done = publish(settings)
    assert (done.written, done.reloaded, told(settings)) == (True, False, 1)
    wanted[0]["expressions"][0]["destinations"] = "bob"
    apply(Path(settings.database), wanted)
    assert (publish(settings).reloaded, told(settings)) == (True, 2)


def test_what_postfix_needs_is_renewed(settings: Settings) -> None:
    before = publish(settings).stamp
    apply(Path(settings.database), site(state="disabled"))
    after = publish(settings)
    assert (after.written, told(settings)) == (True, 2)
    assert after.stamp != before
    assert rows(Path(settings.folder) / "lookup.sqlite3", "SELECT stamp FROM publication") == [(after.stamp,)]


def test_modes_and_no_password_in_it(settings: Settings) -> None:
    publish(settings)
    folder = Path(settings.folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        ".lock": 0o600,
        "lookup.sqlite3": 0o640,
        "expressions.pcre": 0o640,
        "state.json": 0o640,
    }
    assert all(b"argon2" not in path.read_bytes() for path in folder.iterdir())
    names = {name for (name,) in rows(folder / "lookup.sqlite3", "SELECT name FROM sqlite_schema")}
    assert not any("dovecot" in name for name in names)


def test_a_slash_in_a_pattern_does_not_end_it(settings: Settings) -> None:
    publish(settings)
    rule = (Path(settings.folder) / "expressions.pcre").read_text().splitlines()[-1]
    assert rule.endswith(r"(?:a\/b|c)(?:\+[^@]*)?@example\.org$/ alice@example.org")


def test_a_reload_that_failed_is_made_up_for(settings: Settings) -> None:
    with pytest.raises(PublishError, match=r"failed with 3: no such luck"):
        publish(replace(settings, reload=("sh", "-c", "echo no such luck >&2; exit 3")))
    assert rows(Path(settings.folder) / "lookup.sqlite3", "SELECT address FROM postfix_mailbox") == [
        ("alice@example.org",)
    ]
    done = publish(settings)
    assert (done.written, done.reloaded, told(settings)) == (False, True, 1)


def test_a_postfix_that_is_not_installed_yet_is_no_failure(settings: Settings, tmp_path: Path) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\nexit 5\n")
    systemctl.chmod(0o755)
    assert publish(replace(settings, reload=(str(systemctl), "reload", "x.service"))).written


def test_a_directory_that_cannot_be_read_leaves_the_old_copy(settings: Settings) -> None:
    publish(settings)
    lookup = Path(settings.folder) / "lookup.sqlite3"
    before = lookup.read_bytes()
    whole = Path(settings.database).read_bytes()
    Path(settings.database).write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(CorruptDatabase):
        publish(settings)
    assert lookup.read_bytes() == before


def test_what_is_broken_or_missing_is_published_again(settings: Settings) -> None:
    publish(settings)
    folder = Path(settings.folder)
    (folder / "lookup.sqlite3").write_bytes(b"garbage")
    (folder / "state.json").write_text("garbage")
    assert publish(settings).written
    assert rows(folder / "lookup.sqlite3", "SELECT count(*) FROM postfix_mailbox") == [(1,)]
    (folder / "expressions.pcre").unlink()
    assert publish(settings).written
    assert (folder / "expressions.pcre").exists()


def test_it_is_as_new_as_the_directory_when_it_ends(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody commits after the directory was read: the same run publishes again."""
    real, once = publishing._reload, threading.Event()

    def reload_and_commit(command: Any) -> None:
        real(command)
        if not once.is_set():
            once.set()
            apply(Path(settings.database), site(state="disabled"))

    monkeypatch.setattr(publishing, "_reload", reload_and_commit)
    publish(settings)
    assert rows(Path(settings.folder) / "lookup.sqlite3", "SELECT count(*) FROM postfix_mailbox") == [(0,)]
    assert read_state(settings.folder)["counter"] == publishing.store.change_counter(settings.database)
    assert told(settings) == 2


def test_readers_of_the_copy_see_the_old_or_the_new(settings: Settings) -> None:
    publish(settings)
    lookup = Path(settings.folder) / "lookup.sqlite3"
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            with closing(sqlite3.connect(f"file:{lookup}?mode=ro", uri=True, timeout=0)) as connection:
                seen.add(tuple(connection.execute("SELECT destination FROM postfix_alias").fetchall()))

    reader = threading.Thread(target=read)
    reader.start()
    for state in ("disabled", "active") * 5:
        apply(Path(settings.database), site(state=state))
        publish(settings)
    stop.set()
    reader.join(20)
    assert seen == {(), (("alice@example.org",),)}


def test_the_live_file_is_read_without_holding_up_writers(settings: Settings) -> None:
    with opened(Path(settings.database)) as writer:
        writer.execute("BEGIN IMMEDIATE").close()
        assert publish(settings).written
        writer.execute("ROLLBACK").close()
