# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the contents of secret files out of what programs say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from .request import Item

_MASK = "********"
_SHORTEST = 4
_BETWEEN = re.compile(r"[\s=:;,\"'{}\[\]()<>]+")


class Scrubber:
    """Knows every secret content, its lines and its words; words that also stand in public files stay readable."""

    def __init__(self, items: Iterable[Item]) -> None:
        items = tuple(items)
        public: set[str] = set()
        secret: set[str] = set()
        for item in items:
            text = (item.content or b"").decode("utf-8", "replace")
            if item.secret:
                secret |= _pieces(text)
            else:
                public |= {*text.split(), *_BETWEEN.split(text)}
            public |= {item.path, *item.path.split("/")}
        shown = {spelling for piece in secret - public for spelling in _spellings(piece)}
        self._pattern = _any_of(shown)

    def clean(self, text: str) -> str:
        """The text with every secret masked."""
        return self._pattern.sub(_MASK, text) if self._pattern else text


def _pieces(text: str) -> set[str]:
    lines = [line.strip() for line in text.splitlines()]
    values = [
        part.strip() for line in lines if not line.startswith("#") for part in re.split(r"[=:]", line, maxsplit=1)[1:]
    ]
    unquoted = [value.strip("\"';") for value in values]
    words = [word for line in lines if not line.startswith("#") for word in (*line.split(), *_BETWEEN.split(line))]
    pieces = {text, text.strip(), *lines, *values, *unquoted, *words}
    return {piece for piece in pieces if len(piece) >= _SHORTEST}


def _spellings(piece: str) -> set[str]:
    """The piece itself and as a program may quote it."""
    return {piece, json.dumps(piece)[1:-1], json.dumps(piece, ensure_ascii=False)[1:-1], repr(piece)[1:-1]}


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(re.escape(text) for text in longest_first)) if longest_first else None
