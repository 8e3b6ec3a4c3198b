# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host in memory, which can die before any of its operations."""

from __future__ import annotations

import contextlib
import copy
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.host import Found, FoundKind, Outcome
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.request import ancestors

STATE = "/var/lib/postoffice/config_tree"


class PowerLoss(BaseException):
    """The process is gone; nothing may handle this."""


@dataclass
class Inode:
    kind: FoundKind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    content: bytes = b""
    age: int = 0


def fine(argv: Sequence[str]) -> Outcome:
    return Outcome(tuple(argv), 0, "")


@dataclass
class FakeHost:
    """Hard links are paths that share an inode. `programs` answers for everything that is run."""

    tree: dict[str, Inode] = field(default_factory=dict)
    programs: Callable[[Sequence[str]], Outcome] = fine
    users: dict[str, int] = field(default_factory=lambda: {"root": 0, "vmail": 5000})
    fails_after: int | None = None
    fits: int | None = None
    ran: list[tuple[str, ...]] = field(default_factory=list)
    staged: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    clock: float = 0.0
    operations: int = 0
    viewing: bool = False

    def __post_init__(self) -> None:
        for folder in ("/etc", "/usr", "/usr/local", "/usr/local/lib", "/var", "/var/lib"):
            self.tree.setdefault(folder, Inode("directory", 0o755))

    def put(self, path: str, content: str, mode: int = 0o644) -> None:
        """Somebody else writes a file."""
        for folder in ancestors(path):
            self.tree.setdefault(folder, Inode("directory", 0o755))
        self.tree[path] = Inode("file", mode, content=content.encode())

    def text(self, path: str) -> str | None:
        return self.tree[path].content.decode() if path in self.tree else None

    def snapshot(self) -> dict[str, Inode]:
        """Everything but the memory of the runs."""
        return {path: copy.copy(inode) for path, inode in self.tree.items() if not path.startswith("/var/lib/p")}

    def _step(self) -> None:
        if self.viewing:
            return
        if self.fails_after is not None and self.operations >= self.fails_after:
            raise PowerLoss
        self.operations += 1

    def look(self, path: str) -> Found | None:
        inode = self.tree.get(path)
        return Found(inode.kind, inode.mode, inode.uid, inode.gid, inode.content) if inode else None

    def fingerprint(self, path: str) -> str:
        return self.text(path) or ""

    def names(self, folder: str) -> Iterable[str]:
        return [posixpath.basename(path) for path in self.tree if posixpath.dirname(path) == folder and path != "/"]

    def write(self, path: str, content: bytes, mode: int, uid: int, gid: int, age: int = 0) -> None:
        self._step()
        assert self.tree[posixpath.dirname(path)].kind == "directory"
        if self.fits is not None and not path.startswith(STATE):
            if self.fits == 0:
                raise OSError(28, "No space left on device")
            self.fits -= 1
        self.tree[path] = Inode("file", mode, uid, gid, content, age)

    def rename(self, source: str, target: str) -> None:
        self._step()
        if self.tree.get(target) is self.tree[source]:
            return
        self.tree[target] = self.tree.pop(source)
        if not self.viewing:
            self.renamed.append(target)

    def keep(self, source: str, target: str) -> None:
        self._step()
        self.tree[target] = self.tree[source]

    def make_folder(self, path: str, mode: int, uid: int, gid: int) -> None:
        self._step()
        self.tree[path] = Inode("directory", mode, uid, gid)

    def set_attributes(self, path: str, mode: int, uid: int, gid: int) -> None:
        self._step()
        inode = self.tree[path]
        inode.mode, inode.uid, inode.gid = mode, uid, gid

    def remove(self, path: str) -> None:
        self._step()
        assert path not in self.tree or self.tree[path].kind != "directory"
        self.tree.pop(path, None)

    def remove_folder(self, path: str) -> None:
        self._step()
        if not self.names(path):
            self.tree.pop(path, None)

    def sync(self, folders: Iterable[str]) -> None:
        assert all(folder.startswith("/") for folder in folders)

    def uid(self, owner: str) -> int | None:
        return self.users.get(owner)

    def gid(self, group: str) -> int | None:
        return self.users.get(group)

    def owner_name(self, uid: int) -> str:
        return next((name for name, number in self.users.items() if number == uid), str(uid))

    group_name = owner_name

    def run(self, argv: Sequence[str], timeout: float) -> Outcome:
        self._step()
        assert timeout > 0
        self.ran.append(tuple(argv))
        return self.programs(argv)

    def run_in_view(
        self, paths: Sequence[str], stage: Callable[[], None], programs: Sequence[Sequence[str]], timeout: float
    ) -> list[Outcome]:
        self._step()
        real, self.viewing = self.tree, True
        self.tree = copy.deepcopy(real)
        try:
            stage()
            outcomes: list[Outcome] = []
            for argv in programs:
                outcomes.append(self.run(argv, timeout))
                if outcomes[-1].failed:
                    break
            self.staged = list(paths)
            return outcomes
        finally:
            self.tree, self.viewing = real, False

    @contextlib.contextmanager
    def lock(self, path: str, timeout: float) -> Iterator[None]:
        assert path.startswith(STATE)
        assert timeout > 0
        yield

    @contextlib.contextmanager
    def unhurried(self) -> Iterator[None]:
        yield

    def now(self) -> float:
        return self.clock

    def wait(self, seconds: float) -> None:
        self.clock += seconds
