# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run needs of an operating system, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

FoundKind = Literal["file", "directory", "symlink", "other"]


@dataclass(frozen=True)
class Found:
    """What is at a path now. `content` is a file's bytes or a symbolic link's target."""

    kind: FoundKind
    mode: int
    uid: int
    gid: int
    content: bytes = b""


@dataclass(frozen=True)
class Outcome:
    """How a program ended: its exit status (127 when it is not there, 124 when it took too long) and what it said."""

    argv: tuple[str, ...]
    status: int
    output: str

    @property
    def timed_out(self) -> bool:
        return self.status == 124

    @property
    def failed(self) -> bool:
        return self.status != 0


class Files(Protocol):
    """The file system. Everything that writes is durable only after `sync`, except `write`."""

    def look(self, path: str) -> Found | None: ...

    def fingerprint(self, path: str) -> str:
        """A digest of the file that the path leads to, links followed; empty when there is none."""

    def names(self, folder: str) -> Iterable[str]: ...

    def write(self, path: str, content: bytes, mode: int, uid: int, gid: int, age: int = 0) -> None:
        """Create a new file, modified `age` seconds ago, and flush it; whatever was at the path is unlinked first."""

    def rename(self, source: str, target: str) -> None: ...

    def keep(self, source: str, target: str) -> None:
        """Make the target the same file or link as the source: a hard link, else a copy with all attributes."""

    def make_folder(self, path: str, mode: int, uid: int, gid: int) -> None: ...

    def set_attributes(self, path: str, mode: int, uid: int, gid: int) -> None: ...

    def remove(self, path: str) -> None:
        """Remove a file or link; no error when it is gone already."""

    def remove_folder(self, path: str) -> None:
        """Remove a folder when it is empty, else leave it."""

    def sync(self, folders: Iterable[str]) -> None: ...


class Host(Files, Protocol):
    """The file system, the accounts, the programs and the clock."""

    def uid(self, owner: str) -> int | None: ...

    def gid(self, group: str) -> int | None: ...

    def owner_name(self, uid: int) -> str: ...

    def group_name(self, gid: int) -> str: ...

    def run(self, argv: Sequence[str], timeout: float) -> Outcome: ...

    def run_in_view(
        self, paths: Sequence[str], stage: Callable[[], None], programs: Sequence[Sequence[str]], timeout: float
    ) -> list[Outcome]:
        """Run programs in a private mount namespace.

        `stage` writes to the given paths there and nobody else sees it. The first program that fails ends the list.
        """

    def lock(self, path: str, timeout: float) -> AbstractContextManager[None]: ...

    def unhurried(self) -> AbstractContextManager[None]:
        """While it lasts, a terminal that hangs up does not end the run."""

    def now(self) -> float: ...

    def wait(self, seconds: float) -> None: ...
