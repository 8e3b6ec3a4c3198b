# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real host: files by rename and fsync, programs without a shell, a mount namespace for the checks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from .errors import ConfigTreeError
from .host import Found, FoundKind, Outcome
from .namespace import run_in_namespace

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": _PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"}


class PosixHost:
    """The machine that the module runs on."""

    def look(self, path: str) -> Found | None:
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        kind = _kind(status.st_mode)
        content = b""
        if kind == "symlink":
            content = os.fsencode(Path(path).readlink())
        elif kind == "file":
            content = Path(path).read_bytes()
        return Found(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, content)

    def fingerprint(self, path: str) -> str:
        try:
            return hashlib.sha256(Path(path).read_bytes()).hexdigest()
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def names(self, folder: str) -> Iterable[str]:
        return [entry.name for entry in Path(folder).iterdir()]

    def write(self, path: str, content: bytes, mode: int, uid: int, gid: int, age: int = 0) -> None:
        self.remove(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, mode)
            if age:
                os.utime(descriptor, (time.time() - age,) * 2)
            os.fsync(descriptor)

    def rename(self, source: str, target: str) -> None:
        Path(source).rename(target)

    def keep(self, source: str, target: str) -> None:
        self.remove(target)
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                raise
            _copy(source, target)

    def make_folder(self, path: str, mode: int, uid: int, gid: int) -> None:
        with contextlib.suppress(FileExistsError):
            Path(path).mkdir(0o700)
        self.set_attributes(path, mode, uid, gid)

    def set_attributes(self, path: str, mode: int, uid: int, gid: int) -> None:
        os.chown(path, uid, gid, follow_symlinks=False)
        Path(path).chmod(mode)

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            Path(path).unlink()

    def remove_folder(self, path: str) -> None:
        try:
            Path(path).rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise

    def sync(self, folders: Iterable[str]) -> None:
        for folder in sorted(set(folders)):
            with contextlib.suppress(FileNotFoundError):
                _flush_folder(folder)

    def uid(self, owner: str) -> int | None:
        try:
            return pwd.getpwnam(owner).pw_uid
        except KeyError:
            return int(owner) if owner.isdecimal() else None

    def gid(self, group: str) -> int | None:
        try:
            return grp.getgrnam(group).gr_gid
        except KeyError:
            return int(group) if group.isdecimal() else None

    def owner_name(self, uid: int) -> str:
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)

    def group_name(self, gid: int) -> str:
        try:
            return grp.getgrgid(gid).gr_name
        except KeyError:
            return str(gid)

    def run(self, argv: Sequence[str], timeout: float) -> Outcome:
        return run_program(argv, timeout)

    def run_in_view(
        self, paths: Sequence[str], stage: Callable[[], None], programs: Sequence[Sequence[str]], timeout: float
    ) -> list[Outcome]:
        return run_in_namespace(paths, stage, lambda: _run_until_failure(programs, timeout))

    @contextlib.contextmanager
    def lock(self, path: str, timeout: float) -> Iterator[None]:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _take(descriptor, path, timeout)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def unhurried(self) -> Iterator[None]:
        # A handler, because an ignored signal stays ignored in the programs that are started.
        before = signal.signal(signal.SIGHUP, lambda _number, _frame: None)
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)

    def now(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


def _flush_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def run_program(argv: Sequence[str], timeout: float) -> Outcome:
    """Run a program to its end; what it leaves running in the background is not waited for."""
    program = shutil.which(argv[0], path=_PATH)
    if program is None:
        return Outcome(tuple(argv), 127, f"{argv[0]}: there is no such program on the host")
    output = os.memfd_create("output")
    try:
        with _started(argv, program, output) as process:
            status = _ended(process, timeout)
        text = _read_all(output).decode("utf-8", "replace").strip()
    finally:
        os.close(output)
    if status is None:
        return Outcome(tuple(argv), 124, f"{text}\n{argv[0]}: no end after {timeout:.0f} seconds, stopped".strip())
    return Outcome(tuple(argv), status, text)


def _started(argv: Sequence[str], program: str, output: int) -> subprocess.Popen[bytes]:
    # The library knows no AnsibleModule, whose run_command is asked for from ansible-core 2.21 on.
    return subprocess.Popen(  # pylint: disable=ansible-bad-function
        argv,
        executable=program,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        env=_ENVIRONMENT,
        start_new_session=True,
    )


def _ended(process: subprocess.Popen[bytes], timeout: float) -> int | None:
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def _run_until_failure(programs: Sequence[Sequence[str]], timeout: float) -> list[Outcome]:
    outcomes = []
    for argv in programs:
        outcomes.append(run_program(argv, timeout))
        if outcomes[-1].failed:
            break
    return outcomes


def _read_all(descriptor: int) -> bytes:
    return Path(f"/proc/self/fd/{descriptor}").read_bytes()


def _kind(mode: int) -> FoundKind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(mode) else "other"


def _copy(source: str, target: str) -> None:
    """Copy a file or a link with owner, mode, times and extended attributes, and flush it."""
    status = os.lstat(source)
    if stat.S_ISLNK(status.st_mode):
        Path(target).symlink_to(Path(source).readlink())
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
        return
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with Path(source).open("rb") as original, os.fdopen(descriptor, "wb") as copy:
        shutil.copyfileobj(original, copy)
        copy.flush()
        os.fchown(descriptor, status.st_uid, status.st_gid)
        shutil.copystat(source, target)
        os.fsync(descriptor)


def _take(descriptor: int, path: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ConfigTreeError(
                    f"another run holds {path} and did not end within {timeout:.0f} seconds; nothing was changed"
                ) from None
        time.sleep(0.1)
