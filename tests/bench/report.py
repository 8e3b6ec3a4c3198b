# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every benchmark ends with: a table for people, and the same as `build/bench/NAME.json`."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOAD_BEFORE = os.getloadavg()[0]
FOLDER = Path(__file__).resolve().parents[2] / "build" / "bench"


@dataclass(frozen=True)
class Row:
    """One measured cost: lower is better.

    `wanted` is the upper bound of value over baseline, of the value itself where it is `absolute`, or None.
    """

    case: str
    value: float
    unit: str
    baseline: float | None = None
    wanted: float | None = None
    absolute: bool = False

    @property
    def ratio(self) -> float | None:
        return None if not self.baseline else self.value / self.baseline

    @property
    def holds(self) -> bool | None:
        measured = self.value if self.absolute else self.ratio
        return None if self.wanted is None or measured is None else measured <= self.wanted

    def as_json(self) -> dict[str, Any]:
        fields = {"case": self.case, "value": self.value, "unit": self.unit, "baseline": self.baseline}
        return {**fields, "ratio": self.ratio, "wanted": self.wanted, "holds": self.holds}

    def cells(self) -> list[str]:
        numbers = [self.value, self.baseline, self.ratio, self.wanted]
        value, baseline, ratio, wanted = ("" if number is None else f"{number:.4g}" for number in numbers)
        return [self.case, value, self.unit, baseline, ratio, wanted, {True: "yes", False: "NO", None: ""}[self.holds]]


def machine() -> str:
    """The processor, cores and memory of this machine, and its load when the measurement began, in a line."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB"
    return f"{model}, {cores}, Python {platform.python_version()}, load before {LOAD_BEFORE:.1f}"


def table(rows: Sequence[Row]) -> str:
    """The rows under their headings, in columns."""
    lines = [["case", "value", "unit", "baseline", "ratio", "wanted", "holds"], *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def publish(name: str, rows: Sequence[Row]) -> None:
    """Print the table and write `build/bench/NAME.json`."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    content = {"name": name, "machine": machine(), "rows": [row.as_json() for row in rows]}
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"{name} on {machine()}\n{table(rows)}", flush=True)
