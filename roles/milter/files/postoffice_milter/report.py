# SPDX-License-Identifier: GPL-3.0-or-later
"""What users have sent, for the operator to look at and to forget."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from . import service
from .limits import LIMITS, effective
from .settings import Settings
from .usage import Usage
from .verdict import UnavailableError


def run(chosen: Settings, address: str, clear: bool) -> int:
    """Print what ``address``, or everybody who sent something, has used; with ``clear`` forget it. Return a status."""
    path = Path(chosen.usage)
    if not chosen.usage:
        return _fail("what users send is not counted here (milter_limits_enabled)")
    if not path.exists():
        return _fail("nobody has sent anything yet")
    usage = Usage(path)
    try:
        if clear:
            print(f"{address}: {'cleared' if usage.clear(address) else 'nothing sent within a day'}")
            return 0
        for login in [address] if address else usage.senders():
            print("\n".join(lines(chosen, usage, login)))
    except UnavailableError as error:
        return _fail(str(error))
    return 0


def lines(chosen: Settings, usage: Usage, login: str) -> Iterator[str]:
    """Yield a line for the user and one for each limit."""
    most = effective(service.directory(chosen), login, chosen.limits)
    used = usage.used(login)
    yield login
    for limit in LIMITS:
        allowed = most[limit.name]
        yield f"  {used[limit.name]:>7} of {allowed or 'any':>7} {limit.words}"


def _fail(text: str) -> int:
    print(text, file=sys.stderr)
    return 1
