# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""System users and groups as sysusers.d(5) names them, and which of them a host lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


class InvalidAccount(Exception):
    """A line that is not one of sysusers.d(5), or of a type that is not handled here. The message quotes it."""


@dataclass(frozen=True)
class Accounts:
    """Names of users and of groups, in the order in which they are made."""

    users: tuple[str, ...]
    groups: tuple[str, ...]

    def without(self, has_user: Callable[[str], bool], has_group: Callable[[str], bool]) -> Accounts:
        """Those that are not there."""
        return Accounts(
            tuple(name for name in self.users if not has_user(name)),
            tuple(name for name in self.groups if not has_group(name)),
        )

    @property
    def described(self) -> list[str]:
        """What a person reads: `group postfix`, `user vmail`."""
        return [f"group {name}" for name in self.groups] + [f"user {name}" for name in self.users]


def parse_accounts(lines: Iterable[str]) -> Accounts:
    """Read lines of the types `u`, which brings a group of its name, and `g`; or raise InvalidAccount."""
    users: list[str] = []
    groups: list[str] = []
    for line in lines:
        kind, _separator, rest = line.strip().partition(" ")
        name = rest.split()[0] if rest.split() else ""
        if kind not in ("u", "g") or not name:
            raise InvalidAccount(f"accounts: {line!r} is neither 'u NAME ...' nor 'g NAME ...'")
        groups.append(name)
        if kind == "u":
            users.append(name)
    return Accounts(tuple(dict.fromkeys(users)), tuple(dict.fromkeys(groups)))


def local_names(table: str) -> list[str]:
    """The names in a passwd(5) or group(5) file."""
    return [line.partition(":")[0] for line in table.splitlines() if line and line[0] not in "+-#"]
