# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of pymilter's C module that is used here, with types."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol, cast


class Context(Protocol):
    """libmilter's handle of one SMTP session."""

    def getpriv(self) -> Any:
        """Return what :meth:`setpriv` attached, None when nothing was."""

    def setpriv(self, value: object) -> Any:
        """Attach an object to the session."""

    def getsymval(self, name: str) -> str | None:
        """Return a macro's value."""

    def setreply(self, code: str, status: str, text: str) -> None:
        """Say what the next refusal says; percent signs must be doubled."""

    def setsymlist(self, stage: int, names: str) -> None:
        """Ask for macros at a stage; while negotiating only."""


class Milter(Protocol):
    """The module ``milter`` of pymilter 1.0."""

    CONTINUE: int
    ACCEPT: int
    REJECT: int
    TEMPFAIL: int
    M_ENVFROM: int
    M_ENVRCPT: int
    SETSYMLIST: int
    P_NOCONNECT: int
    P_NOHELO: int
    P_NOUNKNOWN: int
    P_NOBODY: int

    def set_flags(self, flags: int) -> None: ...
    def set_envfrom_callback(self, function: Callable[..., int]) -> None: ...
    def set_envrcpt_callback(self, function: Callable[..., int]) -> None: ...
    def set_header_callback(self, function: Callable[[Context, str, bytes], int]) -> None: ...
    def set_eoh_callback(self, function: Callable[[Context], int]) -> None: ...
    def set_eom_callback(self, function: Callable[[Context], int]) -> None: ...
    def set_abort_callback(self, function: Callable[[Context], int]) -> None: ...
    def set_close_callback(self, function: Callable[[Context], int]) -> None: ...
    def set_exception_policy(self, policy: int) -> None: ...
    def setconn(self, connection: str) -> None: ...
    def settimeout(self, seconds: int) -> None: ...
    def setbacklog(self, length: int) -> None: ...

    def register(
        self,
        name: str,
        *,
        data: Callable[[Context], int],
        negotiate: Callable[[Context, list[int]], int],
    ) -> None: ...
    def opensocket(self, remove: bool) -> None: ...
    def main(self) -> None: ...


def load() -> Milter:
    """Import pymilter (Debian: python3-milter); raises ImportError."""
    return cast(Milter, importlib.import_module("milter"))
