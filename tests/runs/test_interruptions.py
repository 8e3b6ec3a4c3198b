# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is interrupted and started again ends like one that was not, and mail is served all the while."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.postoffice.mail.tests.runs.runtest.clients import clients
from ansible_collections.postoffice.mail.tests.runs.runtest.fingerprint import differences, fingerprint
from ansible_collections.postoffice.mail.tests.runs.runtest.host import Host, booted
from ansible_collections.postoffice.mail.tests.runs.runtest.inventories import AFTER, BEFORE
from ansible_collections.postoffice.mail.tests.runs.runtest.run import Deployed, play, start

pytestmark = pytest.mark.long

INTERRUPTIONS = [3, 14]


def interrupt(host: Host, variables: Mapping[str, Any], moment: float, way: str) -> str:
    """Start a run and, so many seconds later, kill the controller or cut its connection; what became of it."""
    playing = start(host, variables)
    if playing.wait_at_most(moment):
        playing.ended()
        return f"ended before {moment:.1f} s"
    if way == "cut" and any(playing.connections()):
        playing.cut()
        run = playing.wait()
        told = f"connection cut at {moment:.1f} s, status {run.status}"
    else:
        playing.kill()
        run = playing.ended()
        told = f"killed at {moment:.1f} s"
    return f"{told}, after {run.events[-1].name if run.events else 'nothing'}"


@pytest.mark.parametrize("count", INTERRUPTIONS)
def test_interrupted_runs_end_well_and_mail_is_served_all_the_while(deployed: Deployed, seed: str, count: int) -> None:
    host, chance = deployed.host, random.Random(f"{seed} {count} {deployed.host.suite}")
    inventories = [AFTER, BEFORE]
    play(host, BEFORE).demand()
    wanted, lengths = [], []
    for variables in inventories:
        run = play(host, variables).demand()
        lengths.append(run.seconds)
        wanted.append(fingerprint(host))
    story = []
    with clients(host) as diaries:
        for number in range(count):
            turn = number % 2
            way = chance.choice(["kill", "cut"])
            story.append(interrupt(host, inventories[turn], chance.uniform(0.5, lengths[turn]), way))
            run = play(host, inventories[turn]).demand()
            found = differences(wanted[turn], fingerprint(host))
            assert not found, "\n".join([*story, *found])
    print("\n".join([*story, *(f"{name}: {diary}" for name, diary in diaries.items())]))
    assert all(diary.visits > 20 * count for diary in diaries.values())
    failures = [failure for diary in diaries.values() for failure in diary.failures]
    assert not failures, "\n".join([*story, *failures])
    play(host, inventories[(count - 1) % 2]).demand_unchanged()


@pytest.mark.parametrize("number", range(3))
def test_an_interrupted_first_run_ends_like_an_uninterrupted_one(deployed: Deployed, seed: str, number: int) -> None:
    chance = random.Random(f"{seed} first {number} {deployed.host.suite}")
    with booted("cut", deployed.host.suite) as host:
        moment = chance.uniform(0.5, deployed.first.seconds)
        story = interrupt(host, BEFORE, moment, chance.choice(["kill", "cut"]))
        play(host, BEFORE).demand()
        found = differences(deployed.fingerprint, fingerprint(host))
        assert not found, "\n".join([story, *found])
        play(host, BEFORE).demand_unchanged()
