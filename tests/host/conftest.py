# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs do to a deployed host: its files, its daemons, its journal.

POSTOFFICE_HOST=build/full.json pytest tests/host

These tests run after those of tests/e2e: they break the configuration on purpose, and put it back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mailtest.deployment import Deployment, Shell
from mailtest.internet import Internet
from playing import Player, Target


@pytest.fixture(scope="session")
def described() -> Path:
    path = os.environ.get("POSTOFFICE_HOST")
    if not path:
        raise pytest.UsageError("POSTOFFICE_HOST must name the description of a deployed host, such as build/full.json")
    return Path(path)


@pytest.fixture(scope="session")
def target(described: Path) -> Target:
    return Target.load(described)


@pytest.fixture(scope="session")
def deployment(described: Path) -> Deployment:
    """The host as its users see it."""
    return Deployment.load(described)


@pytest.fixture(scope="session")
def internet(deployment: Deployment) -> Internet:
    """Everybody else: other senders, other servers, the DNS."""
    return Internet(deployment)


@pytest.fixture(scope="session")
def host(target: Target) -> Shell:
    """Root's shell on the host."""
    return target.shell


@pytest.fixture
def player(target: Target, tmp_path: Path) -> Iterator[Player]:
    """Runs plays against the host."""
    player = Player(target, tmp_path)
    yield player
    player.stop()
