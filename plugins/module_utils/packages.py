# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dpkg and apt know about packages and how they install them, without python3-apt (a bare Debian has none)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

# Runs a program with the given arguments; returns its exit status and its standard output and error, together.
Run = Callable[[list[str]], tuple[int, str]]

DPKG_QUERY = ["dpkg-query", "--show", "--showformat", "${Package}\\t${db:Status-Status}\\t${Version}\\n"]
APT_CACHE = ["apt-cache", "policy"]
LOCK_SECONDS = 600  # unattended upgrades may be under way
DEBCONF = ["debconf-set-selections"]
DEBCONF_LOCKED = "is locked by another process"
UPDATE = ["apt-get", "--quiet", "update"]
INSTALL = [
    *("apt-get", "--quiet", "--yes", "--no-install-recommends"),
    *("-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}"),
    *("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"),
    "install",
]
# What apt-get says when something is in its way, and what clears that away.
REMEDIES = {
    "dpkg was interrupted": ["dpkg", "--configure", "--pending", "--force-confdef", "--force-confold"],
    "Unable to fetch some archives": UPDATE,
}


class InstallationError(Exception):
    """apt-get did not install what it was asked for. The message names the packages and says why."""


@dataclass(frozen=True)
class Packages:
    """Upstream versions by package name; an empty string where there is none."""

    wanted: tuple[tuple[str, ...], ...]
    installed: dict[str, str]
    candidates: dict[str, str]

    @property
    def missing(self) -> list[str]:
        """What is to be installed: of alternatives that are all missing the first that can be had."""
        return [
            next((name for name in names if self.candidates.get(name)), names[0])
            for names in self.wanted
            if not any(self.installed[name] for name in names)
        ]

    @property
    def unknown(self) -> list[str]:
        """What is to be installed and is not in the package lists."""
        return [name for name in self.missing if not self.candidates.get(name)]

    @property
    def versions(self) -> dict[str, str]:
        """The installed version, else the one that would be installed."""
        return {name: version or self.candidates.get(name, "") for name, version in self.installed.items()}


def upstream_version(version: str) -> str:
    """Cut epoch and Debian revision off a version (deb-version(7)): `1:2.4.1+dfsg1-6` gives `2.4.1`."""
    without_epoch = version.rpartition(":")[2]
    upstream = without_epoch.rpartition("-")[0] or without_epoch
    return re.split(r"[+~]", upstream, maxsplit=1)[0]


def parse_dpkg_query(output: str) -> dict[str, str]:
    """Read the lines of DPKG_QUERY: versions of the packages that are installed, by name."""
    rows = (line.split("\t") for line in output.splitlines())
    return {row[0]: upstream_version(row[2]) for row in rows if len(row) == 3 and row[1] == "installed"}


def parse_apt_cache_policy(output: str) -> dict[str, str]:
    """Read `apt-cache policy NAME ...` (in the C locale): the candidates' versions, by name."""
    found = re.findall(r"^(\S+):\n  Installed: .*\n  Candidate: (.*)$", output, flags=re.MULTILINE)
    return {name: upstream_version(version) for name, version in found if version != "(none)"}


def alternatives(wanted: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """The names in elements as in deb-control(5): `systemd-timesyncd | chrony` gives both."""
    return tuple(dict.fromkeys(tuple(re.split(r"\s*\|\s*", text.strip())) for text in wanted))


def read_packages(wanted: Iterable[str], run: Run) -> Packages:
    """Ask dpkg for packages, and apt for those that it does not have installed.

    An element of `wanted` is a name or, as in deb-control(5), alternatives: `systemd-timesyncd | chrony`.
    """
    groups = alternatives(wanted)
    names = list(dict.fromkeys(name for group in groups for name in group))
    # Both programs exit with an error when they do not know a name; what they print of the others is what counts.
    found = parse_dpkg_query(run([*DPKG_QUERY, *names])[1]) if names else {}
    installed = {name: found.get(name, "") for name in names}
    lacking = [name for group in groups if not any(installed[name] for name in group) for name in group]
    candidates = parse_apt_cache_policy(run([*APT_CACHE, *lacking])[1]) if lacking else {}
    return Packages(groups, installed, candidates)


def preseed(
    answers: Iterable[str],
    names: Sequence[str],
    say: Callable[[str], tuple[int, str]],
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Answer questions that packages among `names` ask when they are installed, or raise InstallationError.

    `answers` are lines as in debconf-set-selections(1), to which `say` passes them.
    """
    text = "".join(f"{line}\n" for line in answers if line.split()[0] in names)
    if not text:
        return
    for _second in range(LOCK_SECONDS):
        status, output = say(text)
        if DEBCONF_LOCKED not in output:
            break
        wait(1)
    if status:
        raise InstallationError(f"debconf did not take the answers for {', '.join(names)}:\n{output.strip()}")


def install(names: Sequence[str], run: Run) -> None:
    """Install packages in one go, or raise InstallationError; each obstacle that has a remedy is cleared away once."""
    remedies = dict(REMEDIES)
    while True:
        status, output = run([*INSTALL, *names])
        if not status:
            return
        symptom = next((symptom for symptom in remedies if symptom in output), None)
        if symptom is None:
            raise InstallationError(f"apt-get could not install {', '.join(names)}:\n{complaints(output)}")
        run(remedies.pop(symptom))


def complaints(output: str) -> str:
    """The last lines of what apt-get said, and before them the errors that stand further up."""
    lines = output.strip().splitlines()
    errors = [line for line in lines[:-12] if re.match(r"(E|Err|dpkg): ?", line)]
    return "\n".join([*errors[-12:], *lines[-12:]])
