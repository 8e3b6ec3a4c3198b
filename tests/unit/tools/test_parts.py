# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the parts of the suite: nothing that fails may look as if it had passed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ansible_collections.postoffice.mail.tools import parts
from ansible_collections.postoffice.mail.tools.parts import Part, Runner, Step

PLUGIN = "ansible_collections.postoffice.mail.tools.results"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGS", "RESULTS"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(parts, name, tmp_path / name)
    monkeypatch.setattr(parts, "CHECKOUT", tmp_path)


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def run(*steps: Step) -> bool:
    return Runner(show=False).run(Part("some", steps, "make some", "its host is still up"))


def cases() -> list[ElementTree.Element]:
    return [case for path in sorted(parts.RESULTS.glob("*.xml")) for case in ElementTree.parse(path).iter("testcase")]


def test_a_part_passes_when_all_its_steps_do(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(Step("one", program("print(1)"), folder=Path("/")), Step("two", program("print(2)"), folder=Path("/")))
    assert [case.get("name") for case in cases()] == ["one", "two"]
    assert "some: passed" in capfd.readouterr().out


def test_a_part_ends_with_the_step_that_fails_and_says_how_to_go_on(capfd: pytest.CaptureFixture[str]) -> None:
    failing = Step("one", program("import sys; print('what went wrong'); sys.exit(3)"), folder=Path("/"))
    assert not run(failing, Step("two", program("print(2)"), folder=Path("/")))
    (case,) = cases()
    failure = case.find("failure")
    assert failure is not None
    assert "what went wrong" in (failure.text or "")
    said = capfd.readouterr().out
    for part in ("FAILED in one", "what went wrong", "alone: make some", "its host is still up"):
        assert part in said


def test_a_pytest_that_dies_without_results_is_a_failure() -> None:
    assert not run(Step("e2e", [*program("import sys; sys.exit(2)"), "--junitxml={junit}"], folder=Path("/")))
    assert [case.find("failure") is not None for case in cases()] == [True]


def test_a_pytest_that_fails_beside_passing_results_is_a_failure() -> None:
    write = (
        "import sys, pathlib; junit = pathlib.Path(sys.argv[1].partition('=')[2]);"
        "junit.write_text('<testsuite><testcase name=\"good\"/></testsuite>'); sys.exit(1)"
    )
    assert not run(Step("e2e", [*program(write), "--junitxml={junit}"], folder=Path("/")))
    assert sorted((case.get("name"), case.find("failure") is not None) for case in cases()) == [
        ("e2e", True),
        ("good", False),
    ]


def test_output_that_xml_cannot_carry_is_left_out() -> None:
    assert parts.printable("\x1b[31mred\x1b[0m \x00\x1b ümlaut\n") == "red  ümlaut\n"


@pytest.mark.parametrize(("failing", "status"), [(False, 0), (True, 1)])
def test_the_report_ends_with_a_count_and_its_status_tells(failing: bool, status: int) -> None:
    parts.write_result(parts.RESULTS / "a.xml", "lint", "ruff", 1.0, None)
    parts.write_result(parts.RESULTS / "b.xml", "unit", "unit", 1.0, "it broke" if failing else None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", "-c", "/dev/null", str(parts.RESULTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stdout.strip().splitlines()[-1]
    assert done.returncode == status
    assert ("1 failed, 1 passed" if failing else "2 passed") in last
    assert ("it broke" in done.stdout) is failing


def test_a_group_s_name_stands_for_its_parts() -> None:
    assert [part.name for part in parts.chosen(["scenario"])] == [f"scenario:{name}" for name in parts.SCENARIOS]
    assert "unit" in [part.name for part in parts.chosen(["all"])]
    with pytest.raises(SystemExit, match="there is no nonsense"):
        parts.chosen(["nonsense"])


def test_every_test_of_hosts_is_run_on_one_release() -> None:
    folder = Path(__file__).parents[2] / "host"
    there = sorted(path.name.removeprefix("test_").removesuffix(".py") for path in folder.glob("test_*.py"))
    assert sorted(name for chosen in parts.BRIEF_HOST_TESTS.values() for name in chosen) == there
    steps = {part.name: part.steps[-3].command for part in parts.chosen(["all"]) if part.name.startswith("scenario")}
    for scenario, names in parts.BRIEF_HOST_TESTS.items():
        assert [word for word in steps[f"scenario:{scenario}"] if word.startswith("tests/host")] == [
            f"tests/host/test_{name}.py" for name in names
        ]


@pytest.mark.parametrize("name", parts.SCENARIOS)
def test_the_hosts_of_a_scenario_are_booted_and_removed_where_sudo_can_ask(name: str) -> None:
    """Ansible takes the terminal from what it runs; when Molecule begins, its hosts are there."""
    steps = parts.scenario(name).steps
    molecule = [number for number, step in enumerate(steps) if step.command[:2] == ["molecule", "test"]]
    booting = [number for number, step in enumerate(steps) if "up" in step.command]
    removing = [number for number, step in enumerate(steps) if "down" in step.command]
    assert [removing[0] < booting[0] < molecule[0] < removing[-1], len(molecule)] == [True, 1]
    assert all("destroy" not in step.command[:2] for step in steps)
    release = "bookworm" if name == "debian12" else "trixie"
    assert steps[booting[0]].command[-3:] == ["up", name, f"--suite={release}"]


@pytest.fixture
def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """Not root, and a sudo that ends with the given status; it writes down what it was asked."""

    def make(status: int) -> Path:
        asked = tmp_path / "asked"
        asked.touch()
        program = tmp_path / "bin" / "sudo"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\necho "$@" >>"{asked}"\nexit {status}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        return asked

    return make


def test_sudo_is_asked_once_before_hosts_are_needed_and_then_kept_from_forgetting(
    sudo: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = sudo(0)
    monkeypatch.setattr(parts, "SUDO_INTERVAL", 0.01)
    with parts.sudo_answered([parts.unit(), parts.scenario("default")]):
        assert asked.read_text().startswith("podman --version\n")
        deadline = time.monotonic() + 10
        while asked.read_text().count("\n") < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    first, *later = asked.read_text().splitlines()
    assert first == "podman --version"
    assert len(later) >= 2
    assert set(later) == {"--non-interactive podman --version"}


def test_without_hosts_nobody_asks_for_root(sudo: Callable[[int], Path]) -> None:
    asked = sudo(1)
    with parts.sudo_answered([parts.unit(), *parts.lint()]):
        assert asked.read_text() == ""


def test_without_root_for_hosts_nothing_begins(sudo: Callable[[int], Path]) -> None:
    sudo(1)
    with pytest.raises(SystemExit, match="started through sudo"), parts.sudo_answered(parts.chosen(["scenario"])):
        raise AssertionError("it began")
