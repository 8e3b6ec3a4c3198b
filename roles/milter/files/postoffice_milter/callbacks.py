# SPDX-License-Identifier: GPL-3.0-or-later
"""libmilter's events turned into a session's, and its answers into libmilter's.

Whatever goes wrong in here is answered with a deferral; nothing passes unchecked.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from .libmilter import Context, Milter
from .session import Check, Session
from .verdict import LATER, Reply, UnavailableError, printable

LOG = logging.getLogger("postoffice_milter")
LOGIN = "{auth_authen}"
RECIPIENT = "{rcpt_addr}"

_Event = TypeVar("_Event", bound=Callable[..., int])


class Sessions:
    """The sessions that run."""

    def __init__(self) -> None:
        self._sessions: set[Session] = set()
        self._lock = threading.Lock()

    def begin(self, session: Session) -> None:
        """Remember one more."""
        with self._lock:
            self._sessions.add(session)

    def end(self, session: Session) -> None:
        """Forget one."""
        with self._lock:
            self._sessions.discard(session)

    def running(self) -> int:
        """Return how many there are now."""
        with self._lock:
            return len(self._sessions)

    def in_message(self) -> int:
        """Return how many of them are between MAIL and the end of a message."""
        with self._lock:
            return sum(session.in_message for session in self._sessions)


def _guarded(event: _Event) -> _Event:
    """Answer with a deferral when the event raises."""

    @functools.wraps(event)
    def guarded(self: Callbacks, context: Context, *values: Any) -> int:
        try:
            return event(self, context, *values)
        except UnavailableError as error:
            LOG.error("message deferred: %s", printable(str(error), 300))
        except Exception:
            LOG.exception("message deferred: error in %s", event.__name__)
        return self.refuse(context, LATER)

    return guarded  # type: ignore[return-value]


class Callbacks:
    """The functions that libmilter calls, each session in a thread of its own."""

    def __init__(self, milter: Milter, checks: Sequence[Check]) -> None:
        self._milter = milter
        self._checks = checks
        self.sessions = Sessions()

    def install(self) -> None:
        """Tell libmilter about them."""
        milter = self._milter
        milter.set_exception_policy(milter.TEMPFAIL)
        milter.set_flags(milter.SETSYMLIST)
        milter.set_envfrom_callback(self.mail)
        milter.set_envrcpt_callback(self.recipient)
        milter.set_header_callback(self.header)
        milter.set_eoh_callback(self.end_of_headers)
        milter.set_eom_callback(self.end_of_message)
        milter.set_abort_callback(self.abort)
        milter.set_close_callback(self.close)
        milter.register("postoffice-milter", data=self.data, negotiate=self.negotiate)

    def negotiate(self, context: Context, options: list[int]) -> int:
        """Choose the events that are needed, of those that the mail server offers, and the macros.

        Every event is answered, headers too: libmilter drops a refusal where it was told that none would come.
        """
        milter = self._milter
        offered = options[1]
        unwanted = milter.P_NOCONNECT | milter.P_NOHELO | milter.P_NOUNKNOWN | milter.P_NOBODY
        if options[0] & milter.SETSYMLIST:
            context.setsymlist(milter.M_ENVFROM, LOGIN)
            context.setsymlist(milter.M_ENVRCPT, RECIPIENT)
        options[1:4] = [offered & unwanted, 0, 0]
        session = Session(self._checks)
        context.setpriv(session)
        self.sessions.begin(session)
        return milter.CONTINUE

    def refuse(self, context: Context, reply: Reply) -> int:
        """Make libmilter send the reply."""
        context.setreply(str(reply.code), reply.status, reply.text.replace("%", "%%"))
        return self._milter.REJECT if reply.permanent else self._milter.TEMPFAIL

    def _answer(self, context: Context, session: Session, reply: Reply | None) -> int:
        if reply is None:
            return self._milter.CONTINUE
        LOG.info("refused, login <%s>, sender %s: %s", *map(printable, _who(session)), reply)
        return self.refuse(context, reply)

    @_guarded
    def mail(self, context: Context, sender: bytes, *parameters: bytes) -> int:
        """MAIL FROM."""
        session = _session(context)
        session.mail(context.getsymval(LOGIN) or "", _text(sender), [_text(text) for text in parameters])
        return self._milter.CONTINUE

    @_guarded
    def recipient(self, context: Context, recipient: bytes, *parameters: bytes) -> int:
        """RCPT TO: as the mail server understood it, rather than as the client wrote it."""
        session = _session(context)
        return self._answer(context, session, session.recipient(context.getsymval(RECIPIENT) or _text(recipient)))

    @_guarded
    def data(self, context: Context) -> int:
        """DATA: a message whose content no check asks for is left alone from here on."""
        session = _session(context)
        if session.wants_headers():
            return self._milter.CONTINUE
        session.finish()
        return self._milter.ACCEPT

    @_guarded
    def header(self, context: Context, name: str, value: bytes) -> int:
        """One field of the header."""
        _session(context).header(name, value)
        return self._milter.CONTINUE

    @_guarded
    def end_of_headers(self, context: Context) -> int:
        """The end of the header."""
        session = _session(context)
        reply = session.end_of_headers()
        if reply:
            session.finish()
        return self._answer(context, session, reply)

    @_guarded
    def end_of_message(self, context: Context) -> int:
        """The end of the message."""
        _session(context).finish()
        return self._milter.CONTINUE

    def abort(self, context: Context) -> int:
        """The message was given up."""
        if context.getpriv():
            _session(context).finish()
        return self._milter.CONTINUE

    def close(self, context: Context) -> int:
        """The session ended."""
        if context.getpriv():
            self.sessions.end(_session(context))
            context.setpriv(None)
        return self._milter.CONTINUE


def _session(context: Context) -> Session:
    session = context.getpriv()
    if not isinstance(session, Session):
        raise RuntimeError("an event before the negotiation")
    return session


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _who(session: Session) -> tuple[str, str]:
    return session.envelope.login, session.envelope.sender
