# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs of playbooks on real hosts.

make test-runs                        all of it
make test-runs ARGS="-m 'not long'"   what `make test` runs
make test-runs ARGS="-k bookworm"     on one release
POSTOFFICE_SEED=1 make test-runs      with the same random moments again
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from ansible_collections.postoffice.mail.tests.runs.runtest.fingerprint import fingerprint
from ansible_collections.postoffice.mail.tests.runs.runtest.host import booted
from ansible_collections.postoffice.mail.tests.runs.runtest.interpreters import interpreter
from ansible_collections.postoffice.mail.tests.runs.runtest.inventories import BEFORE
from ansible_collections.postoffice.mail.tests.runs.runtest.run import Deployed, play

SEED = os.environ.get("POSTOFFICE_SEED") or str(secrets.randbelow(10**6))


def pytest_report_header() -> str:
    return f"random moments: POSTOFFICE_SEED={SEED}"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: not part of make test")
    config.addinivalue_line("markers", "python(version): deselected where the machine lacks that Python")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen: list[pytest.Item] = []
    absent: list[pytest.Item] = []
    for item in items:
        wanted = [mark.args[0] for mark in item.iter_markers("python")]
        (chosen if all(interpreter(version) for version in wanted) else absent).append(item)
    config.hook.pytest_deselected(items=absent)
    items[:] = chosen


@pytest.fixture(scope="session")
def seed() -> str:
    return SEED


@pytest.fixture(scope="session", params=["bookworm", "trixie"])
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def deployed(suite: str) -> Iterator[Deployed]:
    """A bare host that became a mail server; the tests of one release share it."""
    with booted("site", suite) as host:
        check = play(host, BEFORE, "--check", "--diff", "-vvv")
        first = play(host, BEFORE, "--diff", "-vvv").demand()
        yield Deployed(host, check, first, fingerprint(host))
