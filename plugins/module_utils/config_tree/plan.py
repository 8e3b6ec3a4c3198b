# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Desired and found, compared: the plan from which the swap, the diff, `changed` and check mode all come."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .errors import ConfigTreeError
from .host import Found
from .request import Item, ancestors
from .state import State

SYSTEMD = "/etc/systemd/system/"


@dataclass(frozen=True)
class Change:
    """One path that becomes something else. `item` is None when the path goes away."""

    path: str
    action: str
    before: Found | None
    item: Item | None
    uid: int = 0
    gid: int = 0
    restart: bool = False
    hidden: bool = False

    @property
    def is_folder(self) -> bool:
        return self.item.kind == "directory" if self.item else bool(self.before and self.before.kind == "directory")


@dataclass(frozen=True)
class Plan:
    """What has to happen, in order: folders, files, and after the reload the removals."""

    folders: tuple[Change, ...] = ()
    files: tuple[Change, ...] = ()
    removals: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        return (*self.folders, *self.files, *self.removals)

    @property
    def writes(self) -> tuple[Change, ...]:
        return (*self.folders, *self.files)


@dataclass(frozen=True)
class Sight:
    """How a plan looks at the host."""

    look: Callable[[str], Found | None]
    names: Callable[[str], Iterable[str]]
    uid: Callable[[str], int | None]
    gid: Callable[[str], int | None]


def make_plan(items: Sequence[Item], state: State, sight: Sight, claimed: Mapping[str, str], check_mode: bool) -> Plan:
    """Compare the items with the host. Reads only.

    A missing owner or group is an error, in check mode a warning and the file counts as changed.
    """
    warnings: list[str] = []
    folders = _parents(items, sight)
    files: list[Change] = []
    for item in items:
        _refuse_links_above(item, sight)
        change = _compare(item, sight, check_mode, warnings)
        if change:
            change = replace(change, hidden=_is_secret(change, state))
            (folders if change.is_folder else files).append(change)
    removals = _removals(items, state, sight, claimed, warnings)
    return Plan(
        folders=tuple(sorted(folders, key=lambda change: change.path)),
        files=tuple(sorted(files, key=_swap_order)),
        removals=tuple(removals),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _swap_order(change: Change) -> tuple[bool, bool, str]:
    """New files first, those that the daemon rereads all the time last."""
    return bool(change.item and change.item.last), change.before is not None, change.path


def _parents(items: Sequence[Item], sight: Sight) -> list[Change]:
    listed = {item.path for item in items}
    missing = {parent for item in items for parent in ancestors(item.path) if sight.look(parent) is None}
    for path in missing:
        if posixpath.dirname(path) == "/":
            raise ConfigTreeError(f"{path} does not exist on the host; a new folder directly below / is not made here")
    parents = [Item(path, "directory", None, "root", "root", 0o755) for path in sorted(missing - listed)]
    return [_created(item, sight.uid("root"), sight.gid("root")) for item in parents]


def _created(item: Item, uid: int | None, gid: int | None) -> Change:
    return Change(item.path, "created", None, item, uid or 0, gid or 0, item.restart)


def _refuse_links_above(item: Item, sight: Sight) -> None:
    for parent in ancestors(item.path):
        found = sight.look(parent)
        if found and found.kind == "symlink":
            target = posixpath.normpath(posixpath.join(posixpath.dirname(parent), found.content.decode()))
            raise ConfigTreeError(
                f"{item.label}: {parent} is a symbolic link on the host; write the real path, below {target}"
            )
        if found and found.kind != "directory":
            raise ConfigTreeError(f"{item.label}: {parent} is not a folder on the host")


def _compare(item: Item, sight: Sight, check_mode: bool, warnings: list[str]) -> Change | None:
    uid, gid = sight.uid(item.owner), sight.gid(item.group)
    for known, what, name in ((uid, "user", item.owner), (gid, "group", item.group)):
        if known is None and not check_mode:
            raise ConfigTreeError(f"{item.label}: the {what} {name} does not exist on the host; create it first")
        if known is None:
            warnings.append(f"{item.path}: the {what} {name} does not exist on the host yet")
    before = sight.look(item.path)
    if before is None:
        return _created(item, uid, gid)
    allowed = ("directory",) if item.kind == "directory" else ("file", "symlink")
    if before.kind not in allowed:
        raise ConfigTreeError(f"{item.label}: is a {before.kind} on the host, not a {item.kind}; move it away first")
    same_content = before.kind == item.kind and (item.content is None or before.content == item.content)
    same_attributes = (before.mode, before.uid, before.gid) == (item.mode, uid, gid)
    if same_content and same_attributes:
        return None
    action = "attributes" if same_content else "changed"
    return replace(_created(item, uid, gid), action=action, before=before)


def _is_secret(change: Change, state: State) -> bool:
    """Secret now, or before: by the last run's word, or because a stranger's file was readable by its owner only."""
    earlier = state.files.get(change.path)
    private = bool(change.before and change.before.kind == "file" and not change.before.mode & 0o044)
    return bool(change.item and change.item.secret) or (earlier.secret if earlier else private)


def _removals(
    items: Sequence[Item], state: State, sight: Sight, claimed: Mapping[str, str], warnings: list[str]
) -> list[Change]:
    wanted = {item.path for item in items}
    removals = []
    for path in sorted(set(state.files) - wanted):
        found = sight.look(path)
        if found is None or path in claimed:
            continue
        if found.kind != "file":
            warnings.append(f"{path}: an earlier run wrote a file there, now it is a {found.kind}; left alone")
            continue
        removals.append(Change(path, "removed", found, None, restart=state.files[path].restart, hidden=True))
    gone = {change.path for change in removals}
    needed = wanted | {parent for path in wanted for parent in ancestors(path)}
    for path in sorted(set(state.folders) - needed, reverse=True):
        found = sight.look(path)
        if not found or found.kind != "directory":
            continue
        if {posixpath.join(path, name) for name in sight.names(path)} <= gone:
            removals.append(Change(path, "removed", found, None))
            gone.add(path)
    return removals


def touches_systemd(paths: Iterable[str]) -> bool:
    """Whether systemd has to read its units again."""
    return any(path.startswith(SYSTEMD) for path in paths)
