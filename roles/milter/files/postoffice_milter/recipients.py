# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a recipient's mail ends, in the order in which Postfix looks it up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .addresses import Address, parse_envelope
from .lookup import Directory, Snapshot

EXPANSION_LIMIT = 1000


@dataclass(frozen=True)
class Destinations:
    """The mailboxes here that a recipient expands to, and whether anything leaves this host as well."""

    mailboxes: tuple[str, ...] = ()
    elsewhere: bool = False


def expand(recipient: Address, snapshot: Snapshot, delimiter: str) -> Destinations:
    """Follow aliases, expressions and the catch-all until nothing is left to follow."""
    mailboxes: set[str] = set()
    elsewhere = False
    waiting = [recipient]
    seen = {recipient}
    while waiting:
        address = waiting.pop()
        plain = str(address.without_tag(delimiter))
        destinations = _step(address, plain, snapshot)
        if not destinations or plain in destinations:
            if snapshot.is_mailbox(plain):
                mailboxes.add(plain)
            else:
                elsewhere = True
        for destination in destinations:
            following = parse_envelope(destination)
            if following is None or len(seen) >= EXPANSION_LIMIT:
                elsewhere = True
            elif following not in seen:
                seen.add(following)
                waiting.append(following)
    return Destinations(tuple(sorted(mailboxes)), elsewhere)


def only_mailbox(recipients: Iterable[str], directory: Directory, delimiter: str) -> str:
    """Return the one mailbox here in which a message to these recipients ends; '' when it ends elsewhere as well.

    Raises :class:`UnavailableError`.
    """
    found: set[str] = set()
    with directory.snapshot() as snapshot:
        for recipient in recipients:
            address = parse_envelope(recipient)
            destinations = expand(address, snapshot, delimiter) if address else Destinations(elsewhere=True)
            if destinations.elsewhere:
                return ""
            found.update(destinations.mailboxes)
    return found.pop() if len(found) == 1 else ""


def _step(address: Address, plain: str, snapshot: Snapshot) -> tuple[str, ...]:
    """Expand once; only the expressions see the tag, as in Postfix."""
    return snapshot.alias(plain) or snapshot.expression(str(address)) or snapshot.catch_all(address.domain)
