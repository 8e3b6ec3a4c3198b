# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `--check --diff` says is what the run then does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ansible_collections.postoffice.mail.tests.runs.runtest.inventories import AFTER, BEFORE
from ansible_collections.postoffice.mail.tests.runs.runtest.run import Deployed, Event, Run, play


def changes(run: Run) -> dict[str, list[str]]:
    """The diffs of a run, by the task that made them."""
    return {event.name: sorted(event.diffs) for event in run.changes}


def config_files(run: Run) -> dict[str, list[str]]:
    """The files that a run configured, with owner and mode, by task: what stands behind +++ in the diffs.

    Folders are left out: on a bare host every task would be the first to make those that tasks and packages share.
    """
    return {
        event.name: sorted(
            line
            for diff in event.diffs
            for line in diff.splitlines()
            if line.startswith("+++ ") and "(directory, " not in line
        )
        for event in run.changes
        if event.action == "config_tree"
    }


def named(events: Sequence[Event], action: str) -> list[Event]:
    return [event for event in events if event.action == action]


def packages(run: Run) -> list[str]:
    """The packages that the run lacked, told by the tasks that install them, in check mode each time anew."""
    return sorted({name for event in run.events for name in event.content.get("missing") or []})


def accounts(run: Run) -> set[str]:
    """The users and groups that the run made, as `user vmail`."""
    return {name for event in named(run.events, "packages") for name in event.content.get("accounts") or []}


def test_check_mode_succeeds_on_a_bare_host(deployed: Deployed) -> None:
    deployed.check.demand()
    assert config_files(deployed.check), "check mode showed no file"


def test_check_mode_lists_the_packages_that_the_first_run_installs(deployed: Deployed) -> None:
    listed = [diff for event in named(deployed.check.changes, "packages") for diff in event.diffs]
    assert packages(deployed.check)
    assert all(any(name in diff for diff in listed) for name in packages(deployed.check))
    assert packages(deployed.check) == packages(deployed.first)


def test_check_mode_lists_the_users_and_groups_of_the_first_run(deployed: Deployed) -> None:
    foreseen, made = accounts(deployed.check), accounts(deployed.first)
    assert "user vmail" in made
    assert made <= foreseen
    # The packages bring the others.
    for account in foreseen - made:
        database, _separator, name = account.partition(" ")
        deployed.host.shell.run("getent", {"user": "passwd"}.get(database, database), name)


def test_check_mode_on_a_bare_host_names_every_file_of_the_first_run(deployed: Deployed) -> None:
    assert config_files(deployed.check) == config_files(deployed.first)


def test_check_mode_on_a_bare_host_foresees_every_other_change(deployed: Deployed) -> None:
    # All packages are installed by the first task that installs any; a service that is not installed cannot be asked
    # for its state.
    apart = {"packages", "systemd_service", "config_tree"}
    foreseen, done = (
        {event.name: sorted(event.diffs) for event in run.changes if event.action not in apart}
        for run in (deployed.check, deployed.first)
    )
    assert foreseen == done


@pytest.mark.long
def test_a_second_run_changes_nothing(deployed: Deployed) -> None:
    play(deployed.host, BEFORE, "--check", "--diff").demand_unchanged()
    play(deployed.host, BEFORE, "--diff").demand_unchanged()


def test_a_changed_inventory_does_what_check_mode_said(deployed: Deployed) -> None:
    check = play(deployed.host, AFTER, "--check", "--diff").demand()
    play(deployed.host, BEFORE, "--diff").demand_unchanged()  # check mode had touched nothing
    done = play(deployed.host, AFTER, "--diff").demand()
    assert len(check.changes) >= 6
    assert changes(check) == changes(done)
    play(deployed.host, AFTER, "--diff").demand_unchanged()


@pytest.mark.long
def test_the_way_back_does_what_check_mode_said(deployed: Deployed) -> None:
    play(deployed.host, AFTER).demand()
    check = play(deployed.host, BEFORE, "--check", "--diff").demand()
    done = play(deployed.host, BEFORE, "--diff").demand()
    assert changes(check) == changes(done)
    assert check.changes


@pytest.mark.long
def test_a_package_that_a_changed_inventory_needs_is_no_failure_in_check_mode(deployed: Deployed) -> None:
    wanted = {**BEFORE, "dovecot_pop3": True}
    check = play(deployed.host, wanted, "--check", "--diff").demand()
    assert packages(check) == ["dovecot-pop3d"]
    done = play(deployed.host, wanted, "--diff").demand()
    assert config_files(check) == config_files(done)
    play(deployed.host, wanted).demand_unchanged()
