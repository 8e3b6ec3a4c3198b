# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check answers: nothing, or a reply that ends the command."""

from __future__ import annotations

from dataclasses import dataclass

REPLY_LIMIT = 400
SHOWN_LIMIT = 120


@dataclass(frozen=True)
class Reply:
    """An SMTP reply: ``code`` (400-599), enhanced ``status`` (RFC 3463) and one line of printable ASCII.

    A ``notable`` one is for the operator to look at as well.
    """

    code: int
    status: str
    text: str
    notable: bool = False

    def __post_init__(self) -> None:
        if not 400 <= self.code <= 599 or not self.status.startswith(f"{self.code // 100}."):
            raise ValueError(f"{self.code} {self.status} is not a refusal")
        object.__setattr__(self, "text", printable(self.text, REPLY_LIMIT))

    @property
    def permanent(self) -> bool:
        """Whether the sender should give up rather than try again."""
        return self.code >= 500

    def __str__(self) -> str:
        return f"{self.code} {self.status} {self.text}"


class UnavailableError(Exception):
    """Something that a decision needs cannot be asked now: the message is deferred."""


def printable(text: str, limit: int = SHOWN_LIMIT) -> str:
    """Return foreign ``text`` as one line of printable ASCII that a reply and a log line can carry."""
    shown = "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


LATER = Reply(451, "4.3.0", "The server cannot check this now, try again later")
