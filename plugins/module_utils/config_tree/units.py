# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether units of systemd run, now and at boot, and what they lack for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# systemctl(1), is-enabled: those that are there at boot, or that nothing can be done about.
_AT_BOOT = {"enabled", "enabled-runtime", "static", "alias", "indirect", "generated", "transient"}
_RUNNING = {"active", "activating", "reloading", "refreshing"}
_PROPERTIES = "ActiveState,UnitFileState"


@dataclass(frozen=True)
class Lack:
    """What one unit has to be made before it runs, now and at boot."""

    unit: str
    enable: bool
    start: bool

    def __str__(self) -> str:
        verbs = [verb for verb, wanted in (("enabled", self.enable), ("started", self.start)) if wanted]
        return f"{self.unit} is {' and '.join(verbs)}"


def show(units: Sequence[str]) -> tuple[str, ...]:
    """The program whose output `lacks` reads."""
    return ("systemctl", "show", f"--property={_PROPERTIES}", *units)


def lacks(units: Sequence[str], output: str) -> tuple[Lack, ...]:
    """What units lack, by what `show` printed of them: a block of lines for each, in their order.

    A unit that is not there, or not told of, lacks everything.
    """
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in output.split("\n\n")]
    blocks += [{}] * (len(units) - len(blocks))
    found = (
        Lack(unit, block.get("UnitFileState") not in _AT_BOOT, block.get("ActiveState") not in _RUNNING)
        for unit, block in zip(units, blocks, strict=False)
    )
    return tuple(lack for lack in found if lack.enable or lack.start)


def remedies(found: Sequence[Lack]) -> list[tuple[str, ...]]:
    """The programs that give units what they lack."""
    enable = [lack.unit for lack in found if lack.enable]
    start = [lack.unit for lack in found if lack.start]
    return [("systemctl", verb, *units) for verb, units in (("enable", enable), ("start", start)) if units]
