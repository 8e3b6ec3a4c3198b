# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator does not see of a first run, and relies on."""

from __future__ import annotations

import json

import pytest

from ansible_collections.postoffice.mail.tests.runs.runtest.run import Deployed

# When the first installation by apt ended, and when each unit was started for the first time, in seconds.
TIMES = """
import datetime, json, re, subprocess
history = open("/var/log/apt/history.log").read()
ended = re.findall("^End-Date: (.*)$", history, re.MULTILINE)
def started(unit):
    journal = subprocess.run(["journalctl", "--unit", unit, "--output=json"], capture_output=True, text=True).stdout
    entries = map(json.loads, journal.splitlines())
    return min(int(entry["__REALTIME_TIMESTAMP"]) / 1e6 for entry in entries if entry.get("JOB_TYPE") == "start")
installed = [datetime.datetime.strptime(text, "%Y-%m-%d  %H:%M:%S").timestamp() for text in ended]
units = ("dovecot.service", "fail2ban.service", "postfix.service", "postgrey.service", "unbound.service")
print(json.dumps([installed, {unit: started(unit) for unit in units}]))
"""


@pytest.fixture(scope="module")
def times(deployed: Deployed) -> tuple[list[float], dict[str, float]]:
    installed, started = json.loads(deployed.host.python(TIMES))
    return installed, started


def test_no_daemon_is_started_before_it_is_configured(times: tuple[list[float], dict[str, float]]) -> None:
    installed, started = times
    assert [unit for unit, moment in started.items() if moment < installed[0]] == []


def test_everything_is_installed_in_one_go(deployed: Deployed) -> None:
    assert [event.name for event in deployed.first.changes if event.content.get("missing")] == [
        "base: Install the packages"
    ]


def test_nothing_goes_on_keeping_daemons_down(deployed: Deployed) -> None:
    assert deployed.host.shell.output("ls", "/usr/sbin").split().count("policy-rc.d") == 0


def test_postfix_is_not_set_up_by_its_package_before_the_role_does(deployed: Deployed) -> None:
    assert "postfix/main_mailer_type: No configuration" in deployed.host.shell.output("debconf-show", "postfix")


def test_postfix_does_not_wait_for_its_configuration_to_get_older(deployed: Deployed) -> None:
    # Each of its processes reads a file again and again that was modified less than two seconds ago.
    modified, renamed = map(int, deployed.host.shell.output("stat", "--format=%Y %Z", "/etc/postfix/main.cf").split())
    assert renamed - modified >= 2
