# SPDX-License-Identifier: GPL-3.0-or-later
"""The file under faults: it is the old state or the new one, and every trouble has a name."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mail_model import HASH, apply, opened, rows

from ansible_collections.postoffice.mail.plugins.module_utils.directory import errors, migrations, reconcile, store
from ansible_collections.postoffice.mail.plugins.module_utils.directory.publishing import Settings, publish

PACKAGE = Path(store.__file__).parent


def site(count: int, quota: str = "1G") -> list[dict[str, Any]]:
    boxes = [{"name": f"user{n}", "password_hash": HASH, "quota": quota} for n in range(count)]
    return [{"name": "example.org", "mailboxes": boxes}]


def test_a_new_file_is_private(tmp_path: Path) -> None:
    apply(tmp_path / "d", site(1))
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o660
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_schema_and_identity(tmp_path: Path) -> None:
    apply(tmp_path / "d", site(1))
    assert rows(tmp_path / "d", "PRAGMA user_version") == [(migrations.SCHEMA_VERSION,)]
    assert rows(tmp_path / "d", "PRAGMA application_id") == [(store.APPLICATION_ID,)]
    assert rows(tmp_path / "d", "PRAGMA journal_mode") == [("delete",)]
    assert rows(tmp_path / "d", "PRAGMA integrity_check") == [("ok",)]


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(tmp_path / "d", site(1))
    before = (tmp_path / "d").read_bytes()
    broken = (*migrations.MIGRATIONS, ("CREATE TABLE another (x) STRICT", "INSERT INTO nowhere VALUES (1)"))
    monkeypatch.setattr(store, "MIGRATIONS", broken)
    monkeypatch.setattr(store, "SCHEMA_VERSION", migrations.SCHEMA_VERSION + 1)
    with pytest.raises(errors.StoreError):
        apply(tmp_path / "d", site(1))
    assert (tmp_path / "d").read_bytes()[100:] == before[100:]


def test_a_migration_brings_an_older_file_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run predicts with a migrated copy and leaves the file alone."""
    apply(tmp_path / "d", site(1))
    before = (tmp_path / "d").read_bytes()
    step = ("UPDATE mailbox SET display_name = 'migrated'",)
    monkeypatch.setattr(store, "MIGRATIONS", (*migrations.MIGRATIONS, step))
    for module in (store, reconcile):
        monkeypatch.setattr(module, "SCHEMA_VERSION", migrations.SCHEMA_VERSION + 1)
    assert apply(tmp_path / "d", site(1), dry_run=True).changed
    assert (tmp_path / "d").read_bytes() == before
    assert apply(tmp_path / "d", site(1)).changed
    assert rows(tmp_path / "d", "PRAGMA user_version") == [(migrations.SCHEMA_VERSION + 1,)]


def empty(path: Path) -> Path:
    store.create(str(path))
    return path


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_older_schema_stays_where_it_is_not_to_be_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    with monkeypatch.context() as earlier, store.connect(str(empty(tmp_path / "d"))) as connection:
        earlier.setattr(store, "SCHEMA_VERSION", migrations.SCHEMA_VERSION - 1)
        store.migrate(connection)
    before = (tmp_path / "d").read_bytes()
    with pytest.raises(errors.OlderSchema, match="which is what site"):
        apply(tmp_path / "d", site(1), dry_run=dry_run, migrate=False)
    assert (tmp_path / "d").read_bytes() == before


def test_an_empty_file_is_nobodys_yet(tmp_path: Path) -> None:
    assert apply(empty(tmp_path / "d"), site(1), dry_run=True, migrate=False).changed
    assert apply(empty(tmp_path / "d"), site(1), migrate=False).changed
    assert not apply(tmp_path / "d", site(1), migrate=False).changed


@pytest.mark.parametrize("version", range(1, migrations.SCHEMA_VERSION))
def test_what_an_earlier_release_stored_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    store.create(str(tmp_path / "d"))
    with monkeypatch.context() as earlier, store.connect(str(tmp_path / "d")) as connection:
        earlier.setattr(store, "SCHEMA_VERSION", version)
        store.migrate(connection)
        connection.execute("INSERT INTO domain (name, kind, managed_by) VALUES ('a.example', 'local', 'x')").close()
        connection.execute("INSERT INTO mailbox (address, managed_by) VALUES ('a@a.example', 'x')").close()
    assert apply(tmp_path / "d", site(1)).changed
    assert rows(tmp_path / "d", "PRAGMA user_version") == [(migrations.SCHEMA_VERSION,)]
    assert ("a@a.example",) in rows(tmp_path / "d", "SELECT address FROM mailbox WHERE removed_at IS NULL")
    assert publish(Settings(str(tmp_path / "d"), str(tmp_path / "published"))).written


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"this is no database at all" * 40, errors.NotADatabase, "is not an SQLite database"),
        ("foreign", errors.NotADatabase, "of another program"),
        ("newer", errors.NewerSchema, "newer release"),
        ("torn", errors.CorruptDatabase, "restore it from a backup"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_file_that_is_not_ours_is_left_alone(
    tmp_path: Path, content: Any, error: type[errors.StoreError], says: str, dry_run: bool
) -> None:
    path = tmp_path / "d"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "foreign":
        with opened(path) as connection:
            connection.execute("CREATE TABLE recipes (x)").close()
    elif content == "newer":
        apply(path, site(1))
        with opened(path) as connection:
            connection.execute("PRAGMA user_version = 99").close()
    else:
        apply(path, site(500))
        whole = path.read_bytes()
        path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 8192) + whole[-4096:])
    before = path.read_bytes()
    with pytest.raises(error, match=says) as caught:
        apply(path, site(2), dry_run=dry_run)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["d"]


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.Unwritable, match="No such file"):
        apply(tmp_path / "missing" / "d", site(1))


def test_no_room_is_a_clear_error_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d"
    apply(path, site(10))
    before = path.read_bytes()
    real = store.apply

    def cramped(connection: sqlite3.Connection, *args: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1").close()
        real(connection, *args)

    monkeypatch.setattr(store, "apply", cramped)
    with pytest.raises(errors.DiskFull, match="no space left"):
        apply(path, site(5000))
    assert path.read_bytes() == before
    monkeypatch.undo()
    assert apply(path, site(5000)).changed


def test_a_full_file_system(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    script = (
        "mount -t tmpfs -o size=400k tmpfs small && "
        f"{sys.executable} -c 'import sys; sys.path.insert(0, sys.argv[1]); import full; full.main()' {tmp_path}"
    )
    (tmp_path / "full.py").write_text(
        f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
sys.path[:0] = {[entry for entry in sys.path if entry]!r}
from pathlib import Path
from mail_model import apply, rows
from test_directory_store import site
from ansible_collections.postoffice.mail.plugins.module_utils.directory.errors import DiskFull

def main():
    path = Path("small/d")
    apply(path, site(20))
    before = path.read_bytes()
    try:
        apply(path, site(20000))
    except DiskFull as error:
        print(error)
    assert path.read_bytes() == before
    assert len(rows(path, "SELECT * FROM mailbox")) == 20
    assert [entry.name for entry in Path("small").iterdir()] == ["d"]
    assert apply(path, site(25)).changed
"""
    )
    done = subprocess.run([*namespace, "sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no space left" in done.stdout


def test_a_locked_file_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "d"
    apply(path, site(1))
    with opened(path) as other:
        other.execute("BEGIN IMMEDIATE").close()
        worker = threading.Thread(target=lambda: apply(path, site(2)))
        worker.start()
        worker.join(0.5)
        assert worker.is_alive()
        other.execute("ROLLBACK").close()
        worker.join(20)
    assert len(rows(path, "SELECT * FROM mailbox")) == 2


def test_a_file_locked_for_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d"
    apply(path, site(1))
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.2)
    monkeypatch.setattr(store.write, "__defaults__", (0.2,))
    with opened(path) as other:
        other.execute("BEGIN IMMEDIATE").close()
        with pytest.raises(errors.Busy, match="locked by another program"):
            apply(path, site(2))
    assert len(rows(path, "SELECT * FROM mailbox")) == 1


def test_a_slow_reader_keeps_no_other_reader_waiting(tmp_path: Path) -> None:
    """SQLite lets nobody in while a commit waits: so it must not wait long."""
    path = tmp_path / "d"
    apply(path, site(200))
    with opened(path) as slow:
        slow.execute("BEGIN").close()
        slow.execute("SELECT count(*) FROM mailbox").fetchone()
        worker = threading.Thread(target=lambda: apply(path, site(200, "2G")))
        worker.start()
        slowest, until = 0.0, time.monotonic() + 2
        while time.monotonic() < until:
            start = time.monotonic()
            assert rows(path, "SELECT count(*) FROM mailbox") == [(200,)]
            slowest = max(slowest, time.monotonic() - start)
        assert worker.is_alive()
        slow.execute("COMMIT").close()
        worker.join(20)
    assert slowest < 0.3
    assert rows(path, "SELECT DISTINCT quota FROM mailbox") == [(2 << 30,)]


def test_two_runs_at_once_both_end_well(tmp_path: Path) -> None:
    path = tmp_path / "d"
    apply(path, site(1))
    failures: list[BaseException] = []

    def work(quota: str) -> None:
        try:
            apply(path, site(300, quota))
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(quota,)) for quota in ("2G", "3G", "4G")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert failures == []
    found = rows(path, "SELECT quota, count(*) FROM mailbox GROUP BY quota")
    assert len(found) == 1
    assert found[0][1] == 300


def test_somebody_else_commits_while_passwords_are_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d"
    apply(path, site(1))
    real = reconcile.passwords.hash_all

    def slowly(wanted: Any, scheme: str) -> dict[str, str]:
        with opened(path) as other:
            other.execute("UPDATE mailbox SET managed_by = 'admin', display_name = 'theirs'").close()
        return real(wanted, scheme)

    monkeypatch.setattr(reconcile.passwords, "hash_all", slowly)
    structure = [{"name": "example.org", "mailboxes": [{"name": "new", "password": "secret"}]}]
    apply(path, structure)
    query = "SELECT address, display_name, managed_by, removed_at FROM mailbox ORDER BY address"
    assert rows(path, query) == [
        ("new@example.org", "", "inventory", None),
        ("user0@example.org", "theirs", "admin", None),
    ]


def test_killed_at_any_moment_it_is_the_old_state_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "d"
    apply(path, site(1500, "1G"))
    randomness = random.Random(7)
    program = tmp_path / "import.py"
    program.write_text(
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *filter(None, sys.path)]!r}\n"
        "from pathlib import Path\nfrom mail_model import apply\nfrom test_directory_store import site\n"
        "print('ready', flush=True)\n"
        "for quota in ('2G', '1G') * 1000:\n    apply(Path(sys.argv[1]), site(1500, quota))\n"
    )
    for _attempt in range(10):
        worker = subprocess.Popen([sys.executable, str(program), str(path)], stdout=subprocess.PIPE)
        with closing(worker.stdout or sys.stdout) as output:
            output.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                worker.wait(randomness.uniform(0.01, 0.25))
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        found = rows(path, "SELECT quota, count(*) FROM mailbox GROUP BY quota")
        assert len(found) == 1, "a mixture"
        assert found[0][1] == 1500
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    apply(path, site(1500, "3G"))
    assert rows(path, "SELECT DISTINCT quota FROM mailbox") == [(3 << 30,)]


def test_a_hot_journal_is_healed(tmp_path: Path) -> None:
    """What a writer leaves that dies in the middle of its commit."""
    path, journal = tmp_path / "d", tmp_path / "d-journal"
    apply(path, site(50))
    whole = path.read_bytes()
    with opened(path) as connection:
        connection.execute("PRAGMA cache_size = 1").close()
        connection.execute("BEGIN IMMEDIATE").close()
        connection.execute("UPDATE mailbox SET display_name = 'half' || hex(randomblob(200))").close()
        hot, torn = journal.read_bytes(), path.read_bytes()
        connection.execute("ROLLBACK").close()
    assert torn != whole
    path.write_bytes(torn)
    journal.write_bytes(hot)
    assert not apply(path, site(50)).changed
    assert path.read_bytes()[100:] == whole[100:]
    assert not journal.exists()
