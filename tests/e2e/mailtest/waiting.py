"""Waiting is polling with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 20.0
INTERVAL = 0.1


def wait_for(look: Callable[[], T | None], what: str, deadline: float = DEADLINE) -> T:
    """Call `look` until it returns something true, and return that; fail with `what` after `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline:.0f} s in vain for {what}")
        time.sleep(INTERVAL)
