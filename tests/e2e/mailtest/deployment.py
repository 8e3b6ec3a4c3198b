"""The deployed host under test: how to reach it, and what its inventory promised."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import idna

REPOSITORY = Path(__file__).parents[3]

# Always the same: Dovecot answers an address more and more slowly that tries one password after another.
WRONG_PASSWORD = "' OR '1'='1"


@dataclass(frozen=True)
class Endpoint:
    """Where a service listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """From `192.0.2.1:25` or `[2001:db8::1]:25`."""
        host, _unused, port = text.rpartition(":")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Person:
    """Somebody with an account."""

    address: str
    password: str = field(repr=False)

    @property
    def local(self) -> str:
        return self.address.rpartition("@")[0]

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


@dataclass(frozen=True)
class Shell:
    """Root's shell on a host, over SSH, for what the network does not show."""

    login: tuple[str, ...]

    @classmethod
    def parse(cls, command: str) -> Shell:
        """From the command that opens the shell; one connection serves every further command."""
        program, *arguments = shlex.split(command)
        # Short, since a socket's path has room for about a hundred characters; every checkout has its own commands.
        name = hashlib.sha256(f"{Path.cwd()} {command}".encode()).hexdigest()[:16]
        sockets = Path(tempfile.gettempdir()) / f"postoffice-{os.getuid()}-{name}"
        sharing = ("ControlMaster=auto", f"ControlPath={sockets}", "ControlPersist=30")
        options = [f"-o{option}" for option in sharing] if program == "ssh" else []
        return cls((program, *options, *arguments))

    def run(self, *argv: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one program there; with `check`, its failure is the test's."""
        done = subprocess.run(
            [*self.login, shlex.join(argv)],
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{shlex.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def output(self, *argv: str) -> str:
        return self.run(*argv).stdout


@dataclass(frozen=True)
class Deployment:
    """What the deployment's description says, and the inventory it was deployed with."""

    description: Mapping[str, Any] = field(repr=False)
    variables: Mapping[str, Any] = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Read the description at `path` and the inventory of its scenario."""
        description = json.loads(path.read_text())
        scenario = description["scenario"]
        declared = REPOSITORY / "molecule" / scenario / "inventory"
        booted = REPOSITORY / "build" / "hosts" / scenario / "inventory"
        inventories = [Path(source) for source in description.get("inventories", (declared, booted))]
        return cls(description, inventory_variables(inventories, description["name"]))

    @property
    def hostname(self) -> str:
        return str(self.description["hostname"])

    @property
    def shell(self) -> Shell:
        return Shell.parse(self.description["ssh"])

    def port(self, service: str) -> Endpoint:
        return Endpoint.parse(self.description["ports"][service])

    def address(self, version: int = 4) -> str:
        return str(self.description["address" if version == 4 else "address6"])

    @property
    def resolves(self) -> bool:
        """Whether the host has a resolver of its own."""
        return bool(self.variables.get("unbound_enabled", True))

    @cached_property
    def people(self) -> Mapping[str, Person]:
        """Everybody whose password is known, by address."""
        known: dict[str, str] = dict(self.variables.get("test_passwords", {}))
        for domain in self.domains:
            for mailbox in domain.get("mailboxes", []):
                if "password" in mailbox:
                    known[f"{mailbox['name']}@{a_labels(domain['name'])}"] = mailbox["password"]
        return {address: Person(address, password) for address, password in known.items()}

    @property
    def domains(self) -> list[dict[str, Any]]:
        return list(self.variables["mail_domains"])


def a_labels(domain: str) -> str:
    """The domain as it travels (IDNA, RFC 5890)."""
    return idna.encode(domain).decode()


def inventory_variables(inventories: Sequence[Path], host: str) -> dict[str, Any]:
    """The variables of one host, as the inventories give them, templates not rendered."""
    sources = [f"--inventory={inventory}" for inventory in inventories]
    answer = subprocess.run(
        ["ansible-inventory", *sources, "--host", host], capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise ValueError(f"no inventory: {answer.stderr}")
    variables: dict[str, Any] = json.loads(answer.stdout)
    return variables
