# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs plays as an operator does, with ansible-playbook over SSH."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from mailtest.deployment import REPOSITORY, Shell

ROLE_PREFIX = "postoffice.mail."
CHOSEN = "chosen"


@dataclass(frozen=True)
class Target:
    """The host under test, by its description."""

    description: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path) -> Target:
        return cls(json.loads(path.read_text()))

    @property
    def shell(self) -> Shell:
        return Shell.parse(self.description["ssh"])

    @property
    def inventories(self) -> list[Path]:
        """The inventory of the scenario, and the one that booting its hosts wrote; both describe the mail host."""
        scenario = self.description["scenario"]
        declared = REPOSITORY / "molecule" / scenario / "inventory"
        booted = REPOSITORY / "build" / "hosts" / scenario / "inventory"
        return [Path(source) for source in self.description.get("inventories", (declared, booted))]

    def port(self, service: str) -> tuple[str, int]:
        host, _unused, port = self.description["ports"][service].rpartition(":")
        return host.strip("[]"), int(port)


@dataclass(frozen=True)
class Played:
    """What an operator saw of a play, and what its last task returned."""

    status: int
    output: str
    result: Mapping[str, Any]

    @property
    def changed(self) -> bool:
        return bool(self.result["changed"])

    @property
    def message(self) -> str:
        return str(self.result["msg"])


@dataclass
class Player:
    """Runs plays against one host."""

    target: Target
    folder: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def tree(self, options: Mapping[str, Any], *arguments: str, python: str = "/usr/bin/python3") -> Played:
        """One task of config_tree with the given options; `files` and `secrets` are given as structures."""
        returned = self.folder / "result.json"
        returned.unlink(missing_ok=True)
        status, output = self.finish(self.start(self.tree_tasks(options, returned, python), *arguments))
        return Played(status, output, json.loads(returned.read_text()) if returned.exists() else {})

    def tree_tasks(
        self, options: Mapping[str, Any], returned: Path, python: str = "/usr/bin/python3"
    ) -> list[dict[str, Any]]:
        # A lookup's result is not templated again, as a role's rendered templates are not.
        texts = {}
        for option in ("files", "secrets"):
            path = self.folder / f"{option}.json"
            path.write_text(json.dumps(options.get(option, {})))
            texts[option] = f"{{{{ lookup('ansible.builtin.file', '{path}') }}}}"
        task = {
            "name": "Configure",
            "postoffice.mail.config_tree": {**options, **texts},
            "register": "result",
            "vars": {"ansible_python_interpreter": python},
        }
        report = {
            "name": "Report",
            "ansible.builtin.copy": {"content": "{{ result | to_json }}", "dest": str(returned), "mode": "0600"},
            "delegate_to": "localhost",
            "check_mode": False,
            "diff": False,
        }
        return [{"block": [task], "always": [report]}]

    def roles(self, names: Collection[str], variables: Mapping[str, Any], *arguments: str) -> Played:
        """Some roles of the site, wired as the site wires them; the others lend their defaults only."""
        return self.summed_up(self.start_roles(names, variables, *arguments))

    def summed_up(self, process: subprocess.Popen[str]) -> Played:
        """A play by its last line: whether anything was changed."""
        status, output = self.finish(process)
        changes = re.search(r"changed=(\d+) ", output)
        return Played(status, output, {"changed": bool(changes and int(changes[1]))})

    def start_roles(
        self, names: Collection[str], variables: Mapping[str, Any], *arguments: str
    ) -> subprocess.Popen[str]:
        site = yaml.safe_load((REPOSITORY / "playbooks" / "site.yml").read_text())
        for play in site:
            for role in play["roles"]:
                if role["role"].removeprefix(ROLE_PREFIX) in names:
                    role["tags"] = [CHOSEN]
                else:
                    role["when"] = False  # for what is always run; the rest is not even looked at
        extra = self.folder / "extra.json"
        extra.write_text(json.dumps(variables))
        return self.play(site, f"--extra-vars=@{extra}", f"--tags={CHOSEN}", *arguments)

    def start(self, tasks: Sequence[Mapping[str, Any]], *arguments: str) -> subprocess.Popen[str]:
        """Begin a play of the given tasks."""
        return self.play([{"hosts": "mail", "gather_facts": False, "become": True, "tasks": tasks}], *arguments)

    def playbook(self, name: str, *arguments: str) -> Played:
        """One of the collection's playbooks, as it is."""
        return self.summed_up(self.begin(REPOSITORY / "playbooks" / f"{name}.yml", *arguments))

    def play(self, plays: Sequence[Mapping[str, Any]], *arguments: str) -> subprocess.Popen[str]:
        playbook = self.folder / "play.yml"
        playbook.write_text(json.dumps(plays))
        return self.begin(playbook, *arguments)

    def begin(self, playbook: Path, *arguments: str) -> subprocess.Popen[str]:
        inventories = [f"--inventory={source}" for source in self.target.inventories]
        process = subprocess.Popen(
            ["ansible-playbook", *inventories, *arguments, str(playbook)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        self.running.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        output, _unused = process.communicate(timeout=300)
        return process.returncode, output

    def stop(self) -> None:
        """End what still runs."""
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            if process.stdout and not process.stdout.closed:
                process.communicate()
