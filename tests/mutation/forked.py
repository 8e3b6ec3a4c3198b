# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that were collected once and run many times, each time in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

# Output goes to a log of each process; what pytest remembers of last time is not mixed with what people ran.
OPTIONS = (
    "-q",
    "--capture=no",
    "--tb=short",
    "--override-ini=cache_dir=build/mutation/cache",
    "-Wignore::pytest.PytestAssertRewriteWarning",
)


class FirstFailure:
    """A pytest plugin: which test failed first."""

    def __init__(self) -> None:
        self.name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid.rpartition("/")[2]
            print(f"\n{report.nodeid}\n{report.longreprtext}", flush=True)


@dataclass(frozen=True)
class Run:
    """A process that runs tests."""

    process: ForkProcess
    answer: Connection
    start: float

    def failure(self, seconds: float) -> str:
        """The test that failed, empty if none did, once the process has ended or had so much time since its start."""
        self.process.join(max(0.0, self.start + seconds - time.monotonic()))
        if self.process.is_alive():
            self.process.kill()
            return "it never ended"
        try:
            return str(self.answer.recv())
        except EOFError:
            return "it ended the process"


def start(items: Sequence[pytest.Item], log: Path, prepare: Callable[[], None] = lambda: None) -> Run:
    """Run the tests one after the other until one fails, after `prepare` in the same process."""
    context = multiprocessing.get_context("fork")
    answer, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(items, log, prepare, sender))
    process.start()
    sender.close()
    return Run(process, answer, time.monotonic())


def _run(items: Sequence[pytest.Item], log: Path, prepare: Callable[[], None], answer: Connection) -> None:
    with log.open("w", encoding="utf-8") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    prepare()
    failure = FirstFailure()
    items[0].config.pluginmanager.register(failure)
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if failure.name:
            break
    sys.stdout.flush()
    answer.send(failure.name)
    os._exit(0)
