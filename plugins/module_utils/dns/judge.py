# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares what a nameserver has with what is wanted, each kind of record by what it means."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PRESENT, MISSING, WRONG = "present", "missing", "wrong"

# TXT records of one name that are there for something else are nobody's business; ours begin like this.
_VERSION = re.compile(r"\s*v\s*=\s*([a-z0-9]+)", re.IGNORECASE)
_UNORDERED_TAGS = ("DKIM1", "DMARC1", "STSv1", "TLSRPTv1")


@dataclass(frozen=True)
class Verdict:
    """How a record is; `others` of the same name and kind contradict it, those `beside` do not."""

    state: str
    others: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


def judge(kind: str, value: str, found: Sequence[str], wanted: Sequence[str] = ()) -> Verdict:
    """Compare a wanted record with all of its name and type; `wanted` are all values that are wanted there.

    Values are as in `records.Record`, and TXT without quotation marks.
    """
    same = _SAME.get(kind, same_words)
    rivals = [each for each in found if competes(kind, value, each)]
    here = [each for each in rivals if same(value, each)]
    others = [
        each for each in rivals if each not in here and not any(same(each_wanted, each) for each_wanted in wanted)
    ]
    contradicting = tuple(each for each in others if contradicts(kind, value, each))
    beside = tuple(each for each in others if each not in contradicting)
    if contradicting or (len(here) > 1 and kind == "TXT"):
        return Verdict(WRONG, (*contradicting, *here[1:]), beside)
    return Verdict(PRESENT if here else MISSING, (), beside)


def competes(kind: str, value: str, other: str) -> bool:
    """Whether another record is about the same thing."""
    # A key record need not say its version, and nothing else belongs to its name (RFC 6376, section 3.6.2.2).
    if kind == "TXT" and version(value) != "dkim1":
        return version(value) == version(other)
    return True


def contradicts(kind: str, value: str, other: str) -> bool:
    """Whether another record beside the wanted one does harm."""
    if kind == "MX":
        # A server that is asked later may be somebody's second one; any other takes mail away.
        return preference(other) <= preference(value)
    # One key more, or one authority more, is how both are changed.
    return kind not in ("TLSA", "CAA", "PTR")


def version(text: str) -> str:
    match = _VERSION.match(text)
    return match[1].lower() if match else ""


def preference(value: str) -> int:
    number = value.split()[0]
    return int(number) if number.isdecimal() else 0


def same_words(wanted: str, found: str) -> bool:
    """The same, whatever the case and the blanks."""
    return wanted.lower().split() == found.lower().split()


def same_text(wanted: str, found: str) -> bool:
    """SPF by its terms, others by their tags, in any order (RFC 7208, section 4.6; RFC 6376, section 3.2)."""
    if version(wanted) == "spf1":
        return permits(wanted, found)
    if version(wanted) in (name.lower() for name in _UNORDERED_TAGS):
        return tags(wanted) == tags(found)
    return wanted == found


def permits(wanted: str, found: str) -> bool:
    """Whether an SPF record permits what is wanted, and perhaps more."""
    terms = [term for term in wanted.lower().split()[1:] if not term.endswith("all")]
    return set(terms) <= set(found.lower().split()[1:])


def tags(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";") if part.strip())
    return {name.strip().lower(): re.sub(r"\s", "", value) for name, _sign, value in pairs}


def same_target(wanted: str, found: str) -> bool:
    """An MX record that leads to the same server, whatever its preference."""
    return wanted.lower().split()[-1] == found.lower().split()[-1]


def same_digest(wanted: str, found: str) -> bool:
    """The digest of a TLSA record may be in groups."""
    return _grouped(wanted) == _grouped(found)


def _grouped(value: str) -> list[str]:
    words = value.lower().split()
    return [*words[:3], "".join(words[3:])]


_SAME: dict[str, Callable[[str, str], bool]] = {"TXT": same_text, "MX": same_target, "TLSA": same_digest}
