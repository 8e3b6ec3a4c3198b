# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator is told."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping

from .decide import ABSENT, Decision, Known, day, renewed_from
from .pem import Certificate
from .settings import Wanted

DAY = 86400


def moment(seconds: float) -> str:
    """In the host's own time."""
    return f"{datetime.datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M}"


def trouble(decision: Decision, known: Known) -> str:
    """Why a certificate that is to be asked for is not there, empty when nothing is known to stand in its way."""
    if not decision.reason:
        return ""
    if decision.problem:
        return decision.problem
    return known.error if known.failures else ""


def complaint(decision: Decision, known: Known, present: Certificate | None, now: float) -> str:
    """One line for somebody who has to do something, or an empty one."""
    why = trouble(decision, known)
    if not why or decision.unpublished:
        return ""
    served = (
        "no certificate"
        if present is None
        else "the host's own is served"
        if present.is_own
        else standing(present, now)
    )
    again = f"; asked again after {moment(decision.not_before)}" if decision.not_before > now else ""
    return f"{decision.name}: {decision.reason}, and none is issued: {why.rstrip('.')} ({served}{again})"


def standing(present: Certificate, now: float) -> str:
    left = int((present.ends - now) // DAY)
    return f"good until {day(present.ends)}, {left} days" if left >= 0 else f"ended on {day(present.ends)}"


def lines(decision: Decision, known: Known, present: Certificate | None, now: float) -> Iterable[str]:
    """What there is to say of a certificate."""
    said = complaint(decision, known, present, now)
    if said:
        yield said
    elif decision.unpublished:
        yield f"{decision.name}: {decision.reason}; asked for once one of its names is in the DNS"
    elif decision.reason:
        yield f"{decision.name}: {decision.reason}; asked for soon"
    elif present:
        yield f"{decision.name}: {standing(present, now)}, for {', '.join(present.names)}, from {present.issuer}; " + (
            f"renewed from {day(renewed_from(present))}"
        )
    if decision.left_out:
        yield f"  {left_out(decision.left_out)}"


def left_out(names: Mapping[str, str]) -> str:
    """The names that do not lead here, and where they do."""
    by_reason: dict[str, list[str]] = {}
    for name, why in names.items():
        by_reason.setdefault(why, []).append(name)
    return "left out: " + "; ".join(f"{', '.join(some)} {why}" for why, some in by_reason.items())


def missed(wanted: Wanted, decision: Decision) -> str:
    """Names that an operator would expect to be in the certificate, in a line; empty when there are none."""
    names = {name: why for name, why in decision.left_out.items() if why != ABSENT or not wanted.of_domain}
    return f"{wanted.name}: {left_out(names)}" if names and decision.names else ""
