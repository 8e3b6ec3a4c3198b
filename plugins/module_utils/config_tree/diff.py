# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans and their changes as an operator reads them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

from .plan import Change

Names = Callable[[int], str]


def describe(change: Change, owner_name: Names, group_name: Names) -> str:
    """The prepared diff of one change; a secret file's content is replaced by a marker."""
    return "".join([_before(change, owner_name, group_name), _after(change), *_body(change)])


def _before(change: Change, owner_name: Names, group_name: Names) -> str:
    found = change.before
    if found is None:
        return f"--- before: {change.path} (absent)\n"
    owner = f"{owner_name(found.uid)}:{group_name(found.gid)}"
    if found.kind == "symlink":
        return f"--- before: {change.path} -> {found.content.decode(errors='replace')} (link, {owner})\n"
    return f"--- before: {change.path} ({found.kind}, {owner}, {found.mode:04o})\n"


def _after(change: Change) -> str:
    item = change.item
    if item is None:
        return f"+++ after: {change.path} (absent)\n"
    return f"+++ after: {change.path} ({item.kind}, {item.owner}:{item.group}, {item.mode:04o})\n"


def _body(change: Change) -> Iterable[str]:
    item = change.item
    if item is None or item.content is None or change.action == "attributes":
        return []
    if change.hidden:
        return ["+(secret: the content is not shown)\n"]
    before = change.before.content if change.before and change.before.kind == "file" else b""
    return list(difflib.unified_diff(_lines(before), _lines(item.content), n=3))[2:]


def _lines(content: bytes) -> list[str]:
    lines = content.decode("utf-8", "replace").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n\\ no newline at the end of the file\n"
    return lines
