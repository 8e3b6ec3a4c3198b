"""The other mail server of the test network: smarthost, next hop and the rest of the world at once.

It takes mail for anybody and keeps every copy in one Maildir, envelope in its headers.
"""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from .deployment import Shell
from .mail import trace
from .waiting import wait_for

AUTHENTICATED = re.compile(r"\(Authenticated sender: ([^)]+)\)")


@dataclass(frozen=True)
class Arrival:
    """One copy of a message as it arrived."""

    message: EmailMessage

    @property
    def sender(self) -> str:
        """The envelope sender; empty for a bounce."""
        return str(self.message["Return-Path"]).strip("<>")

    @property
    def recipients(self) -> list[str]:
        return [str(address) for address in self.message.get_all("X-Original-To", [])]

    @property
    def received(self) -> str:
        """How the host elsewhere got it: its topmost Received header."""
        return trace(self.message)[0]

    @property
    def login(self) -> str:
        """Who logged in to hand it over; empty when nobody did."""
        found = AUTHENTICATED.search(self.received)
        return found[1] if found else ""


class Elsewhere:
    """What has arrived there."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        self.shell = Shell.parse(description["ssh"])
        self.maildir = str(description["maildir"])

    def arrivals(self, message: EmailMessage | str) -> list[Arrival]:
        identity = message if isinstance(message, str) else str(message["Message-ID"])
        # What is in "tmp" has not arrived yet, and is elsewhere in a moment.
        found = self.shell.run(
            "grep",
            "--recursive",
            "--files-with-matches",
            "--fixed-strings",
            identity,
            f"{self.maildir}/new",
            check=False,
        )
        copies = [self.shell.output("cat", path) for path in found.stdout.split()]
        arrivals = [Arrival(email.message_from_string(copy, policy=email.policy.default)) for copy in copies]
        return [arrival for arrival in arrivals if arrival.message["Message-ID"] == identity]

    def wait_for(self, message: EmailMessage | str) -> Arrival:
        return wait_for(
            lambda: self.arrivals(message),
            f"{message if isinstance(message, str) else message['Message-ID']} elsewhere",
        )[0]
