# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail of strangers is scored while the sender still listens: refused above the site's limit, marked below it.

The score acts where the mail is filed: Sieve reads ``X-Spam-Level``. So a message to several people is scanned once.
"""

from __future__ import annotations

import email.utils
import logging
import time
from collections.abc import Callable
from typing import Protocol

from .content import AddField, Content, Outcome, removed, safe_name
from .session import Check, Envelope
from .spamd import Score
from .verdict import Reply, UnavailableError, printable

LOG = logging.getLogger("postoffice_milter")
PREFIX = "X-Spam-"
SENDER_FIELD = "X-Envelope-From"
MAILBOX_FIELD = "X-Postoffice-Mailbox"
MOST_STARS = 50
LINE = 76  # octets of a folded line


class Scanner(Protocol):
    """Who scores messages."""

    def scan(self, message: bytes) -> Score:
        """Return the score of a message; raises :class:`UnavailableError`."""


def no_mailbox(_envelope: Envelope) -> str:
    """Say of every message that it ends in no single mailbox, where that is not to count."""
    return ""


class SpamCheck(Check):
    """Scores what comes from clients that have not authenticated.

    ``refused_from`` is the score from which mail is refused, 0 never. With ``pass_on_failure`` mail that cannot be
    scanned passes and says so; otherwise it is deferred. ``mailbox`` says of an envelope in which one mailbox the
    message will end, '' for several: it is judged by what was learned from that mailbox, or from the whole site.
    """

    def __init__(
        self,
        scanner: Scanner,
        refused_from: float,
        pass_on_failure: bool,
        mailbox: Callable[[Envelope], str] = no_mailbox,
    ) -> None:
        self._scanner = scanner
        self._refused_from = refused_from
        self._pass_on_failure = pass_on_failure
        self._mailbox = mailbox

    def wants_headers(self, envelope: Envelope) -> bool:
        return False

    def wants_content(self, envelope: Envelope) -> bool:
        return not envelope.login

    def content(self, envelope: Envelope, content: Content) -> Outcome:
        foreign = removed(content.headers, PREFIX)
        began = time.monotonic()
        try:
            score = self._scanner.scan(scanned_form(envelope, content, time.time(), self._mailbox(envelope)))
        except UnavailableError as error:
            if not self._pass_on_failure:
                raise
            LOG.error("%s passes without a scan: %s", content.queue_id, printable(str(error), 300))
            return Outcome(changes=(*foreign, AddField("X-Spam-Status", "Unknown, not scanned")))
        LOG.info(
            "%s scanned in %.1f s: %.1f points, tests=%s",
            content.queue_id, time.monotonic() - began, score.points, ",".join(score.tests),
        )  # fmt: skip
        if self._refused_from and score.points >= self._refused_from:
            return Outcome(Reply(550, "5.7.1", f"The message looks like spam ({score.points:.1f} points)"))
        return Outcome(changes=(*foreign, *marks(score, content)))


def marks(score: Score, content: Content) -> tuple[AddField, ...]:
    """Return the fields that tell the score, the topmost last."""
    words = [f"score={score.points:.1f}", f"required={score.required:.1f}"]
    if content.cut:
        words.append(f"scanned={len(content.body)} size={content.size}")
    tests = [f"{name}," for name in score.tests[:-1]] + list(score.tests[-1:])
    verdict = "Yes," if score.is_spam else "No,"
    fields = [AddField("X-Spam-Status", folded([verdict, *words, *_labelled("tests=", tests)]))]
    fields.append(AddField("X-Spam-Score", f"{score.points:.1f}"))
    if score.points >= 1:
        fields.append(AddField("X-Spam-Level", "*" * min(int(score.points), MOST_STARS)))
    if score.is_spam:
        fields.append(AddField("X-Spam-Flag", "YES"))
    return tuple(fields)


def _labelled(label: str, words: list[str]) -> list[str]:
    return [label + words[0], *words[1:]] if words else [label + "none"]


def folded(words: list[str]) -> str:
    """Join words with blanks into lines that are not too long (RFC 5322 section 2.2.3)."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) > LINE:
            lines.append(f"\t{word}")
        else:
            lines[-1] += f" {word}"
    return "\n".join(lines)


def scanned_form(envelope: Envelope, content: Content, now: float, mailbox: str = "") -> bytes:
    """Return the message as it will lie in a mailbox: with the Received field that the mail server puts on top.

    SpamAssassin takes the client's address and name from there, the envelope sender from ``X-Envelope-From``, and from
    ``X-Postoffice-Mailbox`` whose mail this is.
    """
    client = content.client
    address = f"IPv6:{client.address}" if ":" in client.address else client.address
    single = envelope.recipients[0] if len(envelope.recipients) == 1 else ""
    received = (
        f"Received: from {safe_name(client.helo) or 'unknown'} ({safe_name(client.name)} [{safe_name(address)}])\r\n"
        f"\tby {safe_name(content.host)} (Postfix) with ESMTP id {safe_name(content.queue_id)}"
        + (f"\r\n\tfor <{printable(single.strip('<>'), 320)}>" if single else "")
        + f"; {email.utils.formatdate(now)}\r\n"
    )
    sender = f"{SENDER_FIELD}: <{printable(envelope.sender.strip('<>'), 320)}>\r\n"
    owner = f"{MAILBOX_FIELD}: {printable(mailbox, 320)}\r\n" if mailbox else ""
    fields = b"".join(
        name.encode("utf-8", "surrogateescape")
        + b": "
        + value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        + b"\r\n"
        for name, value in content.headers
        if not name.lower().startswith(("x-spam-", SENDER_FIELD.lower(), MAILBOX_FIELD.lower()))
    )
    return received.encode("ascii") + sender.encode("ascii") + owner.encode("ascii") + fields + b"\r\n" + content.body
