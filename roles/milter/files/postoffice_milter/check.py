# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said about an installation before it runs: every file, group and program that it names is there."""

from __future__ import annotations

import grp
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from . import client, service, settings, systemd
from .lookup import QUERIES, parse_expressions
from .settings import Settings

CODE = (client, service, systemd)
NOT_INSTALLED = 127


@dataclass(frozen=True)
class Problem:
    """Something that keeps the service from working; ``missing`` when it may still be installed."""

    text: str
    missing: bool = False


def problems(chosen: Settings) -> Iterator[Problem]:
    """Yield everything that is missing or wrong."""
    if chosen.socket_group:
        try:
            grp.getgrnam(chosen.socket_group)
        except KeyError:
            yield Problem(f"socket_group: there is no group {chosen.socket_group}", missing=True)
    yield from _directory_problems(Path(chosen.directory))
    if chosen.expressions and Path(chosen.expressions).exists():
        yield from _expression_problems(Path(chosen.expressions))


def _directory_problems(path: Path) -> Iterator[Problem]:
    if not path.exists():
        yield Problem(f"directory: {path} does not exist", missing=True)
        return
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as connection:
            for query in QUERIES.values():
                connection.execute(query, ("",) * query.count("?")).fetchone()
    except sqlite3.Error as error:
        yield Problem(f"directory: {path}: {error}")


def _expression_problems(path: Path) -> Iterator[Problem]:
    try:
        parse_expressions(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        yield Problem(f"expressions: {path}: {error}")


def run(path: Path) -> int:
    """Print what is wrong; return 0 when nothing is, 127 when something is not installed yet, otherwise 1."""
    found = list(problems(settings.load(path)))
    for problem in found:
        print(problem.text, file=sys.stderr)
    if not found:
        return 0
    return NOT_INSTALLED if all(problem.missing for problem in found) else 1
