# Copyright (c) Post Office contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from .errors import ConfigTreeError
from .host import Outcome

STAGE = "/run/postoffice-config-tree"

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Cover:
    """A folder that gets an overlay, and what is mounted below it and must stay visible."""

    folder: str
    mounts: tuple[str, ...]


def plan_covers(folders: Iterable[str], mounts: Iterable[str]) -> list[Cover]:
    """Which folders to cover, outermost first: none inside another one of the same file system."""
    mounts = sorted(set(mounts))
    chosen: list[str] = []
    for folder in sorted(set(folders)):
        inside = [
            outer for outer in chosen if _below(folder, outer) and _mount_of(folder, mounts) == _mount_of(outer, mounts)
        ]
        if not inside:
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
    os.makedirs(STAGE, mode=0o700, exist_ok=True)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _answer(writer, paths, stage, work)
    os.close(writer)
    with open(reader, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(child, 0)
    if not answer:
        raise ConfigTreeError(f"the check ended without a word (status {status}); nothing was changed")
    parsed = json.loads(answer)
    if "error" in parsed:
        raise ConfigTreeError(parsed["error"])
    return [Outcome(tuple(raw["argv"]), raw["status"], raw["output"]) for raw in parsed["outcomes"]]


def _answer(writer: int, paths: Sequence[str], stage: Callable[[], None], work: Callable[[], list[Outcome]]) -> None:
    """The child's whole life; it never returns."""
    try:
        answer: dict[str, object]
        try:
            _die_with_parent()
            _enter(paths)
            stage()
            answer = {"outcomes": [asdict(outcome) for outcome in work()]}
        except ConfigTreeError as error:
            answer = {"error": str(error)}
        except OSError as error:
            answer = {"error": f"the changes cannot be staged for the check: {error}"}
        with open(writer, "wb") as stream:
            stream.write(json.dumps(answer).encode())
    finally:
        os._exit(0)


def _enter(paths: Sequence[str]) -> None:
    try:
        _unshare()
        _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
        _mount("tmpfs", STAGE, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0700")
        _cover(plan_covers((_nearest_folder(path) for path in paths), _mounts()))
    except OSError as error:
        raise ConfigTreeError(
            f"the changes cannot be checked before they are made, because mounting is not possible on this host ({error}); "
            "nothing was changed. In a container, allow it the capability CAP_SYS_ADMIN and the mount system calls"
        ) from None


def _cover(covers: Sequence[Cover]) -> None:
    for number, cover in enumerate(covers):
        place = posixpath.join(STAGE, str(number))
        _bind_originals(cover, place)
    for number, cover in enumerate(covers):
        place = posixpath.join(STAGE, str(number))
        _overlay(cover.folder, place)
        for index, mount in enumerate(cover.mounts):
            _mount(posixpath.join(place, f"mount{index}"), mount, None, _MS_BIND)


def _bind_originals(cover: Cover, place: str) -> None:
    for name in ("", "lower", "upper", "work"):
        os.mkdir(posixpath.join(place, name))
    _mount(cover.folder, posixpath.join(place, "lower"), None, _MS_BIND)
    for index, mount in enumerate(cover.mounts):
        target = posixpath.join(place, f"mount{index}")
        if os.path.isdir(mount):
            os.mkdir(target)
        else:
            with open(target, "xb"):
                pass
        _mount(mount, target, None, _MS_BIND)


def _overlay(folder: str, place: str) -> None:
    upper = posixpath.join(place, "upper")
    status = os.stat(folder)
    os.chown(upper, status.st_uid, status.st_gid)
    shutil.copystat(folder, upper)
    options = f"lowerdir={place}/lower,upperdir={upper},workdir={place}/work"
    try:
        _mount("overlay", folder, "overlay", 0, options)
    except PermissionError:
        _mount("overlay", folder, "overlay", 0, f"{options},userxattr")


def _nearest_folder(path: str) -> str:
    folder = posixpath.dirname(path)
    while not os.path.isdir(folder):
        folder = posixpath.dirname(folder)
    return folder


def _mounts() -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        points = [_unescape(line.split(" ")[4]) for line in stream]
    return [point for point in points if point != STAGE]


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
