# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin that reads the JUnit files of earlier runs and reports their cases as its own.

So that many runs, on several hosts, end in one report with one closing line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest


class RecordedFailure(Exception):
    """What an earlier run said about a case that failed."""


class RecordedCase(pytest.Item):
    """A case of an earlier run, with the outcome that it had."""

    def __init__(self, *, case: ElementTree.Element, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.case = case

    def runtest(self) -> None:
        for outcome in ("failure", "error"):
            said = self.case.find(outcome)
            if said is not None:
                raise RecordedFailure(said.text or said.get("message", ""))
        skipped = self.case.find("skipped")
        if skipped is not None:
            pytest.skip(skipped.get("message", ""))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, RecordedFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"{self.path.stem}: {self.name}"


class Results(pytest.File):
    """One JUnit file."""

    def collect(self) -> Iterator[RecordedCase]:
        for case in ElementTree.parse(self.path).iter("testcase"):
            name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
            yield RecordedCase.from_parent(self, name=name, case=case)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Results | None:
    if file_path.suffix == ".xml":
        return Results.from_parent(parent, path=file_path)
    return None
