# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures in words: what the daemon said about which line first, then what was done about it."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from .host import Outcome
from .request import Item

_LONGEST = 6000


def pinpoint(output: str, items: Iterable[Item]) -> list[str]:
    """The lines of the output that name one of the files, each with the line of the file when a number is given."""
    files = _by_name(item for item in items if item.kind == "file")
    if not files:
        return []
    names = "|".join(re.escape(name) for name in sorted(files, key=len, reverse=True))
    named = re.compile(rf"(?<![\w/.-])(?P<name>{names})(?![\w/.-]*\w)(?:\W{{0,3}}(?:line\s+)?(?P<line>\d+)\b)?")
    found = []
    for line in output.splitlines():
        match = named.search(line)
        if match:
            found.append(line.strip() + _quoted(files[match["name"]], match["line"]))
    return list(dict.fromkeys(found))


def _by_name(items: Iterable[Item]) -> dict[str, Item]:
    """Files by their path, and by the last part of it where that is clear: daemons may leave the folder out."""
    items = tuple(items)
    last_parts = Counter(posixpath.basename(item.path) for item in items)
    short = {name: item for item in items if last_parts[name := posixpath.basename(item.path)] == 1 and "." in name}
    return {**short, **{item.path: item for item in items}}


def _quoted(item: Item, number: str | None) -> str:
    lines = (item.content or b"").decode("utf-8", "replace").splitlines()
    if item.secret or number is None or not 0 < int(number) <= len(lines):
        return ""
    return f"\n    {item.path}, line {number}: {lines[int(number) - 1].strip()}"


def told(outcome: Outcome) -> str:
    """A program's ending in a few words."""
    command = " ".join(outcome.argv)
    if outcome.status == 127 and outcome.output.startswith(outcome.argv[0]):
        return outcome.output
    if outcome.timed_out:
        return f"{command} did not end in time"
    if outcome.status < 0:
        return f"{command} was ended by signal {-outcome.status}"
    return f"{command} ended with status {outcome.status}"


def failure(headline: str, outcome: Outcome, items: Iterable[Item], changed: Sequence[str]) -> str:
    """The whole message of a failed run; what the outcome said is without secrets already."""
    others = [item for item in items if item.path != outcome.argv[0]]
    parts = pinpoint(outcome.output, others) or [f"The changes were in {', '.join(changed)}."] if changed else []
    said = f"It said:\n{shorten(outcome.output)}" if outcome.output.strip() else "It said nothing."
    return "\n".join([*parts, f"{headline}: {told(outcome)}", said])


def shorten(text: str) -> str:
    """Beginning and end of a long text."""
    text = text.strip()
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]}\n... ({len(text) - _LONGEST} characters left out) ...\n{text[-half:]}"
