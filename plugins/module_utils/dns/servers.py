# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the nameservers that are responsible for a name, and sends them updates (RFC 2136).

Resolvers may still have what was there before, so each nameserver of the zone is asked itself. This needs dnspython;
where that is missing, NO_LIBRARY says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..zone_text import quoted, split_text

NO_LIBRARY: ImportError | None = None
try:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.query
    import dns.rcode
    import dns.rdata
    import dns.rdataclass
    import dns.rdatatype
    import dns.resolver
    import dns.tsig
    import dns.update
except ImportError as error:
    NO_LIBRARY = error

SECONDS = 5.0
ATTEMPTS = 2
LIFETIME = 10.0
AT_ONCE = 16
EDNS_PAYLOAD = 1232  # octets; what passes everywhere without fragments


class ServerError(Exception):
    """Who cannot say, and why."""


@dataclass(frozen=True)
class Zone:
    """A zone and its nameservers: their names, and the addresses of each."""

    name: str
    servers: tuple[tuple[str, tuple[str, ...]], ...]
    primary: str


@dataclass(frozen=True)
class Said:
    """What a nameserver has of a name and type, or why nobody knows."""

    server: str
    values: tuple[str, ...] = ()
    trouble: str = ""


class Servers:
    """The nameservers, found by a resolver."""

    def __init__(self, resolver: dns.resolver.Resolver | None = None) -> None:
        self.resolver = resolver or dns.resolver.Resolver()
        self.resolver.lifetime = LIFETIME
        self.zone_of = cache(self._zone_of)

    def _zone_of(self, name: str) -> Zone:
        """The zone in which a name is; ServerError when nobody can say."""
        try:
            apex = dns.resolver.zone_for_name(dns.name.from_text(name), resolver=self.resolver)
            start = self.resolver.resolve(apex, "SOA")[0]
            names = sorted(each.target.to_text() for each in self.resolver.resolve(apex, "NS"))
        except dns.exception.DNSException as error:
            raise ServerError(f"the resolver does not find who has {name}: {reason(error)}") from None
        return Zone(apex.to_text(), tuple((each, self.addresses(each)) for each in names), start.mname.to_text())

    def addresses(self, server: str) -> tuple[str, ...]:
        found: list[str] = []
        for kind in ("A", "AAAA"):
            with contextlib.suppress(dns.exception.DNSException):
                found += [each.address for each in self.resolver.resolve(server, kind)]
        return tuple(found)

    def ask(self, name: str, kind: str) -> list[Said]:
        """What each nameserver says about a name and type."""
        zone = self.zone_of(name)
        return [each for server, addresses in zone.servers for each in said(server, addresses, name, kind)]

    def ask_all(self, questions: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[Said]]:
        """The same for many, some at a time; who has a zone cannot be said is told as one server without a name."""

        def answer(question: tuple[str, str]) -> list[Said]:
            try:
                return self.ask(*question)
            except ServerError as error:
                return [Said("", trouble=str(error))]

        asked = list(dict.fromkeys(questions))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(asked, pool.map(answer, asked), strict=True))


def said(server: str, addresses: Sequence[str], name: str, kind: str, port: int = 53) -> list[Said]:
    """What is said at each address. One of them has to answer, and whatever answers counts."""
    answers: list[Said] = []
    trouble = "has no address"
    for address in addresses:
        try:
            answers.append(Said(server, tuple(value for value, _data in existing(address, name, kind, port))))
        except ServerError as error:
            trouble = f"{address} {error}"
    return answers or [Said(server, trouble=trouble)]


def existing(address: str, name: str, kind: str, port: int) -> list[tuple[str, str]]:
    """What is there at one address: values as `records.Record` has them, each with the data as zone files have it.

    ServerError when it does not answer, is not responsible, or does not say.
    """
    query = dns.message.make_query(name, kind, use_edns=0, payload=EDNS_PAYLOAD)
    query.flags &= ~dns.flags.RD
    answer = exchanged(query, address, port)
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise ServerError(f"answers {dns.rcode.to_text(answer.rcode())}")
    if not answer.flags & dns.flags.AA:
        raise ServerError("is not responsible for it")
    wanted = dns.rdatatype.from_text(kind)
    found = (each for rrset in answer.answer if rrset.rdtype == wanted for each in rrset)
    return [(value_of(each), each.to_text()) for each in found]


def exchanged(query: dns.message.Message, address: str, port: int) -> dns.message.Message:
    """The answer by UDP, or by TCP when it is too long for that; a lost packet is sent again."""
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            answer, _tcp = dns.query.udp_with_fallback(query, address, timeout=SECONDS, port=port)
            return answer
        except (dns.exception.DNSException, OSError) as error:
            if not attempts_left:
                raise ServerError(reason(error)) from None
    raise AssertionError("the last attempt returns or raises")


def value_of(data: Any) -> str:
    """As `records.Record` has it: the strings of a TXT record are put together."""
    if data.rdtype == dns.rdatatype.TXT:
        return b"".join(data.strings).decode("utf-8", "replace")
    return str(data.to_text())


def reason(error: Exception) -> str:
    if isinstance(error, dns.exception.Timeout):
        return "does not answer"
    return str(error) or type(error).__name__


# Updates


@dataclass(frozen=True)
class Key:
    """A TSIG key (RFC 8945); the secret in base64."""

    name: str
    secret: str
    algorithm: str = "hmac-sha256"


@dataclass(frozen=True)
class Change:
    """What is to be at a name: a value that comes, and data of those that go, as zone files have it.

    A text in other pieces is other data, and only the very same is deleted.
    """

    name: str
    type: str
    ttl: int
    comes: str
    go: tuple[str, ...] = ()


def update(zone: str, changes: Sequence[Change], key: Key, address: str, port: int = 53) -> None:
    """Send all changes of a zone as one: all of them are made or none (RFC 2136, section 3.7)."""
    try:
        ring = {dns.name.from_text(key.name): dns.tsig.Key(key.name, key.secret, key.algorithm)}
        message = dns.update.UpdateMessage(zone, keyring=ring)
        for change in changes:
            for value in change.go:
                message.delete(dns.name.from_text(change.name), data_of(change.type, value))
            message.add(dns.name.from_text(change.name), change.ttl, data_of(change.type, written(change)))
        answer = dns.query.tcp(message, address, timeout=SECONDS, port=port)
    except dns.tsig.PeerError as error:
        raise ServerError(f"{address} does not take the key {key.name}, its secret or its algorithm: {error}") from None
    except (dns.exception.DNSException, OSError, ValueError, NotImplementedError) as error:
        raise ServerError(f"{address} did not take the update of {zone}: {reason(error)}") from None
    refused = dns.rcode.to_text(answer.rcode())
    if answer.rcode() in (dns.rcode.NOTAUTH, dns.rcode.REFUSED):
        raise ServerError(f"{address} does not let the key {key.name} update {zone}: {refused}")
    if answer.rcode() != dns.rcode.NOERROR:
        raise ServerError(f"{address} did not take the update of {zone}: {refused}")


def written(change: Change) -> str:
    """The value that comes, as zone files have it."""
    if change.type == "TXT":
        return " ".join(quoted(string) for string in split_text(change.comes))
    return change.comes


def data_of(kind: str, text: str) -> Any:
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), text)
