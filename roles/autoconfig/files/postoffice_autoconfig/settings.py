# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role wrote down: the server, what it offers, and the domains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path("/etc/postoffice/autoconfig.json")
INCOMING = ("imaps", "imap", "pop3s", "pop3")
OUTGOING = ("submissions", "submission")
PROTOCOLS = {
    "imaps": "imap",
    "imap": "imap",
    "pop3s": "pop3",
    "pop3": "pop3",
    "submissions": "smtp",
    "submission": "smtp",
}


@dataclass(frozen=True)
class Service:
    """One way to the server; `implicit` when TLS begins at once, else STARTTLS is needed (RFC 8314)."""

    protocol: str
    port: int
    implicit: bool


@dataclass(frozen=True)
class Settings:
    """`domains` are those whose people are told, each with the domain of the addresses that they log in with."""

    hostname: str
    domains: Mapping[str, str]
    incoming: tuple[Service, ...]
    outgoing: tuple[Service, ...]
    title: str
    contact: str
    webmail: str

    @property
    def default_domain(self) -> str:
        """Whose people are meant when nobody says which: that of the server's name, else the first."""
        above = [domain for domain in self.domains if self.hostname.endswith(f".{domain}")]
        return max(above, key=len) if above else next(iter(self.domains), self.hostname)


def load(text: str) -> Settings:
    """Read settings from JSON; raises KeyError, TypeError, ValueError."""
    raw: Mapping[str, Any] = json.loads(text)
    ports: Mapping[str, int] = raw["ports"]
    return Settings(
        hostname=raw["hostname"],
        domains=dict(raw["domains"]),
        incoming=tuple(_service(name, ports[name]) for name in INCOMING if name in ports),
        outgoing=tuple(_service(name, ports[name]) for name in OUTGOING if name in ports),
        title=raw["title"],
        contact=raw["contact"],
        webmail=raw["webmail"],
    )


def _service(name: str, port: int) -> Service:
    return Service(PROTOCOLS[name], int(port), name.endswith("s"))
