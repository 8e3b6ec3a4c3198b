# SPDX-License-Identifier: GPL-3.0-or-later
"""Accepts connections of mail servers, each served by a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Sequence
from typing import NoReturn

from .dialogue import Dialogue
from .protocol import ProtocolError
from .session import Check, Envelope, Session

LOG = logging.getLogger("postoffice_milter")
SESSION_TIMEOUT = 7200  # seconds that a mail server may say nothing
STACK_SIZE = 512 * 1024  # octets a session; the checks are shallow
BREATH = 0.1  # seconds until the next attempt, when the machine has no more descriptors or threads


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


class Server:
    """Serves a listening socket. Nobody is between the queue and the sessions while somebody counts."""

    def __init__(self, listener: socket.socket, checks: Sequence[Check], body_limit: int = 0) -> None:
        self._listener = listener
        self._checks = checks
        self._body_limit = body_limit
        self._wants_content = any(check.wants_content(Envelope()) for check in checks)
        self._accepting = threading.Lock()
        self.sessions = Sessions()

    def serve_forever(self) -> NoReturn:
        """Accept connections until the process ends."""
        threading.stack_size(STACK_SIZE)
        self._listener.setblocking(False)
        while True:
            select.select([self._listener], [], [])
            try:
                self._accept()
            except (OSError, RuntimeError) as error:
                # A full table of descriptors or threads; who waits in the queue is served when a session has ended.
                LOG.error("cannot serve a connection: %s", error)
                time.sleep(BREATH)

    def running(self) -> int:
        """Return how many sessions there are, at least, with those that wait for being accepted."""
        with self._accepting:
            waiting, _unused, _unused = select.select([self._listener], [], [], 0)
            return self.sessions.running() + len(waiting)

    def _accept(self) -> None:
        with self._accepting, contextlib.suppress(BlockingIOError):
            connection, _address = self._listener.accept()
            session = Session(self._checks, self._body_limit)
            self.sessions.begin(session)
            try:
                threading.Thread(target=self._serve, args=(connection, session), daemon=True).start()
            except RuntimeError:
                self.sessions.end(session)
                connection.close()
                raise

    def _serve(self, connection: socket.socket, session: Session) -> None:
        try:
            connection.settimeout(SESSION_TIMEOUT)
            with connection, connection.makefile("rb") as stream:
                Dialogue(session, stream, connection.sendall, self._wants_content).run()
        except ProtocolError as error:
            LOG.warning("connection closed: %s", error)
        except OSError as error:
            LOG.info("connection lost: %s", error)
        finally:
            self.sessions.end(session)
