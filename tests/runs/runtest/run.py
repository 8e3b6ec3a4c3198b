# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of playbooks: started, watched, and read afterwards, task by task."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from .host import REPOSITORY, Host

LONGEST = 580.0  # seconds that a run may take
CALLBACKS = Path(__file__).parents[1] / "callback_plugins"
SITE = str(REPOSITORY / "playbooks/site.yml")


@dataclass(frozen=True)
class Controller:
    """An Ansible to run playbooks with; by default that of the checkout, as `make` sets it up."""

    program: str = "ansible-playbook"
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    folder: Path = REPOSITORY


@dataclass(frozen=True)
class Event:
    """What one task did on the host."""

    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.content['role']}: {self.content['task']}"

    @property
    def changed(self) -> bool:
        return bool(self.content.get("changed"))

    @property
    def skipped(self) -> bool:
        return bool(self.content.get("skipped"))

    @property
    def action(self) -> str:
        return str(self.content["action"]).rpartition(".")[2]

    @cached_property
    def diffs(self) -> list[str]:
        """The diff, one text per object, as an operator would read it."""
        found = self.content.get("diff") or []
        return [_readable(each) for each in (found if isinstance(found, list) else [found]) if each]


def _readable(diff: Mapping[str, Any]) -> str:
    if "prepared" in diff:
        return str(diff["prepared"])
    return json.dumps(diff, sort_keys=True, indent=1)


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    status: int
    output: str
    events: Sequence[Event]
    seconds: float

    @property
    def changes(self) -> list[Event]:
        return [event for event in self.events if event.changed]

    def demand(self) -> Run:
        """The run, which must have succeeded."""
        assert self.status == 0, self.output[-8000:]
        return self

    def demand_unchanged(self) -> Run:
        """The run, which must have succeeded without a change."""
        self.demand()
        assert not self.changes, "\n".join(f"{event.name}\n{''.join(event.diffs)}" for event in self.changes)
        return self


class Playing:
    """A run that is going on."""

    def __init__(
        self,
        controller: Controller,
        playbook: str,
        inventories: Sequence[Path | Mapping[str, Any]],
        *arguments: str,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postoffice-run-"))
        self.events = self.folder / "events"
        self.log = self.folder / "log"
        self.sockets = self.folder / "ssh"
        sources = [
            written(each, self.folder / f"inventory-{number}") if isinstance(each, Mapping) else each
            for number, each in enumerate(inventories)
        ]
        environment = {
            **controller.environment,
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "events",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.sockets),
            "POSTOFFICE_EVENTS": str(self.events),
        }
        self.began = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [controller.program, *(f"--inventory={source}" for source in sources), playbook, *arguments],
                cwd=controller.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> Run:
        """Until the run has ended by itself."""
        try:
            self.process.wait(LONGEST - (time.monotonic() - self.began))
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"no end after {LONGEST:.0f} s:\n{self.log.read_text()[-4000:]}") from None
        return self.ended()

    def wait_at_most(self, seconds: float) -> bool:
        """Whether the run ended by itself within this time."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End the controller with all its processes at once, without a chance to clean up."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def cut(self) -> None:
        """Cut the connection to the host under the run: the processes that hold it end, the controller goes on."""
        for master in self.connections():
            os.kill(master, signal.SIGKILL)

    def connections(self) -> Iterator[int]:
        """The process of each shared SSH connection of this run."""
        for socket in self.sockets.glob("*"):
            answer = subprocess.run(
                ["ssh", "-o", f"ControlPath={socket}", "-O", "check", "host"],
                capture_output=True,
                text=True,
                check=False,
                timeout=20,
            )
            found = re.search(r"pid=(\d+)", answer.stderr)
            if found:
                yield int(found[1])

    def ended(self) -> Run:
        """What the run did, told after its end; its connection ends, too."""
        seconds = time.monotonic() - self.began
        lines = self.events.read_text(encoding="utf-8").splitlines() if self.events.exists() else []
        # A killed controller may leave half a line.
        events = [Event(json.loads(line)) for line in lines if line.endswith("}")]
        run = Run(self.process.returncode, self.log.read_text(errors="replace"), events, seconds)
        self.cut()
        shutil.rmtree(self.folder)
        return run


@dataclass(frozen=True)
class Deployed:
    """A host after its first run: what check mode said before, what the run did, and what was there afterwards."""

    host: Host
    check: Run
    first: Run
    fingerprint: dict[str, object]


def written(variables: Mapping[str, Any], folder: Path) -> Path:
    """An inventory in which the group `mail` has these variables."""
    groups = folder / "group_vars"
    groups.mkdir(parents=True)
    (folder / "hosts.yml").write_text("---\nmail:\n", encoding="utf-8")
    (groups / "mail.yml").write_text(yaml.safe_dump(dict(variables), explicit_start=True), encoding="utf-8")
    return folder


def start(host: Host, variables: Mapping[str, Any], *arguments: str, playbook: str = SITE) -> Playing:
    """Start a run that gives the host these variables."""
    return Playing(Controller(), playbook, [variables, host.inventory], *arguments)


def play(host: Host, variables: Mapping[str, Any], *arguments: str, playbook: str = SITE) -> Run:
    """Run a playbook on the host to its end."""
    return start(host, variables, *arguments, playbook=playbook).wait()
