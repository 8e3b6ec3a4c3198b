# SPDX-License-Identifier: GPL-3.0-or-later
"""How much a user may send: what a limit is, and the check that counts.

Windows slide: a message counts for exactly an hour, or a day, from the moment when it was accepted. Messages that are
refused, by whoever, do not count; so this check comes last, at the end of the message.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .addresses import parse_envelope
from .lookup import Directory
from .session import Check, Envelope
from .verdict import Reply

HOUR = 3600
DAY = 24 * HOUR
MESSAGES, RECIPIENTS, NEW_RECIPIENTS = range(3)


@dataclass(frozen=True)
class Limit:
    """One thing that is counted (its place in a message's amounts) over so many seconds, and how it is called."""

    name: str
    counted: int
    seconds: int
    words: str


LIMITS = (
    Limit("messages_per_hour", MESSAGES, HOUR, "messages within an hour"),
    Limit("messages_per_day", MESSAGES, DAY, "messages within 24 hours"),
    Limit("recipients_per_hour", RECIPIENTS, HOUR, "recipients within an hour"),
    Limit("recipients_per_day", RECIPIENTS, DAY, "recipients within 24 hours"),
    Limit("new_recipients_per_day", NEW_RECIPIENTS, DAY, "recipients within 24 hours not written to before"),
)


class Message(NamedTuple):
    """What counts of a message: when it comes, its recipients, and those of them who get mail for the first time."""

    at: float
    recipients: int
    new_recipients: int

    def amount(self, limit: Limit) -> int:
        """Return how much of a limit it uses."""
        return (1, self.recipients, self.new_recipients)[limit.counted]


class Amount(NamedTuple):
    """When something was sent, and how much."""

    at: float
    amount: int


@dataclass(frozen=True)
class Excess:
    """A limit that a message would exceed: of ``most``, ``used`` are used and ``asked`` are asked for ``now``.

    ``over`` is when the same message would be accepted, None: never.
    """

    limit: Limit
    most: int
    used: int
    asked: int
    now: float
    over: float | None


def first_fit(past: Iterable[Amount], limit: Limit, surplus: int) -> float | None:
    """Return when ``surplus`` of what was sent in the ``past``, oldest first, counts no more; None: never enough."""
    for at, amount in past:
        surplus -= amount
        if surplus <= 0:
            return at + limit.seconds
    return None


def refusal(excess: Excess) -> Reply:
    """Say what was exceeded, and when that is over; nothing is refused for good."""
    if excess.over is None:
        return Reply(
            452,
            "4.5.3",
            f"Sending limit: this message alone has {excess.asked} of at most {excess.most} {excess.limit.words};"
            " send it to fewer at a time",
            notable=True,
        )
    clock = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(math.ceil(excess.over)))
    return Reply(
        450,
        "4.7.1",
        f"Sending limit: {excess.used} of at most {excess.most} {excess.limit.words} are sent, this message has"
        f" {excess.asked}; try again in {duration(excess.over - excess.now)}, at {clock}",
        notable=True,
    )


def duration(seconds: float) -> str:
    """Return a time that has passed when it is said to have."""
    minutes = math.ceil(seconds / 60)
    if minutes < 120:
        return f"{minutes} minute{'s' * (minutes != 1)}"
    return f"{math.ceil(minutes / 60)} hours"


class Counter(Protocol):
    """Who remembers what was sent."""

    def count(self, login: str, recipients: Collection[str], most: Mapping[str, int]) -> Excess | None:
        """Count a message unless it exceeds what it may at most; raises :class:`UnavailableError`."""


class LimitCheck(Check):
    """Counts what authenticated users send; ``most`` is what holds for everybody, by name, 0 for no limit."""

    def __init__(self, directory: Directory, counter: Counter, most: Mapping[str, int]) -> None:
        self._directory = directory
        self._counter = counter
        self._most = most

    def wants_headers(self, envelope: Envelope) -> bool:
        return False

    def wants_end(self, envelope: Envelope) -> bool:
        return bool(envelope.login)

    def end(self, envelope: Envelope) -> Reply | None:
        most = effective(self._directory, envelope.login, self._most)
        excess = self._counter.count(envelope.login, {plain(each) for each in envelope.recipients}, most)
        return refusal(excess) if excess else None


def effective(directory: Directory, login: str, most: Mapping[str, int]) -> dict[str, int]:
    """Return what holds for a user: the mailbox's own limits, else those of its domain, else ``most``."""
    with directory.snapshot() as snapshot:
        return {**most, **snapshot.sending_limits(login)}


def plain(recipient: str) -> str:
    """Return a recipient as it is told from others."""
    return str(parse_envelope(recipient) or recipient.lower())
