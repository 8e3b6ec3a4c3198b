# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has seen of a host, so that it need not ask again: the packages and accounts that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .accounts import Accounts
from .packages import alternatives


@dataclass(frozen=True)
class Seen:
    """Upstream versions by package, empty where one is known to be absent; names of users and groups."""

    versions: Mapping[str, str] = field(default_factory=dict)
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    def versions_of(self, names: Iterable[str], accounts: Accounts) -> dict[str, str] | None:
        """The versions of packages where each is there, as are all `accounts`; or None: the host has to be asked."""
        wanted = alternatives(names)
        if not all(any(self.versions.get(name) for name in group) for group in wanted):
            return None
        found = {name: self.versions.get(name) for group in wanted for name in group}
        lacking = accounts.without(self.users.__contains__, self.groups.__contains__)
        if lacking.described or None in found.values():
            return None
        return {name: version or "" for name, version in found.items()}

    def after(self, answer: Mapping[str, Any]) -> Seen:
        """What is known after the module has answered.

        What was installed may have removed something else, so that what was seen before no longer counts. Of what is
        missing still, in check mode, nothing is known but what would be installed.
        """
        if answer["missing"] and not answer["installed"]:
            return self
        before = {} if answer["missing"] else self.versions
        return Seen({**before, **answer["versions"]}, frozenset(answer["users"]), frozenset(answer["groups"]))

    def fact(self, run: str, host: str) -> dict[str, Any]:
        """As a fact, which may outlive the run where facts are cached; so it says of which run and host it is."""
        return {
            "run": run,
            "host": host,
            "versions": dict(self.versions),
            "users": sorted(self.users),
            "groups": sorted(self.groups),
        }

    @classmethod
    def of_fact(cls, fact: object, run: str, host: str) -> Seen:
        """The other way; of another run or another host nothing is known."""
        if not isinstance(fact, Mapping) or (fact.get("run"), fact.get("host")) != (run, host):
            return cls()
        return cls(dict(fact["versions"]), frozenset(fact["users"]), frozenset(fact["groups"]))
