# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private mount namespace that shows a staged tree at its real paths.

Each folder that receives changes is covered by an overlay whose upper layer lies on a private tmpfs. Both exist in the
namespace only: nobody else can read what is staged there, and the kernel drops it with the last process, however that
ends. File systems mounted below a covered folder are shown again on top.
"""

from __future__ import annotations

import ctypes
import json
import os
import posixpath
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import ConfigTreeError
from .host import Outcome

_PLACE = "/run/postoffice-config-tree-"

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Cover:
    """A folder that gets an overlay, and what is mounted below it and must stay visible."""

    folder: str
    mounts: tuple[str, ...]


@dataclass(frozen=True)
class _Job:
    """What the child process has to do, and where it may stage."""

    place: str
    paths: Sequence[str]
    stage: Callable[[], None]
    work: Callable[[], list[Outcome]]


def plan_covers(folders: Iterable[str], mounts: Iterable[str]) -> list[Cover]:
    """Which folders to cover, outermost first: none inside another one of the same file system."""
    mounts = sorted(set(mounts))
    chosen: list[str] = []
    for folder in sorted(set(folders)):
        mount = _mount_of(folder, mounts)
        if not any(_below(folder, outer) and _mount_of(outer, mounts) == mount for outer in chosen):
            chosen.append(folder)
    return [Cover(folder, tuple(mount for mount in mounts if _below(mount, folder))) for folder in chosen]


def _below(path: str, folder: str) -> bool:
    return path != folder and path.startswith(folder.rstrip("/") + "/")


def _mount_of(path: str, mounts: Sequence[str]) -> str:
    return max((mount for mount in mounts if mount == path or _below(path, mount)), key=len, default="/")


def run_in_namespace(
    paths: Sequence[str], stage: Callable[[], None], work: Callable[[], list[Outcome]]
) -> list[Outcome]:
    """Fork, cover the folders above the paths, call `stage`, then `work`, and return what that returned."""
    place = tempfile.mkdtemp(prefix=_PLACE)
    try:
        answer, status = _fork(_Job(place, paths, stage, work))
    finally:
        Path(place).rmdir()
    if not answer:
        raise ConfigTreeError(f"the check ended without a word (status {status}); nothing was changed")
    parsed = json.loads(answer)
    if "error" in parsed:
        raise ConfigTreeError(parsed["error"])
    return [Outcome(tuple(raw["argv"]), raw["status"], raw["output"]) for raw in parsed["outcomes"]]


def _fork(job: _Job) -> tuple[bytes, int]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _answer(writer, job)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    status = os.waitpid(child, 0)[1]
    return answer, status


def _answer(writer: int, job: _Job) -> None:
    """The child's whole life; it never returns."""
    try:
        with os.fdopen(writer, "wb") as stream:
            stream.write(json.dumps(_outcome(job)).encode())
    finally:
        os._exit(0)


def _outcome(job: _Job) -> dict[str, object]:
    try:
        _die_with_parent()
        _enter(job)
        job.stage()
        return {"outcomes": [asdict(outcome) for outcome in job.work()]}
    except ConfigTreeError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"the changes cannot be staged for the check: {error}; nothing was changed"}


def _enter(job: _Job) -> None:
    try:
        _unshare()
        _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
        covers = plan_covers((_nearest_folder(path) for path in job.paths), _mounts())
        _mount("tmpfs", job.place, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0700")
        _cover(covers, job.place)
    except OSError as error:
        raise ConfigTreeError(
            "the changes cannot be checked before they are made, because this host does not let its root mount "
            f"({error}); nothing was changed. A container needs the capability CAP_SYS_ADMIN and the mount system calls"
        ) from None


def _cover(covers: Sequence[Cover], stage: str) -> None:
    places = [posixpath.join(stage, str(number)) for number in range(len(covers))]
    for cover, place in zip(covers, places, strict=True):
        _bind_originals(cover, place)
    for cover, place in zip(covers, places, strict=True):
        _overlay(cover.folder, place)
        for index, mount in enumerate(cover.mounts):
            _mount(posixpath.join(place, f"mount{index}"), mount, None, _MS_BIND)


def _bind_originals(cover: Cover, place: str) -> None:
    for name in ("", "lower", "upper", "work"):
        Path(place, name).mkdir()
    _mount(cover.folder, posixpath.join(place, "lower"), None, _MS_BIND)
    for index, mount in enumerate(cover.mounts):
        target = Path(place, f"mount{index}")
        if Path(mount).is_dir():
            target.mkdir()
        else:
            target.touch()
        _mount(mount, str(target), None, _MS_BIND)


def _overlay(folder: str, place: str) -> None:
    upper = posixpath.join(place, "upper")
    status = Path(folder).stat()
    os.chown(upper, status.st_uid, status.st_gid)
    shutil.copystat(folder, upper)
    options = f"lowerdir={place}/lower,upperdir={upper},workdir={place}/work"
    try:
        _mount("overlay", folder, "overlay", 0, options)
    except PermissionError:
        _mount("overlay", folder, "overlay", 0, f"{options},userxattr")


def _nearest_folder(path: str) -> str:
    return str(next(parent for parent in Path(path).parents if parent.is_dir()))


def _mounts() -> list[str]:
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    return [_unescape(line.split(" ")[4]) for line in table.splitlines()]


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _unshare() -> None:
    if _libc().unshare(_CLONE_NEWNS) != 0:
        raise _os_error("unshare")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode() if kind else None, ctypes.c_ulong(flags))
    if _libc().mount(*arguments, os.fsencode(options) or None) != 0:
        raise _os_error(f"mount {kind or 'bind'} on {target}")


def _os_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def _die_with_parent() -> None:
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
