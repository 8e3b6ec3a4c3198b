# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of mail that take a new configuration while mail comes in: nobody is asked to try again later."""

from __future__ import annotations

import smtplib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mailtest.deployment import Shell
from mailtest.mail import STRANGER, compose
from mailtest.waiting import wait_for
from playing import Target

UNITS = {
    "opendkim.service": "/etc/opendkim.conf",
    "opendmarc.service": "/etc/opendmarc.conf",
    "clamav-milter.service": "/etc/clamav/clamav-milter.conf",
}
RELOADS = 3
DRAINED_WITHIN = 40  # seconds
ENDED_WITHIN = 2  # seconds, of one that would not wait for its sessions
RECIPIENT = "alice@example.org"


@contextmanager
def session(target: Target) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(*target.port("smtp"), local_hostname="mx.outside.example", timeout=60) as mx:
        yield mx


def visit(target: Target) -> tuple[int, ...]:
    """The codes of a session that gets as far as a recipient; each filter is asked on the way."""
    with session(target) as mx:
        return (mx.ehlo()[0], mx.mail(STRANGER)[0], mx.rcpt(RECIPIENT)[0])


@contextmanager
def visited(target: Target) -> Iterator[list[tuple[int, ...]]]:
    """Somebody who comes again and again meanwhile, and what they were told."""
    told: list[tuple[int, ...]] = []
    ended = threading.Event()

    def come() -> None:
        while not ended.wait(0.02):
            told.append(visit(target))

    visitor = threading.Thread(target=come)
    visitor.start()
    try:
        wait_for(lambda: told, "the first visit")
        yield told
    finally:
        ended.set()
        visitor.join()


def wait_for_visits(told: list[tuple[int, ...]]) -> None:
    before = len(told)
    wait_for(lambda: len(told) > before + 3, "more visits")


def main_process(host: Shell, unit: str) -> int:
    return int(host.output("systemctl", "show", "--property=MainPID", "--value", unit))


def processes(host: Shell, unit: str) -> list[int]:
    running = (line.split() for line in host.output("ps", "-e", "-o", "pid=,unit=").splitlines())
    return [int(process) for process, where in running if where == unit]


@pytest.mark.parametrize("unit", UNITS)
def test_a_reload_is_noticed_by_nobody(unit: str, target: Target, host: Shell) -> None:
    with visited(target) as told:
        seen = [main_process(host, unit)]
        for _reload in range(RELOADS):
            host.run("systemctl", "reload", unit)
            seen.append(main_process(host, unit))
            wait_for_visits(told)
    assert set(told) == {(250, 250, 250)}
    assert len(set(seen)) == RELOADS + 1
    wait_for(lambda: processes(host, unit) == seen[-1:], "the end of the old processes", DRAINED_WITHIN)
    assert host.output("systemctl", "is-active", unit).strip() == "active"


@pytest.mark.parametrize("unit", UNITS)
def test_a_message_that_is_on_its_way_arrives(unit: str, target: Target, host: Shell) -> None:
    message = compose(to=RECIPIENT, sender=STRANGER, body="Begun before, ended after.\n")
    with session(target) as mx:
        assert [mx.ehlo()[0], mx.mail(STRANGER)[0], mx.rcpt(RECIPIENT)[0]] == [250, 250, 250]
        host.run("systemctl", "reload", unit)
        time.sleep(ENDED_WITHIN)
        assert mx.data(message.as_bytes())[0] == 250


@pytest.mark.parametrize("unit", UNITS)
def test_one_that_does_not_start_leaves_the_other_one_where_it_is(unit: str, target: Target, host: Shell) -> None:
    path = UNITS[unit]
    before = main_process(host, unit)
    host.run("cp", "--archive", path, f"{path}.kept")
    try:
        host.run("sh", "-c", f"echo NoSuchSetting yes >>{path}")
        with visited(target) as told:
            assert host.run("systemctl", "reload", unit, check=False).returncode != 0
            wait_for_visits(told)
    finally:
        host.run("mv", f"{path}.kept", path)
    assert set(told) == {(250, 250, 250)}
    assert main_process(host, unit) == before
    wait_for(lambda: processes(host, unit) == [before], "the end of the others", DRAINED_WITHIN)
    assert "milter.sock: the process has ended" in host.output(
        "journalctl", f"--unit={unit}", "--lines=20", "--output=cat"
    )
    host.run("systemctl", "reload", unit)


@pytest.mark.parametrize("unit", UNITS)
def test_one_that_took_over_comes_back_by_itself(unit: str, target: Target, host: Shell) -> None:
    host.run("systemctl", "reload", unit)
    killed = main_process(host, unit)
    host.run("kill", "-KILL", str(killed))
    wait_for(lambda: main_process(host, unit) not in (0, killed), "another process")
    wait_for(lambda: visit(target) == (250, 250, 250), "an answer to mail")
