# SPDX-License-Identifier: GPL-3.0-or-later
"""Full mailboxes are refused while the sender listens, also behind aliases, rather than bounced later."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from .addresses import parse_envelope
from .lookup import Directory
from .recipients import expand
from .session import Check, Envelope
from .verdict import Reply, UnavailableError

ANSWER_LIMIT = 4096
# Dovecot that reloads lets go of what it is asked just then: it says so or closes the connection, at once or only when
# it ends its old processes, 6 s later. It is asked again, on a new connection, which its new processes answer.
PATIENCE = 3.0  # seconds
BREATH = 0.2
_REFUSAL = re.compile(r"(?:REJECT|5\d\d)\b\s*(?:(5\.\d{1,3}\.\d{1,3})\b)?", re.IGNORECASE)
_DEFERRAL = re.compile(r"(?:DEFER|DEFER_IF_PERMIT|DEFER_IF_REJECT|4\d\d)\b", re.IGNORECASE)


class QuotaService(Protocol):
    """Who knows whether mailboxes have room."""

    def refusal(self, mailboxes: Iterable[str], size: int) -> Reply | None:
        """Return why none of them can take ``size`` bytes (0: not announced); None as soon as one can.

        Raises :class:`UnavailableError`.
        """


class QuotaStatus:
    """Dovecot's quota-status service, asked by Postfix's policy delegation protocol (SMTPD_POLICY_README)."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._answered = True  # last time: who is away for long is not waited for at each recipient

    def refusal(self, mailboxes: Iterable[str], size: int) -> Reply | None:
        names = tuple(mailboxes)
        patient = self._answered
        # Half of the time for each of two questions at least: the first may hang.
        timeout = self._timeout / 2 if patient else self._timeout
        until = time.monotonic() + min(PATIENCE, timeout)
        while True:
            last = not patient or time.monotonic() >= until
            try:
                reply = self._ask(names, size, timeout)
            except UnavailableError:
                if last:
                    self._answered = False
                    raise
                time.sleep(BREATH)
            else:
                self._answered = True
                return reply

    def _ask(self, mailboxes: Iterable[str], size: int, timeout: float) -> Reply | None:
        first: Reply | None = None
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(timeout)
                connection.connect(str(self._path))
                for mailbox in mailboxes:
                    reply = self._one(connection, mailbox, size)
                    if reply is None:
                        return None
                    first = first or reply
        except OSError as error:
            raise UnavailableError(f"{self._path}: {error}") from error
        return first

    def _one(self, connection: socket.socket, mailbox: str, size: int) -> Reply | None:
        question = f"request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient={mailbox}\nsize={size}\n\n"
        connection.sendall(question.encode("ascii"))
        answer = b""
        while not answer.endswith(b"\n\n"):
            chunk = connection.recv(ANSWER_LIMIT)
            answer += chunk
            if not chunk or len(answer) > ANSWER_LIMIT:
                raise UnavailableError(f"{self._path}: no complete answer")
        return parse_answer(answer.decode("utf-8", "replace"))


def parse_answer(answer: str) -> Reply | None:
    """Turn a policy server's answer (access(5)) into None or a refusal.

    Raises :class:`UnavailableError` for a deferral, and for what is no answer at all.
    """
    action = next((line.removeprefix("action=") for line in answer.splitlines() if line.startswith("action=")), None)
    if action is None or _DEFERRAL.match(action):
        raise UnavailableError(f"the quota service answered {answer.strip()!r}")
    refusal = _REFUSAL.match(action)
    if refusal is None:
        return None
    if refusal[1] == "5.3.4":
        return Reply(552, "5.3.4", "message too large for the mailbox")
    return Reply(552, "5.2.2", "mailbox is full")


class QuotaCheck(Check):
    """Refuses a recipient whose every destination is a full mailbox here."""

    def __init__(self, directory: Directory, service: QuotaService, delimiter: str) -> None:
        self._directory = directory
        self._service = service
        self._delimiter = delimiter

    def recipient(self, envelope: Envelope, recipient: str) -> Reply | None:
        address = parse_envelope(recipient)
        if address is None:
            return None
        with self._directory.snapshot() as snapshot:
            destinations = expand(address, snapshot, self._delimiter)
        if destinations.elsewhere or not destinations.mailboxes:
            return None
        refusal = self._service.refusal(destinations.mailboxes, envelope.size)
        return refusal and Reply(refusal.code, refusal.status, f"<{address}>: {refusal.text}")
