# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is interrupted and started again ends like one that was not, and mail is served all the while."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import pytest

from ansible_collections.postoffice.mail.tests.runs.runtest.clients import Diary, Experience, clients, clock
from ansible_collections.postoffice.mail.tests.runs.runtest.fingerprint import differences, fingerprint
from ansible_collections.postoffice.mail.tests.runs.runtest.host import Host, booted
from ansible_collections.postoffice.mail.tests.runs.runtest.inventories import AFTER, BEFORE
from ansible_collections.postoffice.mail.tests.runs.runtest.run import Deployed, Run, play, start

pytestmark = pytest.mark.long

INTERRUPTIONS = [3, 17]
RELOADED = re.compile(
    r"(?P<moment>[0-9.]+) \S+ dovecot\[\d+\]: master: (Warning: SIGHUP received|Dovecot .*starting up)"
)
EVERYDAY = re.compile(r"Logged (in|out)|smtpd\[\d+\]: (dis)?connect from|postscreen\[\d+\]: (CONNECT|PASS)")
CUT_OFF_WITHIN = 2.0  # seconds after a reload of Dovecot
CUT_OFF_AT_MOST = 5  # log-ins by one reload


def attempt(host: Host, variables: Mapping[str, Any], longest: float, chance: random.Random) -> tuple[str, Run]:
    """Start a run and, within so many seconds, kill the controller or cut its connection; what became of it.

    The words are empty when that did not interrupt it: it had ended, or was cut between two tasks and connected again.
    """
    way, moment = chance.choice(["kill", "cut"]), chance.uniform(0.5, longest)
    playing = start(host, variables)
    if playing.wait_at_most(moment):
        return "", playing.ended().demand()
    if way == "cut" and any(playing.connections()):
        playing.cut()
        run = playing.wait()
        told = f"connection cut at {moment:.1f} s, status {run.status}"
    else:
        playing.kill()
        run = playing.ended()
        told = f"killed at {moment:.1f} s"
    last = run.events[-1].name if run.events else "nothing"
    return f"{clock(time.time())} {told}, after {last}" if run.status else "", run


def interrupt(host: Host, variables: Mapping[str, Any], longest: float, chance: random.Random) -> str:
    """Interrupt a run, after as many others as it takes; what became of it."""
    while True:
        told, run = attempt(host, variables, longest, chance)
        if told:
            return told
        longest = run.seconds


def reloads_of_dovecot(host: Host, since: float) -> list[float]:
    """When Dovecot was told to reload or started, in seconds since the epoch."""
    lines = host.journal("--identifier=dovecot", f"--since=@{since:.0f}")
    return [float(found[1]) for found in map(RELOADED.match, lines) if found]


def unexplained(cut_offs: Iterable[Experience], reloads: Sequence[float]) -> list[str]:
    """The log-ins that were cut or put off while Dovecot did not reload, or more by one reload than it excuses."""
    blamed: Counter[float] = Counter()
    found = []
    for cut_off in cut_offs:
        # What the host wrote and what the client saw may be noted in either order; UNAVAILABLE comes two seconds later.
        began = cut_off.moment - cut_off.took
        before = [reload for reload in reloads if reload - 0.1 <= cut_off.moment and began <= reload + CUT_OFF_WITHIN]
        if not before:
            found.append(f"{cut_off}, and Dovecot did not reload")
        else:
            blamed[before[-1]] += 1
    return found + [
        f"the reload at {clock(reload)} cut off {number} log-ins"
        for reload, number in blamed.items()
        if number > CUT_OFF_AT_MOST
    ]


def journal_of(host: Host, failures: Iterable[Experience], since: float) -> list[str]:
    """What the host warned of all the while, and all but log-ins that it wrote before the first few failures."""
    lines = ["warnings in the journal:", *host.journal("--priority=warning", f"--since=@{since:.0f}")[-60:]]
    told = since
    for failure in sorted(failures, key=lambda failure: failure.moment)[:5]:
        if failure.moment < told:
            continue
        told = failure.moment + 15
        span = (f"--since=@{failure.moment - failure.took - 5:.3f}", f"--until=@{failure.moment + 1:.3f}")
        found = [line for line in host.journal(*span) if not EVERYDAY.search(line)]
        lines += [f"journal around {clock(failure.moment)}:", *found[-100:]]
    return lines


def check(host: Host, diaries: Iterable[Diary], since: float, visits: int) -> None:
    """Mail was served all the while, as far as Dovecot allows for at a reload."""
    failures = [failure for diary in diaries for failure in diary.failures]
    assert not failures, "\n".join(map(str, [*diaries, *journal_of(host, failures, since)]))
    reloads = reloads_of_dovecot(host, since)
    print(f"{len(reloads)} reloads of Dovecot")
    for diary in diaries:
        found = unexplained(diary.cut_offs, reloads)
        assert not found, "\n".join(map(str, [*found, diary, *journal_of(host, diary.cut_offs, since)]))
        assert len(diary.visits) > visits, diary


@dataclass(frozen=True)
class Change:
    """One inventory after the other, without interruption: how long the run takes (seconds), what it leaves."""

    variables: Mapping[str, Any]
    seconds: float
    fingerprint: dict[str, object]


@pytest.fixture(scope="session")
def there_and_back(deployed: Deployed) -> list[Change]:
    host = deployed.host
    play(host, BEFORE).demand()
    return [Change(each, play(host, each).demand().seconds, fingerprint(host)) for each in (AFTER, BEFORE)]


def rounds(count: int, chance: random.Random) -> Iterator[int]:
    """How often each run is interrupted and started again before it may end: `count` times altogether."""
    while count:
        times = min(count, chance.randint(1, 4))
        yield times
        count -= times


@pytest.mark.parametrize("count", INTERRUPTIONS)
def test_interrupted_runs_end_well_and_mail_is_served_all_the_while(
    deployed: Deployed, there_and_back: list[Change], seed: str, count: int
) -> None:
    host, chance = deployed.host, random.Random(f"{seed} {count} {deployed.host.suite}")
    play(host, BEFORE).demand()
    began = time.time()
    with clients(host) as diaries:
        for times, change in zip(rounds(count, chance), cycle(there_and_back), strict=False):
            for _unused in range(times):
                print(interrupt(host, change.variables, change.seconds, chance), flush=True)
            play(host, change.variables).demand()
            found = differences(change.fingerprint, fingerprint(host))
            assert not found, "\n".join(found)
    print(*diaries.values(), sep="\n")
    check(host, diaries.values(), began, 20 * count)
    play(host, change.variables).demand_unchanged()


@pytest.mark.parametrize("number", range(3))
def test_an_interrupted_first_run_ends_like_an_uninterrupted_one(deployed: Deployed, seed: str, number: int) -> None:
    chance = random.Random(f"{seed} first {number} {deployed.host.suite}")
    told, longest = "", deployed.first.seconds
    while not told:
        with booted("cut", deployed.host.suite) as host:
            told, run = attempt(host, BEFORE, longest, chance)
            longest = run.seconds
            if told:
                print(told)
                play(host, BEFORE).demand()
                found = differences(deployed.fingerprint, fingerprint(host))
                assert not found, "\n".join(found)
                play(host, BEFORE).demand_unchanged()
