# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host knows of itself that belongs into the DNS: its addresses, and the keys of its certificates."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator

UNSTEADY = ("deprecated", "temporary", "tentative", "dadfailed")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----(.*?)-----END PUBLIC KEY-----", re.DOTALL)


def steady_addresses(text: str) -> list[str]:
    """The addresses that a host is reached at, from the output of `ip -json address` (ip-address(8)).

    Public ones when it has any, else all; never those of a host's own bridges, nor those that will change.
    """
    links = json.loads(text)
    found = [each for link in links if not is_inner(link) for each in of_link(link)]
    public = [each for each in found if ipaddress.ip_address(each).is_global]
    return sorted(dict.fromkeys(public or found), key=lambda each: (":" in each, ipaddress.ip_address(each).packed))


def is_inner(link: dict[str, object]) -> bool:
    """Whether an interface leads to the host itself, or to containers that live on it."""
    return str(link.get("ifname", "")).startswith(("lo", "docker", "podman", "cni", "virbr", "br-", "veth"))


def of_link(link: dict[str, object]) -> Iterator[str]:
    details = link.get("addr_info")
    for each in details if isinstance(details, list) else ():
        if each.get("scope") == "global" and not any(each.get(flag) for flag in UNSTEADY):
            yield each["local"]


def any_public(addresses: Iterable[str]) -> bool:
    return any(ipaddress.ip_address(each).is_global for each in addresses)


def key_digest(text: str) -> str:
    """SHA-256, in hexadecimal, of a public key as openssl(1) writes it: of its SubjectPublicKeyInfo, as records of type
    TLSA with selector 1 and matching type 1 have it (RFC 6698, sections 2.1.2 and 2.1.3)."""
    match = _PEM.search(text)
    if match is None:
        raise ValueError("there is no public key in it")
    return hashlib.sha256(base64.b64decode(match[1])).hexdigest()
