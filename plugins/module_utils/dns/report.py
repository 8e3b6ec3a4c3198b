# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each record that is wanted, over all nameservers, and a table of it for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from .judge import MISSING, PRESENT, WRONG, Verdict, judge

UNKNOWN = "unknown"
SHOWN_VALUE = 72  # characters

Entry = Mapping[str, Any]


class Said(Protocol):
    """What a nameserver has, see `servers.Said`."""

    @property
    def server(self) -> str: ...
    @property
    def values(self) -> tuple[str, ...]: ...
    @property
    def trouble(self) -> str: ...


def assess(records: Sequence[Entry], said: Mapping[tuple[str, str], Sequence[Said]]) -> list[dict[str, Any]]:
    """Each record with its `state`, and with `notes`: what is to be said of single nameservers.

    It is present when every nameserver has it, missing when one does not, wrong when one has something that contradicts
    it, unknown when one does not answer.
    """
    wanted: dict[tuple[str, str], list[str]] = {}
    for record in records:
        wanted.setdefault((record["name"], record["type"]), []).append(record["value"])
    return [assessed(record, said[key_of(record)], wanted[key_of(record)]) for record in records]


def key_of(record: Entry) -> tuple[str, str]:
    return record["name"], record["type"]


def assessed(record: Entry, said: Sequence[Said], wanted: Sequence[str]) -> dict[str, Any]:
    verdicts = [
        (each, None if each.trouble else judge(record["type"], record["value"], each.values, wanted)) for each in said
    ]
    states = {verdict.state if verdict else UNKNOWN for _said, verdict in verdicts}
    state = next((each for each in (WRONG, MISSING, UNKNOWN, PRESENT) if each in states), UNKNOWN)
    others = list(dict.fromkeys(other for _said, verdict in verdicts if verdict for other in verdict.others))
    return {**record, "state": state, "others": others, "notes": list(dict.fromkeys(notes(state, verdicts)))}


def notes(state: str, verdicts: Sequence[tuple[Said, Verdict | None]]) -> Iterator[str]:
    """Nameservers that do not answer, have something else, or lack what others have."""
    for said, verdict in verdicts:
        who = said.server.rstrip(".")
        if verdict is None:
            yield f"{who} {said.trouble}".strip()
        elif verdict.others:
            yield f"{who} has {', '.join(shown(other) for other in verdict.others)}"
        elif verdict.state == MISSING and any(other and other.state != MISSING for _said, other in verdicts):
            yield f"{who} does not have it"
        elif verdict.beside and state == PRESENT:
            yield f"{who} has {', '.join(shown(each) for each in verdict.beside)} as well"


def shown(value: str) -> str:
    """A value for a line, cut when it is long."""
    return value if len(value) <= SHOWN_VALUE else f"{value[: SHOWN_VALUE - 3]}..."


def table(records: Sequence[Entry]) -> list[str]:
    """Lines for people: for each domain its records with their state, what is not right first told in a line."""
    domains = list(dict.fromkeys(record["domain"] for record in records))
    lines: list[str] = []
    for domain in domains:
        own = [record for record in records if record["domain"] == domain]
        lines += ["", heading(domain, own), *(line for record in own for line in row(record))]
    return lines[1:]


def heading(domain: str, records: Sequence[Entry]) -> str:
    counts = {state: sum(record["state"] == state for record in records) for state in (MISSING, WRONG, UNKNOWN)}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    name = domain or "names of addresses, which whoever gave you the addresses publishes"
    return f"{name}: {told or 'everything is there'}"


def row(record: Entry) -> Iterator[str]:
    yield f"  {record['state']:8} {record['name']}. {record['type']} {shown(record['value'])}"
    if record["state"] != PRESENT and record["purpose"]:
        yield f"  {'':8}   ({record['purpose']})"
    for note in record["notes"]:
        yield f"  {'':8}   {note}"
