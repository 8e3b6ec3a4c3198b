# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away hosts, booted and removed by tools/hosts.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.postoffice.mail.tests.e2e.mailtest.deployment import Endpoint, Shell

REPOSITORY = Path(__file__).parents[3]
RELEASES = {"bookworm": "12", "trixie": "13"}


@dataclass(frozen=True)
class Host:
    """A host that is up."""

    scenario: str
    suite: str

    @property
    def inventory(self) -> Path:
        """Says how to reach it; it is the host `server` of the group `mail`."""
        return REPOSITORY / "build/hosts" / self.scenario / "inventory"

    @property
    def variables(self) -> dict[str, Any]:
        inventory = yaml.safe_load((self.inventory / "hosts.yml").read_text(encoding="utf-8"))
        return dict(inventory["all"]["children"]["mail"]["hosts"]["server"])

    @property
    def shell(self) -> Shell:
        return Shell.parse(self.variables["host_ssh"])

    def port(self, service: str) -> Endpoint:
        return Endpoint.parse(self.variables["host_ports"][service])

    def python(self, program: str, *arguments: str) -> str:
        """What a Python program prints when it runs on the host."""
        return self.shell.run("python3", "-", *arguments, stdin=program).stdout

    def reboot(self) -> None:
        """Shut it down and start it again."""
        _hosts("reboot", self.scenario, f"--suite={self.suite}", "--publish")

    def journal(self, *options: str) -> list[str]:
        """Lines of its journal, each beginning with the seconds since the epoch."""
        return self.shell.output("journalctl", "--quiet", "--no-pager", "--output=short-unix", *options).splitlines()


def _hosts(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "tools/hosts.py", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"hosts.py {' '.join(arguments)}: {done.stdout}{done.stderr}")


@contextmanager
def booted(name: str, suite: str) -> Iterator[Host]:
    """A bare host of that Debian release; it is removed at the end."""
    # Short, because the path of a shared SSH connection has the name in it and must not be longer than 107 characters.
    host = Host(f"r-{name}-{RELEASES[suite]}", suite)
    _hosts("down", host.scenario)
    _hosts("up", host.scenario, f"--suite={suite}", "--publish")
    try:
        yield host
    finally:
        _hosts("down", host.scenario)
