# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units run when a run is over, now and at boot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from fake_host import FakeHost

from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.errors import ConfigTreeError
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.host import Outcome
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.request import parse_request
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.run import Result, apply
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.units import Lack, lacks, show

UNITS = ("d.service", "d.timer")
SHOW = ("systemctl", "show", "--property=ActiveState,UnitFileState", *UNITS)
RUNS = "ActiveState=active\nUnitFileState=enabled\n"


class Systemd:
    """Units by name, each [whether it runs, whether it is there at boot], and what fails."""

    def __init__(self, **states: list[bool]) -> None:
        self.states = {name.replace("_", "."): state for name, state in states.items()}
        self.fails: tuple[str, ...] = ()

    def __call__(self, argv: Sequence[str]) -> Outcome:
        if tuple(argv[:2]) == ("systemctl", "show"):
            return Outcome(tuple(argv), 0, "\n".join(self.block(unit) for unit in UNITS))
        if tuple(argv) == self.fails or argv[:1] == self.fails:
            return Outcome(tuple(argv), 1, "it hurts")
        for unit in argv[2:] if argv[0] == "systemctl" else ():
            self.states[unit][0 if argv[1] in ("start", "restart") else 1] = True
        return Outcome(tuple(argv), 0, "")

    def block(self, unit: str) -> str:
        runs, boots = self.states[unit]
        return f"ActiveState={'active' if runs else 'inactive'}\nUnitFileState={'enabled' if boots else 'disabled'}\n"


def run(host: FakeHost, content: str = "new\n", check_mode: bool = False) -> Result:
    options: dict[str, Any] = {"reload": ["systemctl", "restart", "d.service"], "probe": ["probe"], "units": [*UNITS]}
    host.ran.clear()
    files = json.dumps([{"path": "/etc/d.conf", "content": content}])
    return apply(parse_request({"name": "d", "files": files, **options}), host, check_mode=check_mode)


@pytest.fixture
def host() -> FakeHost:
    """A host on which all is as wanted."""
    host = FakeHost()
    host.programs = Systemd(d_service=[True, True], d_timer=[True, True])
    run(host)
    return host


@pytest.mark.parametrize("active", ["active", "activating", "reloading", "refreshing"])
@pytest.mark.parametrize("boot", ["enabled", "enabled-runtime", "static", "indirect", "generated"])
def test_a_unit_that_runs_now_and_at_boot_lacks_nothing(active: str, boot: str) -> None:
    assert lacks(["d.service"], f"ActiveState={active}\nUnitFileState={boot}\n") == ()


@pytest.mark.parametrize("active", ["inactive", "failed", "deactivating"])
@pytest.mark.parametrize("boot", ["disabled", "masked", "linked", ""])
def test_what_a_unit_lacks_is_told(active: str, boot: str) -> None:
    assert lacks(UNITS, f"ActiveState={active}\nUnitFileState=enabled\n\n{RUNS}") == (Lack("d.service", False, True),)
    assert lacks(UNITS, f"{RUNS}\nActiveState=active\nUnitFileState={boot}\n") == (Lack("d.timer", True, False),)


def test_a_unit_that_nothing_is_said_of_lacks_everything() -> None:
    assert [str(lack) for lack in lacks(UNITS, RUNS)] == ["d.timer is enabled and started"]


def test_where_all_runs_it_is_only_asked_for(host: FakeHost) -> None:
    assert not run(host).changed
    assert host.ran == [SHOW] == [show(UNITS)]


def test_what_was_stopped_is_started_and_has_to_answer(host: FakeHost) -> None:
    host.programs = Systemd(d_service=[False, True], d_timer=[True, False])
    result = run(host)
    assert result.changed
    assert result.diff == ("d.service is started\n", "d.timer is enabled\n")
    assert result.files == ()
    assert host.ran == [SHOW, ("systemctl", "enable", "d.timer"), ("systemctl", "start", "d.service"), ("probe",)]
    assert not run(host).changed


def test_check_mode_says_the_same_and_starts_nothing(host: FakeHost) -> None:
    host.programs = Systemd(d_service=[False, False], d_timer=[True, True])
    foreseen = run(host, "newer\n", check_mode=True)
    assert host.ran == [SHOW]
    done = run(host, "newer\n")
    assert foreseen == done
    assert foreseen.diff[-1] == "d.service is enabled and started\n"


def test_files_come_first(host: FakeHost) -> None:
    host.programs = Systemd(d_service=[False, False], d_timer=[True, True])
    run(host, "newer\n")
    assert host.ran[-2:] == [("systemctl", "enable", "d.service"), ("systemctl", "start", "d.service")]
    assert ("probe",) in host.ran[:-2]


@pytest.mark.parametrize("fails", [("systemctl", "start", "d.service"), ("probe",)])
def test_what_cannot_be_started_is_an_error_and_tried_again(host: FakeHost, fails: tuple[str, ...]) -> None:
    systemd = Systemd(d_service=[False, True], d_timer=[True, True])
    systemd.fails = fails
    host.programs = systemd
    with pytest.raises(ConfigTreeError, match=r"(?s)^d .*it hurts"):
        run(host)
    assert host.text("/etc/d.conf") == "new\n"
    systemd.fails, systemd.states["d.service"] = (), [False, True]
    assert run(host).changed


@pytest.mark.parametrize("unit", ["postfix", "--now", "a b.service", "", "d.service\n"])
def test_names_that_are_none_are_refused(unit: str) -> None:
    with pytest.raises(ConfigTreeError, match=r"units\[1\]"):
        parse_request({"name": "d", "files": "[]", "units": ["d@1.service", unit]})
