# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the directory holds.

Mailboxes and aliases come by the hundred thousand, so their rows are plain tuples, the very tuples that SQLite
returns: comparing what is with what should be is then one comparison in C.  The constants name their columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

MailboxRow: TypeAlias = tuple[str, str, int, str, str, int | None]
"""address, display name, quota in bytes (0: none), state, managed by, removed at (seconds since 1970)"""
ADDRESS: Final = 0
DISPLAY_NAME: Final = 1
QUOTA: Final = 2
STATE: Final = 3
MANAGED_BY: Final = 4
REMOVED_AT: Final = 5

AliasRow: TypeAlias = tuple[str, tuple[str, ...], str, int | None]
"""address, destinations (sorted), managed by, removed at"""
DESTINATIONS: Final = 1
ALIAS_MANAGED_BY: Final = 2
ALIAS_REMOVED_AT: Final = 3

STATES = ("active", "disabled", "send-only", "receive-only")
RECEIVING = frozenset({"active", "receive-only"})

SendingLimits: TypeAlias = tuple[tuple[str, int], ...]
"""how much a mailbox may send: (name, how much at most, 0: no limit), sorted"""

LOCAL = "local"
ALIAS = "alias"
RELAY = "relay"


class Expression(NamedTuple):
    """A regular-expression alias: what a whole local part must match, and where such mail goes."""

    pattern: str
    destinations: tuple[str, ...]


class Limits(NamedTuple):
    """What a domain may hold at most; None means no limit."""

    max_mailboxes: int | None = None
    max_aliases: int | None = None
    max_quota: int | None = None
    max_total_quota: int | None = None


class Domain(NamedTuple):
    """A domain with everything that belongs to it alone."""

    name: str
    kind: str = LOCAL
    alias_of: str = ""
    nexthop: str = ""
    relay_recipients: tuple[str, ...] | None = None
    catch_all: tuple[str, ...] = ()
    expressions: tuple[Expression, ...] = ()
    default_quota: int = 0
    limits: Limits = Limits()
    sending_limits: SendingLimits = ()
    managed_by: str = ""
    removed_at: int | None = None


@dataclass(slots=True)
class Directory:
    """Everything in the directory, keyed by name or address; no password is in here."""

    domains: dict[str, Domain] = field(default_factory=dict)
    mailboxes: dict[str, MailboxRow] = field(default_factory=dict)
    senders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """mailbox -> further addresses, or @domain, that it may send as (sorted)"""
    aliases: dict[str, AliasRow] = field(default_factory=dict)
    sending_limits: dict[str, SendingLimits] = field(default_factory=dict)
    """mailbox -> its own limits"""


@dataclass(slots=True)
class Paths:
    """Where in the user's structure each thing was said."""

    domains: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    mailbox_lists: dict[str, tuple[str, list[object]]] = field(default_factory=dict, repr=False)
    """domain -> path of its list, and the list as the user wrote it"""


@dataclass(slots=True)
class Declaration:
    """What somebody wants to be there, and where in their structure they said so."""

    directory: Directory = field(default_factory=Directory)
    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    hashes: dict[str, str] = field(default_factory=dict, repr=False)
    paths: Paths = field(default_factory=Paths)
