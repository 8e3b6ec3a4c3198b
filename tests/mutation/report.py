# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each mutant: a line at once, the survivors at the end, everything in `build/mutation/NAME.json`."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "build" / "mutation"

KILLED = "killed"
SURVIVED = "SURVIVED"
INVALID = "invalid"
"""What it leaves cannot even be set up."""
EQUIVALENT = "equivalent"
"""Nobody can see it, for a reason that is written down."""


@dataclass(frozen=True)
class Fate:
    """What became of a mutant: `by` is the test that failed, or the reason why none has to."""

    mutant: str
    outcome: str
    by: str
    seconds: float


class Report:
    """Collects fates and says them."""

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.count = count
        self.fates: list[Fate] = []
        self.start = time.monotonic()

    def add(self, fate: Fate) -> None:
        self.fates.append(fate)
        print(f"{len(self.fates):4}/{self.count} {fate.seconds:5.1f} s  {fate.outcome:10} {fate.mutant}", flush=True)
        if fate.by:
            print(f"{'':20}{fate.by}", flush=True)

    def close(self) -> bool:
        """Say and write the result; tell whether no mutant survived."""
        outcomes = Counter(fate.outcome for fate in self.fates)
        survivors = [fate.mutant for fate in self.fates if fate.outcome == SURVIVED]
        seconds = round(time.monotonic() - self.start, 1)
        FOLDER.mkdir(parents=True, exist_ok=True)
        content = {"seconds": seconds, "outcomes": outcomes, "fates": [asdict(fate) for fate in self.fates]}
        (FOLDER / f"{self.name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        print(f"\n{self.name}: {len(self.fates)} mutants in {seconds / 60:.1f} min: {told}", flush=True)
        for survivor in survivors:
            print(f"  survived: {survivor}", flush=True)
        return not survivors
