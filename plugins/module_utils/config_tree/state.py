# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run remembers on the host: the manifest, the watched fingerprints and the mark of an unfinished swap."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import ConfigTreeError
from .host import Found, Host

STATE_ROOT = "/var/lib/postoffice/config_tree"
_FORMAT = 1


@dataclass(frozen=True)
class Written:
    """What has to be known about a file of an earlier run."""

    restart: bool
    secret: bool


@dataclass(frozen=True)
class Telling:
    """How it is checked, how the daemon is told of it and asked whether it works: what `reread` needs of a request."""

    check: tuple[tuple[str, ...], ...] = ()
    reload: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    watch_restart: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    probe_timeout: int = 20


@dataclass(frozen=True)
class State:
    """What the last finished run left behind."""

    files: Mapping[str, Written] = field(default_factory=dict)
    """The files that a run wrote."""
    folders: tuple[str, ...] = ()
    """The folders that a run created."""
    watch: Mapping[str, str] | None = None
    """Fingerprints at the last reload; None before the first."""
    telling: Telling = Telling()


@dataclass(frozen=True)
class Kept:
    """One path as it was before an unfinished swap; `store` is where its old file or link is kept."""

    path: str
    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    store: str = ""


@dataclass(frozen=True)
class Pending:
    """A swap that has begun and is not known to work yet."""

    kept: tuple[Kept, ...]
    writes: Mapping[str, Written]
    folders: tuple[str, ...]
    restart: bool
    daemon_reload: bool


class Store:
    """The folder of one name below the state root."""

    def __init__(self, host: Host, name: str, root: str = STATE_ROOT) -> None:
        self.host = host
        self.root = root
        self.name = name
        self.folder = posixpath.join(root, name)
        self.old = posixpath.join(self.folder, "old")
        self.lock_file = posixpath.join(self.folder, "lock")

    def exists(self) -> bool:
        return self.host.look(self.folder) is not None

    def create(self) -> None:
        """Make the folder and refuse one that somebody else could have planted."""
        above = posixpath.dirname(self.root)
        for path in (*reversed(_missing(self.host, above)), self.root, self.folder):
            if self.host.look(path) is None:
                self.host.make_folder(path, 0o700 if path.startswith(self.root) else 0o711, *self._root_ids())
        self.verify()

    def verify(self) -> None:
        for path in (self.root, self.folder):
            found = self.host.look(path)
            if found and (found.kind != "directory" or found.uid != self._root_ids()[0] or found.mode & 0o077):
                raise ConfigTreeError(
                    f"{path} must be a folder of root with mode 0700; it is not, so it is not trusted"
                )

    def load(self) -> State:
        raw = self._read("state.json")
        if raw is None:
            return State()
        # An older release did not remember how to tell.
        telling = _telling(raw.get("telling", {}))
        return State(_written(raw["files"]), tuple(raw["folders"]), raw["watch"], telling)

    def save(self, state: State) -> None:
        self._write("state.json", asdict(state))

    def load_pending(self) -> Pending | None:
        raw = self._read("pending.json")
        if raw is None:
            return None
        kept = tuple(Kept(**entry) for entry in raw["kept"])
        return Pending(kept, _written(raw["writes"]), tuple(raw["folders"]), raw["restart"], raw["daemon_reload"])

    def save_pending(self, pending: Pending) -> None:
        self._write("pending.json", asdict(pending))

    def clear_pending(self) -> None:
        """Forget the unfinished swap; from here on the old tree cannot come back."""
        self.host.remove(posixpath.join(self.folder, "pending.json"))
        self.host.sync([self.folder])
        self.tidy()

    def tidy(self) -> None:
        """Drop what a run left that died before it left a mark, or after it took the mark away."""
        self.host.remove(self._beside("pending.json"))
        self.host.remove(self._beside("state.json"))
        if self.host.look(self.old) is None:
            return
        for name in self.host.names(self.old):
            self.host.remove(posixpath.join(self.old, name))
        self.host.remove_folder(self.old)

    def make_old(self) -> None:
        if self.host.look(self.old) is None:
            self.host.make_folder(self.old, 0o700, *self._root_ids())

    def names(self) -> list[str]:
        """Everything that the host's runs have configured."""
        return sorted(self.host.names(self.root)) if self.host.look(self.root) else []

    def claimed_by_others(self) -> dict[str, str]:
        """The paths that other names manage, with the name."""
        claimed: dict[str, str] = {}
        for name in self.names():
            if name != self.name:
                other = Store(self.host, name, self.root)
                claimed |= dict.fromkeys(other.load().files, name)
        return claimed

    def _root_ids(self) -> tuple[int, int]:
        uid, gid = self.host.uid("root"), self.host.gid("root")
        if uid is None or gid is None:
            raise AssertionError("every host has a user and a group root")
        return uid, gid

    def _read(self, name: str) -> dict[str, Any] | None:
        path = posixpath.join(self.folder, name)
        found = self.host.look(path)
        if found is None:
            return None
        try:
            raw: dict[str, Any] = json.loads(found.content)
        except ValueError:
            raise ConfigTreeError(
                f"{path} is damaged; look at it and remove it, the next run then starts afresh"
            ) from None
        if raw.pop("format", None) != _FORMAT:
            raise ConfigTreeError(f"{path} was written by another release of this collection; use that one")
        return raw

    def _beside(self, name: str) -> str:
        return posixpath.join(self.folder, f"{name}.new")

    def _write(self, name: str, value: Mapping[str, object]) -> None:
        path = posixpath.join(self.folder, name)
        text = json.dumps({"format": _FORMAT, **value}, indent=1, sort_keys=True)
        self.host.write(self._beside(name), text.encode(), 0o600, *self._root_ids())
        self.host.rename(self._beside(name), path)
        self.host.sync([self.folder])


def kept_as(found: Found | None, path: str, store: str) -> Kept:
    """Describe what has to be put back when the swap fails."""
    if found is None:
        return Kept(path, "absent")
    return Kept(path, found.kind, found.mode, found.uid, found.gid, "" if found.kind == "directory" else store)


def _written(raw: Mapping[str, Mapping[str, bool]]) -> dict[str, Written]:
    return {path: Written(**marks) for path, marks in raw.items()}


def _telling(raw: Mapping[str, Any]) -> Telling:
    """As a request has it; JSON knows no tuples."""
    known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
    return Telling(**{**known, "check": tuple(tuple(program) for program in raw.get("check", ()))})


def _missing(host: Host, path: str) -> list[str]:
    missing = []
    while path != "/" and host.look(path) is None:
        missing.append(path)
        path = posixpath.dirname(path)
    return missing
