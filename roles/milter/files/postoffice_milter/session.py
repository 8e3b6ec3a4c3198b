# SPDX-License-Identifier: GPL-3.0-or-later
"""One SMTP session as the checks see it; knows nothing of the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .content import AddField, Client, Content, Outcome, RemoveField
from .verdict import Reply

HEADER_LIMIT = 1024 * 1024
TOO_MUCH_HEADER = Reply(550, "5.6.0", "The header is too large")


@dataclass
class Envelope:
    """A message before its content: who sends (``login`` is '' for strangers), the announced size, who was accepted."""

    login: str = ""
    sender: str = ""
    size: int = 0
    recipients: list[str] = field(default_factory=list)


class Check:
    """One thing that is asked of a message. A check keeps nothing between messages; None means: nothing against it."""

    def wants_headers(self, envelope: Envelope) -> bool:
        """Whether :meth:`headers` has to be called for this message."""
        return bool(envelope.login)

    def recipient(self, envelope: Envelope, recipient: str) -> Reply | None:
        """Judge one recipient that Postfix would accept."""
        return None

    def headers(self, envelope: Envelope, headers: list[tuple[str, bytes]]) -> Reply | None:
        """Judge the whole header: names and raw values, in order."""
        return None

    def wants_content(self, envelope: Envelope) -> bool:
        """Whether :meth:`content` has to be called for this message."""
        return False

    def content(self, envelope: Envelope, content: Content) -> Outcome:
        """Judge the whole message, and say what is to be changed about it."""
        return Outcome()

    def wants_end(self, envelope: Envelope) -> bool:
        """Whether :meth:`end` has to be called for this message."""
        return False

    def end(self, envelope: Envelope) -> Reply | None:
        """Say the last word about a message that nothing else is against."""
        return None


class Session:
    """Collects what a client says and asks every check in turn; the first refusal counts."""

    def __init__(self, checks: Sequence[Check], body_limit: int = 0) -> None:
        self._checks = checks
        self._body_limit = body_limit
        self.client = Client()
        self._begin(Envelope())
        self.in_message = False

    def _begin(self, envelope: Envelope) -> None:
        self.in_message = True
        self.envelope = envelope
        self._headers: list[tuple[str, bytes]] = []
        self._header_size = 0
        self._body = bytearray()
        self._body_size = 0

    def mail(self, login: str, sender: str, parameters: Sequence[str]) -> None:
        """Begin a message; ``parameters`` are those of MAIL, ``SIZE=n`` among them."""
        self._begin(Envelope(login=login.lower(), sender=sender, size=announced_size(parameters)))

    def recipient(self, recipient: str) -> Reply | None:
        """Judge a recipient; one that is not refused belongs to the envelope."""
        for check in self._checks:
            if reply := check.recipient(self.envelope, recipient):
                return reply
        self.envelope.recipients.append(recipient)
        return None

    def wants_headers(self) -> bool:
        """Whether any check looks at this message's header, or at what comes behind it."""
        return self.goes_on() or any(check.wants_headers(self.envelope) for check in self._checks)

    def goes_on(self) -> bool:
        """Whether any check has something to say after the header."""
        return self.wants_content() or any(check.wants_end(self.envelope) for check in self._checks)

    def wants_content(self) -> bool:
        """Whether any check looks at the whole message."""
        return any(check.wants_content(self.envelope) for check in self._checks)

    def header(self, name: str, value: bytes) -> None:
        """Remember a field; what exceeds the limit is counted only."""
        self._header_size += len(name) + len(value)
        if self._header_size <= HEADER_LIMIT:
            self._headers.append((name, value))

    def end_of_headers(self) -> Reply | None:
        """Judge the header."""
        if self._header_size > HEADER_LIMIT and self.wants_headers():
            return TOO_MUCH_HEADER
        for check in self._checks:
            if check.wants_headers(self.envelope) and (reply := check.headers(self.envelope, self._headers)):
                return reply
        return None

    def body(self, chunk: bytes) -> None:
        """Remember a part of the body; what exceeds the limit is counted only."""
        self._body_size += len(chunk)
        self._body += chunk[: max(0, self._body_limit - len(self._body))]

    def end_of_message(self, queue_id: str, host: str) -> Outcome:
        """Judge the whole message; the first refusal counts, otherwise all changes."""
        content = Content(self._headers, bytes(self._body), self._body_size, queue_id, host, self.client)
        changes: list[AddField | RemoveField] = []
        for check in self._checks:
            if check.wants_content(self.envelope):
                outcome = check.content(self.envelope, content)
                if outcome.reply:
                    return outcome
                changes += outcome.changes
        for check in self._checks:
            if check.wants_end(self.envelope) and (reply := check.end(self.envelope)):
                return Outcome(reply)
        return Outcome(changes=tuple(changes))

    def finish(self) -> None:
        """Nothing more is to be said about the message."""
        self.in_message = False
        self._headers = []
        self._body = bytearray()


def announced_size(parameters: Sequence[str]) -> int:
    """Return the size that the client announced in MAIL (RFC 1870), 0 when it did not."""
    for parameter in parameters:
        name, _equals, value = parameter.partition("=")
        if name.upper() == "SIZE" and value.isascii() and value.isdigit():
            return int(value[:20])
    return 0
