# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a request to an answer. Nothing is read or written here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from . import answers
from .answers import RefusedError
from .page import page
from .settings import Settings

HTML, XML, PROFILE, PLAIN = (
    "text/html; charset=utf-8",
    "application/xml; charset=utf-8",
    "application/x-apple-aspen-config",
    "text/plain; charset=utf-8",
)
# Nothing is loaded from anywhere; forms lead back here.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
LABELS = ("autoconfig", "autodiscover", "mail")
CONFIG_PATHS = ("/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml")
DISCOVER_PATH, PROFILE_PATH = "/autodiscover/autodiscover.xml", "/apple.mobileconfig"


@dataclass(frozen=True)
class Response:
    """A status, the kind of the body, the body."""

    status: int
    kind: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def domain_of(settings: Settings, host: str) -> str:
    """Whose people come by that name of the host."""
    name = host.lower().partition(":")[0].rstrip(".")
    label, _dot, rest = name.partition(".")
    if label in LABELS and rest in settings.domains:
        return rest
    return name if name in settings.domains else settings.default_domain


def respond(settings: Settings, method: str, host: str, target: str, body: bytes = b"") -> Response:
    """Answer a request; HEAD is answered as GET is."""
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    path = parts.path
    try:
        if path.lower() == DISCOVER_PATH:
            if method != "POST":
                return refusal(405, "Autodiscovery is asked for with POST.", {"Allow": "POST"})
            address = answers.read_address(settings, answers.asked_address(body))
            return Response(200, XML, answers.autodiscover(settings, *address))
        if method not in ("GET", "HEAD"):
            return refusal(405, "This is to be read only.", {"Allow": "GET, HEAD"})
        if path in CONFIG_PATHS:
            given = query.get("emailaddress", "")
            domain = answers.read_address(settings, given)[1] if given else domain_of(settings, host)
            return Response(200, XML, answers.client_config(settings, domain))
        if path == PROFILE_PATH:
            address = answers.read_address(settings, query.get("email", ""))
            attached = {"Content-Disposition": 'attachment; filename="mail.mobileconfig"'}
            return Response(200, PROFILE, answers.profile(settings, *address), attached)
        if path == "/":
            return Response(200, HTML, page(settings, domain_of(settings, host)))
    except RefusedError as error:
        return refusal(400, f"{error}.")
    return refusal(404, "There is nothing here.")


def refusal(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, PLAIN, f"{text[0].upper()}{text[1:]}\n".encode(), headers or {})
