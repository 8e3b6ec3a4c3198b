# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dpkg and apt know about packages, without python3-apt (a bare Debian has none)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

# Runs a program with the given arguments and returns its standard output.
Run = Callable[[list[str]], str]

DPKG_QUERY = ["dpkg-query", "--show", "--showformat", "${Package}\\t${db:Status-Status}\\t${Version}\\n"]
APT_CACHE = ["apt-cache", "policy"]


@dataclass(frozen=True)
class Packages:
    """Upstream versions by package name; an empty string where there is none."""

    installed: dict[str, str]
    candidates: dict[str, str]

    @property
    def missing(self) -> list[str]:
        return [name for name, version in self.installed.items() if not version]

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


def read_packages(names: Iterable[str], run: Run, satisfied_by: Mapping[str, list[str]] | None = None) -> Packages:
    """Ask dpkg for `names` and apt for those that it does not have installed.

    A name of `satisfied_by` counts as installed when one of its alternatives is, in that one's version.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return Packages({}, {})
    alternatives = {name: (satisfied_by or {}).get(name, []) for name in wanted}
    asked = dict.fromkeys([*wanted, *(other for others in alternatives.values() for other in others)])
    found = parse_dpkg_query(run([*DPKG_QUERY, *asked]))
    installed = {
        name: next((found[other] for other in [name, *alternatives[name]] if found.get(other)), "") for name in wanted
    }
    missing = [name for name in wanted if not installed[name]]
    candidates = parse_apt_cache_policy(run([*APT_CACHE, *missing])) if missing else {}
    return Packages(installed, candidates)
