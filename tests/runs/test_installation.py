# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as people get it: from its archive into an empty controller, and from a clone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.postoffice.mail.tests.e2e.mailtest.deployment import Person
from ansible_collections.postoffice.mail.tests.e2e.mailtest.imap import connect, login
from ansible_collections.postoffice.mail.tests.runs.runtest.host import REPOSITORY, Host, booted
from ansible_collections.postoffice.mail.tests.runs.runtest.interpreters import interpreter
from ansible_collections.postoffice.mail.tests.runs.runtest.run import Controller, Playing

pytestmark = pytest.mark.long

UV = str(REPOSITORY / "build/uv/bin/uv")
PASSWORD = "{{ it's % my own }}"


def output(*argv: str | Path, environment: Mapping[str, str] | None = None, folder: Path = REPOSITORY) -> str:
    """What a program prints; its failure is the test's."""
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def package_index() -> dict[str, str]:
    """Where Python packages come from, said to uv, which does not read pip's settings."""
    configured = subprocess.run(
        [REPOSITORY / "build/uv/bin/pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
        check=False,
    )
    index = os.environ.get("PIP_INDEX_URL") or configured.stdout.strip()
    return {"UV_DEFAULT_INDEX": index} if index else {}


@dataclass(frozen=True)
class Empty:
    """A controller with nothing but ansible-core, and a home of its own."""

    venv: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.venv / 'bin'}{os.pathsep}/usr/local/bin:/usr/bin:/bin"
        return {"HOME": str(self.home), "LC_ALL": "C.UTF-8", "PATH": path}

    def program(self, name: str) -> str:
        return str(self.venv / "bin" / name)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Empty]:
    """A fresh controller for a version of Python, with the ansible-core that requirements/dev.txt pins for it."""

    def make(python: str) -> Empty:
        folder = tmp_path_factory.mktemp("controller")
        controller = Empty(folder / "venv", folder / "home")
        controller.home.mkdir()
        environment = {**os.environ, **package_index()}
        output(UV, "venv", "--quiet", "--python", str(interpreter(python)), controller.venv, environment=environment)
        output(
            UV, "pip", "install", "--quiet", "--python", controller.program("python"),
            "--constraints", "requirements/dev.txt", "ansible-core", environment=environment,
        )  # fmt: skip
        return controller

    return make


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone of what is committed."""
    folder = tmp_path_factory.mktemp("clone") / "postoffice"
    output("git", "clone", "--quiet", REPOSITORY, folder)
    return folder


@pytest.fixture(scope="session")
def archive(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as one would publish it."""
    folder = tmp_path_factory.mktemp("archive")
    output("ansible-galaxy", "collection", "build", "--output-path", folder, folder=clone)
    return next(folder.glob("*.tar.gz"))


def fill_in(example: Path, inventory: Path, host: Host) -> None:
    """Copy the example and fill in its four values."""
    shutil.copytree(example, inventory)
    values = {
        "hosts.yml": {"mail.example.org:": f"{host.variables['ansible_host']}:"},
        "group_vars/mail/main.yml": {"mail.example.org": "mail.club.example", "example.org": "club.example"},
        "group_vars/mail/vault.yml": {'vault_alice: !unsafe ""': f'vault_alice: !unsafe "{PASSWORD}"'},
    }
    for name, replaced in values.items():
        text = (inventory / name).read_text(encoding="utf-8")
        for old, new in replaced.items():
            assert old in text, f"the example's {name} has no {old}"
            text = text.replace(old, new)
        (inventory / name).write_text(text, encoding="utf-8")
    # Here ClamAV's own signatures cannot be fetched.
    (inventory / "group_vars/mail/clamav.yml").write_text("clamav_official_databases: false\n", encoding="utf-8")


def deploys(controller: Controller, playbook: str, inventory: Path, host: Host) -> None:
    """Deploy with check mode before and an unchanged second run, then log in as the example's user."""
    reach = f"--ssh-common-args={host.variables['ansible_ssh_common_args']}"
    Playing(controller, playbook, [inventory], reach, "--check", "--diff").wait().demand()
    first = Playing(controller, playbook, [inventory], reach).wait().demand()
    assert first.changes
    Playing(controller, playbook, [inventory], reach).wait().demand_unchanged()
    with connect(host.port("imaps")) as client:
        login(client, Person("alice@club.example", PASSWORD))
        client.select_folder("INBOX")


RELEASES = {"3.11": ("2.19", "bookworm", "trixie"), "3.13": ("2.21", "trixie", "bookworm")}
PYTHONS = [pytest.param(version, marks=pytest.mark.python(version)) for version in RELEASES]


@pytest.mark.parametrize("python", PYTHONS)
def test_from_its_archive_in_an_empty_controller(
    python: str, empty: Callable[[str], Empty], archive: Path, tmp_path: Path
) -> None:
    core, suite, _unused = RELEASES[python]
    controller = empty(python)
    assert f"[core {core}." in output(controller.program("ansible"), "--version", environment=controller.environment)
    output(
        controller.program("ansible-galaxy"), "collection", "install", "--offline", archive,
        environment=controller.environment,
    )  # fmt: skip
    installed = controller.home / ".ansible/collections/ansible_collections/postoffice/mail"
    with booted("inst", suite) as host:
        fill_in(installed / "inventories/example", tmp_path / "mine", host)
        ansible = Controller(controller.program("ansible-playbook"), controller.environment, tmp_path)
        deploys(ansible, "postoffice.mail.site", tmp_path / "mine", host)


@pytest.mark.parametrize("python", PYTHONS)
def test_from_a_clone(python: str, empty: Callable[[str], Empty], clone: Path, tmp_path: Path) -> None:
    _unused, _unused, suite = RELEASES[python]
    controller = empty(python)
    path = output("make", "--silent", "collection-path", environment=controller.environment, folder=clone).strip()
    with booted("clone", suite) as host:
        fill_in(clone / "inventories/example", tmp_path / "mine", host)
        environment = {**controller.environment, "ANSIBLE_COLLECTIONS_PATH": path}
        ansible = Controller(controller.program("ansible-playbook"), environment, clone)
        deploys(ansible, "playbooks/site.yml", tmp_path / "mine", host)
