# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates are to be asked for, with which names, and when. Nothing is read or written here."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from .pem import Certificate
from .settings import Wanted

HOUR, DAY = 3600.0, 86400.0
EAGER = 900.0  # how long somebody who runs it by hand has to wait: the authority counts failures by the hour
SHORT_LIVED = 10 * DAY

HERE = ""  # what is known of a name that leads to this host
ABSENT = "is not in the DNS"


@dataclass(frozen=True)
class Known:
    """What is remembered of a certificate: who issued it, and how often and when asking has failed since.

    `forced` when somebody wants a new one, whatever the present one is like.
    """

    server: str = ""
    failures: int = 0
    failed_at: float = 0.0
    failed_names: tuple[str, ...] = ()
    failed_server: str = ""
    error: str = ""
    forced: bool = False


@dataclass(frozen=True)
class Decision:
    """What is to be done about a certificate.

    `reason` says why it is to be asked for, if at all; `problem` why that is in vain; `not_before` is when it may be
    asked for again (seconds since the epoch, 0 for now). `left_out` are names that do not lead here, with what they do.
    It is `unpublished` when none of the names is in the DNS, and there never was a certificate from an authority.
    """

    name: str
    names: tuple[str, ...] = ()
    reason: str = ""
    problem: str = ""
    not_before: float = 0.0
    left_out: Mapping[str, str] = field(default_factory=dict)
    unpublished: bool = False

    def is_due(self, now: float) -> bool:
        return bool(self.reason) and not self.problem and self.not_before <= now


def day(seconds: float) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d}"


def renewed_from(certificate: Certificate) -> float:
    """When a third of its life is left, of a short one a half: what Let's Encrypt asks of its clients."""
    life = certificate.ends - certificate.begins
    return certificate.ends - life / (2 if life < SHORT_LIVED else 3)


def may_ask_from(known: Known, names: tuple[str, ...], server: str, eager: bool) -> float:
    """After failures less and less often, down to once a day; another question may be asked at once."""
    if not known.failures or (known.failed_names, known.failed_server) != (names, server):
        return 0.0
    return known.failed_at + (EAGER if eager else min(HOUR * 2 ** (known.failures - 1), DAY))


def decide(
    wanted: Wanted,
    present: Certificate | None,
    found: Mapping[str, str],
    known: Known,
    server: str,
    now: float,
    eager: bool = False,
) -> Decision:
    """Compare what is wanted with what is there; `found` says of each name where it leads to (see HERE)."""
    left_out = {name: found[name] for name in wanted.optional if found[name] != HERE}
    names = (*wanted.required, *(name for name in wanted.optional if name not in left_out))
    reason = reason_to_ask(present, names, known, server, now)
    missing = [name for name in wanted.required if found[name] != HERE]
    problem = ""
    if missing:
        problem = f"{missing[0]} {found[missing[0]]}"
    elif not names:
        problem = "none of its names leads here"
    # Names that nobody has published yet are no news.
    unknown = not names and set(left_out.values()) == {ABSENT} and (present is None or present.is_own)
    return Decision(
        wanted.name,
        names,
        reason,
        problem if reason else "",
        may_ask_from(known, names, server, eager) if reason else 0.0,
        left_out,
        unknown,
    )


def reason_to_ask(present: Certificate | None, names: tuple[str, ...], known: Known, server: str, now: float) -> str:
    """A name that does not lead here any more is no reason: it goes when the certificate is renewed."""
    if present is None:
        return "there is none"
    if present.is_own:
        return "there is only the host's own"
    if not present.fits_key:
        return "it does not belong to its key"
    if known.server and known.server != server:
        return f"it is not from {server}"
    if known.forced:
        return "a new one is wanted"
    if now >= renewed_from(present):
        return f"it {'ends' if now < present.ends else 'has ended'} on {day(present.ends)}"
    lacking = [name for name in names if name not in present.names]
    return f"it lacks {', '.join(lacking)}" if lacking else ""
