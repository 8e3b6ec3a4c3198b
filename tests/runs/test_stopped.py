# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody has stopped on the host runs again after the next run, which says so."""

from __future__ import annotations

from ansible_collections.postoffice.mail.tests.runs.runtest.inventories import BEFORE
from ansible_collections.postoffice.mail.tests.runs.runtest.run import Deployed, play

UNITS = ("dovecot.service", "fail2ban.service", "postfix.service", "postgrey.service", "postoffice-publish.path")


def test_what_was_stopped_runs_again_now_and_at_boot(deployed: Deployed) -> None:
    play(deployed.host, BEFORE).demand()  # another test may have left it with another inventory
    systemctl = deployed.host.shell
    systemctl.run("systemctl", "disable", "--now", *UNITS)
    check = play(deployed.host, BEFORE, "--check", "--diff").demand()
    done = play(deployed.host, BEFORE, "--diff").demand()
    foreseen, made = (sorted(diff.strip() for event in run.changes for diff in event.diffs) for run in (check, done))
    assert foreseen == made == [f"{unit} is enabled and started" for unit in UNITS]
    assert systemctl.output("systemctl", "is-active", *UNITS).split() == ["active"] * len(UNITS)
    assert systemctl.output("systemctl", "is-enabled", *UNITS).split() == ["enabled"] * len(UNITS)
