# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a run, parsed and validated: text in, dataclasses out."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import ConfigTreeError

Kind = Literal["file", "directory"]

_FIELDS = ("path", "content", "owner", "group", "mode", "state", "restart", "last")
_MODE = re.compile(r"0?[0-7]{3,4}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
# systemd.unit(5), with the ending, which systemctl would guess.
_UNIT = re.compile(r"[A-Za-z0-9:_.\\-][A-Za-z0-9:_.\\@-]*\.(?:service|socket|timer|path|target|mount)\Z")
_NOT_CONFIGURATION = ("/proc", "/sys", "/dev")


@dataclass(frozen=True)
class Item:
    """One path as it shall be. `content` is None for a directory."""

    path: str
    kind: Kind
    content: bytes | None
    owner: str
    group: str
    mode: int
    restart: bool = False
    last: bool = False
    secret: bool = False
    label: str = ""


@dataclass(frozen=True)
class Request:
    """Everything that one run was asked for."""

    name: str
    items: tuple[Item, ...]
    watch: tuple[str, ...] = ()
    watch_restart: tuple[str, ...] = ()
    watch_foreseen: tuple[str, ...] = ()
    missing_packages: tuple[str, ...] = ()
    check: tuple[tuple[str, ...], ...] = ()
    reload: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    probe_timeout: int = 20
    age: int = 0


def parse_request(options: Mapping[str, object]) -> Request:
    """Turn the module's options into a request; `files` and `secrets` are JSON text.

    Raises ConfigTreeError, which names the option, the position and the path, never a content.
    """
    name = options["name"]
    if not isinstance(name, str) or not _NAME.match(name):
        raise ConfigTreeError(f"name: {name!r} is not a name of letters, digits, '_', '.' and '-'")
    reload = _argv(options.get("reload"), "reload")
    timeout = options.get("probe_timeout", 20)
    if not isinstance(timeout, int) or timeout < 1:
        raise ConfigTreeError("probe_timeout: must be at least 1 second")
    age = options.get("age", 0)
    if not isinstance(age, int) or age < 0:
        raise ConfigTreeError("age: must be a number of seconds, 0 or more")
    return Request(
        name=name,
        items=parse_items(_json(options["files"], "files"), _json(options.get("secrets") or "{}", "secrets")),
        watch=_paths(options.get("watch"), "watch"),
        watch_restart=_paths(options.get("watch_restart"), "watch_restart"),
        watch_foreseen=_paths(options.get("watch_foreseen"), "watch_foreseen"),
        missing_packages=_names(options.get("missing_packages")),
        check=_check(options.get("check")),
        reload=reload,
        restart=_argv(options.get("restart"), "restart") or reload,
        units=_units(options.get("units")),
        probe=_argv(options.get("probe"), "probe"),
        probe_timeout=timeout,
        age=age,
    )


def parse_items(files: object, secrets: object) -> tuple[Item, ...]:
    """Validate the list of files and join the secret contents to it."""
    if not isinstance(files, list):
        raise ConfigTreeError("files: must be a JSON list of files, each with a path")
    if not isinstance(secrets, dict):
        raise ConfigTreeError("secrets: must be a JSON object of path and content")
    items = [_item(entry, f"files[{index}]", secrets) for index, entry in enumerate(files)]
    _refuse_duplicates(items)
    _refuse_files_as_folders(items)
    stray = sorted(set(secrets) - {item.path for item in items})
    if stray:
        raise ConfigTreeError(
            f"secrets: {', '.join(stray)} is not among files; list it there too, with its owner, group and mode"
        )
    return tuple(items)


def _json(value: object, option: str) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ConfigTreeError(
            f"{option}: is not JSON (line {error.lineno}, column {error.colno}); pass it through the filter to_json"
        ) from None


def _item(entry: object, where: str, secrets: Mapping[str, object]) -> Item:
    if not isinstance(entry, dict):
        raise ConfigTreeError(f"{where}: must be an object with at least a path")
    path = _path(entry.get("path"), where)
    label = f"{where} ({path})"
    unknown = sorted(str(field) for field in entry if field not in _FIELDS)
    if unknown:
        raise ConfigTreeError(f"{label}: unknown field {', '.join(unknown)}; known are {', '.join(_FIELDS)}")
    kind = entry.get("state", "file")
    if kind not in ("file", "directory"):
        raise ConfigTreeError(f"{label}: state must be file or directory, not {kind!r}")
    return Item(
        path=path,
        kind="directory" if kind == "directory" else "file",
        content=_content(entry, path, label, kind == "directory", secrets),
        owner=_account(entry.get("owner", "root"), "owner", label),
        group=_account(entry.get("group", "root"), "group", label),
        mode=_mode(entry.get("mode", "0755" if kind == "directory" else "0644"), label),
        restart=_switch(entry.get("restart", False), "restart", label),
        last=_switch(entry.get("last", False), "last", label),
        secret=path in secrets,
        label=label,
    )


def _path(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigTreeError(f"{where}: path is missing or not text")
    if not value.startswith("/"):
        raise ConfigTreeError(f"{where}: path {value!r} is relative; write it from the root, beginning with /")
    if value == "/" or posixpath.normpath(value) != value or value.startswith("//"):
        raise ConfigTreeError(f"{where}: path {value!r} must be written plainly, without '..', '//' or a trailing '/'")
    if not value.isprintable():
        raise ConfigTreeError(f"{where}: path {value!r} has characters that cannot be printed")
    if value.startswith(tuple(f"{folder}/" for folder in _NOT_CONFIGURATION)):
        raise ConfigTreeError(f"{where}: {value} is not a place for configuration files")
    return value


def _content(
    entry: Mapping[str, object], path: str, label: str, directory: bool, secrets: Mapping[str, object]
) -> bytes | None:
    if directory:
        if "content" in entry or path in secrets:
            raise ConfigTreeError(f"{label}: a directory has no content")
        return None
    if path in secrets and "content" in entry:
        raise ConfigTreeError(f"{label}: content stands in files and in secrets; leave it out of files")
    value = secrets[path] if path in secrets else entry.get("content")
    if value is None:
        hint = (
            "the template rendered nothing? begin it with a comment" if "content" in entry else "or list it in secrets"
        )
        raise ConfigTreeError(f"{label}: content is missing; {hint}")
    if not isinstance(value, str):
        raise ConfigTreeError(f"{label}: content must be text, not {type(value).__name__}; quote it")
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ConfigTreeError(f"{label}: content has characters that cannot be written as UTF-8") from None


def _account(value: object, field: str, label: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigTreeError(f"{label}: {field} must be a name (or a quoted number), not {value!r}")
    return value


def _mode(value: object, label: str) -> int:
    if isinstance(value, int):
        raise ConfigTreeError(
            f'{label}: mode arrived as the number {value}; quote it, as in mode: "0640" (YAML reads 0640 as 416)'
        )
    if not isinstance(value, str) or not _MODE.match(value):
        raise ConfigTreeError(f'{label}: mode {value!r} must be octal digits in quotes, as in "0640"')
    return int(value, 8)


def _switch(value: object, field: str, label: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigTreeError(f"{label}: {field} must be true or false, not {value!r}")
    return value


def _refuse_duplicates(items: Sequence[Item]) -> None:
    first: dict[str, Item] = {}
    for item in items:
        if item.path in first:
            raise ConfigTreeError(f"{item.label}: the same path as {first[item.path].label}")
        first[item.path] = item


def _refuse_files_as_folders(items: Sequence[Item]) -> None:
    files = {item.path: item for item in items if item.kind == "file"}
    for item in items:
        for parent in ancestors(item.path):
            if parent in files:
                raise ConfigTreeError(f"{item.label}: lies below {files[parent].label}, which is a file")


def ancestors(path: str) -> Iterable[str]:
    """The folders above a path, the nearest first, without the root."""
    path = posixpath.dirname(path)
    while path != "/":
        yield path
        path = posixpath.dirname(path)


def _paths(value: object, option: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else []
    return tuple(dict.fromkeys(_path(path, f"{option}[{index}]") for index, path in enumerate(values)))


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _units(value: object) -> tuple[str, ...]:
    units = _names(value)
    for index, unit in enumerate(units):
        if unit.startswith("-") or not _UNIT.match(unit):
            raise ConfigTreeError(f"units[{index}]: {unit!r} is not the name of a unit, such as postfix.service")
    return tuple(dict.fromkeys(units))


def _check(value: object) -> tuple[tuple[str, ...], ...]:
    programs = value if isinstance(value, list) else []
    for index, program in enumerate(programs):
        if not isinstance(program, list) or not program:
            raise ConfigTreeError(f"check[{index}]: must be a list of a program and its arguments")
    return tuple(_argv(program, f"check[{index}]") for index, program in enumerate(programs))


def _argv(value: object, option: str) -> tuple[str, ...]:
    words = value if isinstance(value, list) else []
    for word in words:
        if isinstance(word, bool) or not isinstance(word, (str, int)):
            raise ConfigTreeError(f"{option}: must be a list of a program and its arguments, as text")
    argv = tuple(str(word) for word in words)
    if argv and " " in argv[0]:
        raise ConfigTreeError(f"{option}: {argv[0]!r} is one word; write the program and its arguments as a list")
    return argv
