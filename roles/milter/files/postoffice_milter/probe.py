# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a running service answers: the protocol is spoken with it, and it has to look something up."""

from __future__ import annotations

import sys

from .client import MilterClient
from .protocol import ProtocolError
from .settings import Settings

NOBODY = "nobody@postoffice-probe.invalid"


def run(chosen: Settings) -> int:
    """Ask about a recipient that nobody has; return an exit status and say on standard error what failed."""
    try:
        with MilterClient(chosen.socket) as client:
            client.connect()
            client.mail("")
            answer = client.recipient(NOBODY)
            client.abort()
    except (OSError, ProtocolError) as error:
        print(f"{chosen.socket}: {error}", file=sys.stderr)
        return 1
    if not answer.goes_on:
        print(f"{chosen.socket}: {answer}", file=sys.stderr)
        return 1
    return 0
