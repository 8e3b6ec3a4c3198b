# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where names lead to: to this host, or what else is known of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import dns.exception
import dns.resolver

from .decide import ABSENT, HERE
from .settings import DNS, Settings

SECONDS = 15.0
AT_ONCE = 16

# The addresses of a name, of both kinds; raises LookupFailedError.
Lookup = Callable[[str], frozenset[str]]


class LookupFailedError(Exception):
    """Why it cannot be told which addresses a name has."""


def ask_dns(name: str) -> frozenset[str]:
    """What the host's resolver says, which is in /etc/resolv.conf."""
    addresses: set[str] = set()
    for kind in ("A", "AAAA"):
        try:
            answer = dns.resolver.resolve(f"{name}.", kind, lifetime=SECONDS)
            addresses |= {record.to_text() for record in answer}
        except dns.resolver.NXDOMAIN:
            return frozenset()
        except dns.resolver.NoAnswer:
            continue
        except dns.exception.DNSException as error:
            raise LookupFailedError(f"cannot be looked up: {error}") from None
    return frozenset(addresses)


def own_addresses() -> frozenset[str]:
    """The addresses of the host that others can reach."""
    argv = ["ip", "-json", "address", "show", "scope", "global"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    links = json.loads(done.stdout or "[]")
    return frozenset(each["local"] for link in links for each in link.get("addr_info", ()) if "local" in each)


def where(settings: Settings, lookup: Lookup = ask_dns, own: frozenset[str] | None = None) -> dict[str, str]:
    """Of each name whether it leads here.

    A required name does, wherever that is: behind a router, the host does not know its address. An authority that
    looks into the DNS only does not mind where a name leads.
    """
    required = frozenset(name for each in settings.certificates for name in each.required)
    optional = frozenset(name for each in settings.certificates for name in each.optional) - required
    if settings.challenge == DNS:
        return dict.fromkeys(required | optional, HERE)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        every = sorted(required | optional)
        known = dict(zip(every, pool.map(lambda name: _looked_up(name, lookup), every), strict=True))
    here = set(own_addresses() if own is None else own) | set(settings.addresses)
    here |= {address for name in required for address in _addresses(known[name])}
    return {
        **{name: _of_required(known[name]) for name in required},
        **{name: _of_optional(known[name], here) for name in optional},
    }


def _looked_up(name: str, lookup: Lookup) -> frozenset[str] | str:
    try:
        return lookup(name)
    except LookupFailedError as error:
        return str(error)


def _addresses(known: frozenset[str] | str) -> Iterable[str]:
    return () if isinstance(known, str) else known


def _of_required(known: frozenset[str] | str) -> str:
    if isinstance(known, str):
        return known
    return HERE if known else ABSENT


def _of_optional(known: frozenset[str] | str, here: set[str]) -> str:
    if isinstance(known, str):
        return known
    elsewhere = sorted(known - here)
    if not known:
        return ABSENT
    return f"leads to {', '.join(elsewhere)}, which is not this host" if elsewhere else HERE
