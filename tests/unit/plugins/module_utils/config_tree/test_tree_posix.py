# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real file system and real programs, in a folder of the test's own."""

from __future__ import annotations

import errno
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.errors import ConfigTreeError
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.posix import PosixHost, run_program

ME = (os.getuid(), os.getgid())
HOST = PosixHost()


def test_a_file_is_written_as_asked_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        HOST.write(f"{tmp_path}/x", b"content", 0o644, *ME)
    finally:
        os.umask(before)
    found = HOST.look(f"{tmp_path}/x")
    assert found
    assert (found.kind, found.mode, found.uid, found.gid, found.content) == ("file", 0o644, *ME, b"content")


def test_a_file_can_say_that_it_is_older_than_it_is(tmp_path: Path) -> None:
    before = time.time()
    HOST.write(f"{tmp_path}/new", b"", 0o644, *ME)
    HOST.write(f"{tmp_path}/old", b"", 0o644, *ME, age=60)
    new, old = ((tmp_path / name).stat().st_mtime for name in ("new", "old"))
    assert before - 1 < new
    assert before - 61 < old < time.time() - 59


def test_writing_never_goes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "x").symlink_to("theirs")
    HOST.write(f"{tmp_path}/x", b"ours", 0o600, *ME)
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert not (tmp_path / "x").is_symlink()


def test_what_is_there_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert HOST.look(f"{tmp_path}/nothing") is None
    assert [found.kind for name in ("", "/link", "/pipe") if (found := HOST.look(f"{tmp_path}{name}"))] == [
        "directory",
        "symlink",
        "other",
    ]
    (tmp_path / "file").touch()
    assert HOST.look(f"{tmp_path}/file/below") is None


def test_a_fingerprint_follows_links_and_is_empty_without_a_file(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    (tmp_path / "live").symlink_to("one")
    first = HOST.fingerprint(f"{tmp_path}/live")
    (tmp_path / "live").unlink()
    (tmp_path / "live").symlink_to("two")
    assert first
    assert HOST.fingerprint(f"{tmp_path}/live") not in ("", first)
    assert HOST.fingerprint(f"{tmp_path}/none") == ""


@pytest.mark.parametrize("same_file_system", [True, False])
def test_keeping_keeps_content_mode_times_and_attributes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_file_system: bool
) -> None:
    if not same_file_system:
        monkeypatch.setattr(os, "link", _other_device)
    source = tmp_path / "x"
    source.write_text("content")
    source.chmod(0o640)
    os.utime(source, (1, 2))
    os.setxattr(source, "user.test", b"kept")
    HOST.keep(str(source), f"{tmp_path}/kept")
    kept = tmp_path / "kept"
    assert kept.read_text() == "content"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert kept.stat().st_mtime == 2
    assert os.getxattr(kept, "user.test") == b"kept"
    assert kept.samefile(source) == same_file_system


@pytest.mark.parametrize("same_file_system", [True, False])
def test_keeping_a_link_keeps_the_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_file_system: bool) -> None:
    if not same_file_system:
        monkeypatch.setattr(os, "link", _other_device)
    (tmp_path / "x").symlink_to("target")
    HOST.keep(f"{tmp_path}/x", f"{tmp_path}/kept")
    assert (tmp_path / "kept").readlink() == Path("target")


def _other_device(*_arguments: object, **_options: object) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


def test_a_folder_that_is_not_empty_stays(tmp_path: Path) -> None:
    HOST.make_folder(f"{tmp_path}/f", 0o700, *ME)
    (tmp_path / "f" / "x").touch()
    HOST.remove_folder(f"{tmp_path}/f")
    assert (tmp_path / "f" / "x").exists()
    HOST.remove(f"{tmp_path}/f/x")
    HOST.remove(f"{tmp_path}/f/x")
    HOST.remove_folder(f"{tmp_path}/f")
    HOST.remove_folder(f"{tmp_path}/f")
    assert not (tmp_path / "f").exists()


def test_accounts_by_name_or_number() -> None:
    assert HOST.uid("root") == 0
    assert HOST.gid("4711") == 4711
    assert HOST.uid("no-such-user") is None


def test_a_program_has_no_input_a_plain_environment_and_one_output() -> None:
    outcome = run_program(["/bin/sh", "-c", "cat; echo out; echo err >&2; echo $LC_ALL; exit 3"], 10)
    assert (outcome.status, outcome.output) == (3, "out\nerr\nC.UTF-8")


def test_a_program_that_is_not_there() -> None:
    outcome = run_program(["no-such-program"], 10)
    assert (outcome.status, outcome.output) == (127, "no-such-program: there is no such program on the host")


def test_a_program_that_does_not_end_is_stopped() -> None:
    outcome = run_program(["/bin/sh", "-c", "echo begun; sleep 60"], 0.2)
    assert outcome.status == 124
    assert outcome.output.startswith("begun\n/bin/sh: no end after")


def test_what_a_program_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    begin = time.monotonic()
    outcome = run_program(["/bin/sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; echo done"], 10)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert outcome.output == "done"
    assert time.monotonic() - begin < 5


def test_the_lock_is_for_one_at_a_time(tmp_path: Path) -> None:
    lock = f"{tmp_path}/lock"
    with HOST.lock(lock, 1), pytest.raises(ConfigTreeError, match="another run"), HOST.lock(lock, 0.1):
        raise AssertionError("two hold the lock")
    with HOST.lock(lock, 0.1):
        assert (tmp_path / "lock").exists()


def test_a_hang_up_does_not_end_a_run_but_still_ends_its_programs() -> None:
    with HOST.unhurried():
        os.kill(os.getpid(), signal.SIGHUP)
        assert run_program(["/bin/sh", "-c", "kill -HUP $$; exit 0"], 5).status == -signal.SIGHUP
