# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Breaks the directory's tables and views, one small thing at a time, and asks the unit tests whether they notice.

Each mutant gets a process of its own, forked once pytest has collected the tests; only the migrations in its memory
differ.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing.connection
import re
import resource
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import hypothesis
import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.directory import migrations, store
from ansible_collections.postoffice.mail.tests.mutation.forked import OPTIONS, Run, start
from ansible_collections.postoffice.mail.tests.mutation.report import (
    CHECKOUT,
    FOLDER,
    INVALID,
    KILLED,
    SURVIVED,
    Fate,
    Report,
)
from ansible_collections.postoffice.mail.tests.mutation.sql import Mutant, Statement

JOBS = 2
SECONDS = 180.0
MEMORY = 2 << 30
FOLDER_OF_TESTS = "tests/unit/plugins/module_utils/directory"
TESTS = tuple(f"{FOLDER_OF_TESTS}/test_directory_{name}.py" for name in ("schema", "view_rows", "views"))

Steps = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Candidate:
    """A mutant, and the migrations with it in its place."""

    mutant: Mutant
    steps: Steps


def candidates(steps: Steps = migrations.MIGRATIONS) -> Iterator[Candidate]:
    for number, statements in enumerate(steps):
        for index, sql in enumerate(statements):
            for mutant in Statement(sql).mutants():
                changed = (*statements[:index], mutant.sql, *statements[index + 1 :])
                yield Candidate(mutant, (*steps[:number], changed, *steps[number + 1 :]))


def problem(steps: Steps) -> str:
    """Why these migrations make no database whose views can be read, empty when they do."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            for statement in (statement for statements in steps for statement in statements):
                connection.execute(statement).close()
            names = connection.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')").fetchall()
            for (name,) in names:
                connection.execute(f"SELECT * FROM {name} LIMIT 0").close()
        except sqlite3.Error as error:
            return str(error)
    return ""


@dataclass(frozen=True)
class Job:
    """A mutant under test."""

    candidate: Candidate
    run: Run

    def fate(self) -> Fate:
        """What became of it, once its process has ended or its time is over."""
        failed = self.run.failure(SECONDS)
        seconds = time.monotonic() - self.run.start
        return Fate(str(self.candidate.mutant), KILLED if failed else SURVIVED, failed, seconds)


class Mutations:
    """A pytest plugin: in place of running the tests once, it runs them over each mutant."""

    def __init__(self, chosen: Sequence[Candidate]) -> None:
        self.chosen = chosen
        self.report = Report("directory", len(chosen))
        self.holds = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.session = session
        if (fate := self.unbroken()).outcome != SURVIVED:
            sys.exit(f"the tests fail without any mutation: {fate.by}")
        with contextlib.suppress(KeyboardInterrupt):
            self.run()
        self.holds = self.report.close() and len(self.report.fates) == len(self.chosen)
        return True

    def start(self, candidate: Candidate, number: int) -> Job:
        patch = pytest.MonkeyPatch()

        def prepare() -> None:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            for module in (migrations, store):
                patch.setattr(module, "MIGRATIONS", candidate.steps)

        return Job(candidate, start(self.session.items, FOLDER / "logs" / f"directory-{number}.log", prepare))

    def unbroken(self) -> Fate:
        """What the same tests say of the migrations as they are."""
        return self.start(Candidate(Mutant("the migrations as they are", 0, "", ""), migrations.MIGRATIONS), -1).fate()

    def run(self) -> None:
        """Test all of them, some at a time."""
        waiting = list(enumerate(self.chosen))
        running: list[Job] = []
        while waiting or running:
            while waiting and len(running) < JOBS:
                number, candidate = waiting.pop(0)
                if reason := problem(candidate.steps):
                    self.report.add(Fate(str(candidate.mutant), INVALID, reason, 0.0))
                else:
                    running.append(self.start(candidate, number))
            if running:
                oldest = min(job.run.start for job in running)
                sentinels = [job.run.process.sentinel for job in running]
                multiprocessing.connection.wait(sentinels, max(0.0, oldest + SECONDS - time.monotonic()))
            for job in list(running):
                if not job.run.process.is_alive() or time.monotonic() > job.run.start + SECONDS:
                    running.remove(job)
                    self.report.add(job.fate())


def main(arguments: Sequence[str]) -> bool:
    parser = argparse.ArgumentParser(prog="directory", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose description matches this expression")
    parser.add_argument("--list", action="store_true", help="say which there are")
    options = parser.parse_args(arguments)
    chosen = [each for each in candidates() if re.search(options.only, str(each.mutant))]
    if options.list:
        print("\n".join(str(each.mutant) for each in chosen))
        return True
    (FOLDER / "logs").mkdir(parents=True, exist_ok=True)
    hypothesis.settings.register_profile(
        "mutation", derandomize=True, database=None, phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate]
    )
    hypothesis.settings.load_profile("mutation")
    mutations = Mutations(chosen)
    pytest.main([*OPTIONS, f"--rootdir={CHECKOUT}", *(str(CHECKOUT / name) for name in TESTS)], plugins=[mutations])
    return mutations.holds
