# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a mail server and its domains need in the DNS, computed from what an inventory declares."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..directory.errors import MissingLibrary
from ..directory.names import domain_name

MX_PREFERENCE = 10
# Those that clients look for; which of them a server lacks is said as well (RFC 6186, section 3.4).
CLIENT_SERVICES = ("submissions", "submission", "imaps", "imap", "pop3s", "pop3", "sieve")
_SPF = re.compile(r"v=spf1(?: [\x21-\x7e]+)*", re.IGNORECASE)
_DMARC = re.compile(r"\s*v\s*=\s*DMARC1\s*;\s*p\s*=\s*(?:none|quarantine|reject)\s*(?:;[\x20-\x7e]*)?")
_ADDRESS = re.compile(r"[a-z0-9.+_-]+@[^@\s]+", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_POLICY_ID = re.compile(r"[A-Za-z0-9]{1,32}")  # RFC 8461, 3.1
FURTHER_NAMES = {
    "mail": "the server, as its people call it",
    "autoconfig": "where programs ask how to reach the server",
    "autodiscover": "where Outlook asks how to reach the server",
    "mta-sts": "where its policy on encryption is (MTA-STS)",
}
_DIGEST = re.compile(r"[0-9a-f]{64}")


class RecordsError(Exception):
    """What cannot be computed, a line for each problem, each beginning with where it is."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Record:
    """A record that is wanted. `domain` is whose DNS it belongs to, `value` the text of a TXT record in one piece, of
    others the data as zone files have it, with names that end in a dot."""

    domain: str
    name: str
    type: str
    value: str
    purpose: str


@dataclass(frozen=True)
class Domain:
    """A mail domain. Of a relayed one the mail is passed on; who sends as it is not ours to say."""

    name: str
    relayed: bool = False


@dataclass(frozen=True)
class Site:
    """A mail server. `ports` has those on which it serves clients, by service; `key_digests` are SHA-256 of the public
    keys that it shows on port 25, in hexadecimal; `dkim` the records of the keys, by domain; `labels` what stands
    before each domain in further names of the server; `mta_sts` the identifier of the policy of the domains."""

    hostname: str
    domains: Sequence[Domain] = ()
    addresses: Sequence[str] = ()
    ports: Mapping[str, int] | None = None
    key_digests: Sequence[str] = ()
    dkim: Sequence[tuple[str, str, str]] = ()
    spf: str = "v=spf1 mx -all"
    dmarc: str = "v=DMARC1; p=none"
    reports: str = ""
    authorities: Sequence[str] = ()
    labels: Sequence[str] = ()
    mta_sts: str = ""
    more: Sequence[Record] = ()


def wanted(site: Site) -> list[Record]:
    """All records, those of the server first, then domain by domain."""
    found = [*of_server(site)]
    for domain in site.domains:
        found += of_domain(site, domain)
    found += [replace(record, domain=record.domain or home_of(site, record.name)) for record in site.more]
    # Those of a domain together, the names of addresses last.
    order = {record.domain: number for number, record in reversed(list(enumerate(found)))}
    return sorted(dict.fromkeys(found), key=lambda record: (not record.domain, order[record.domain]))


def of_server(site: Site) -> Iterator[Record]:
    """Its name, what it may send, the keys of its certificate, and the names of its addresses."""
    home = home_of(site, site.hostname)
    host = site.hostname
    for address in site.addresses:
        kind = "AAAA" if ":" in address else "A"
        yield Record(home, host, kind, address, "where the server is")
    if host not in (domain.name for domain in site.domains):
        # Bounces have no sender but the name of the server (RFC 7208, section 2.4).
        yield Record(home, host, "TXT", "v=spf1 a -all", "who may send in the server's own name")
        yield from signatures(site, host, home)
    for digest in site.key_digests:
        yield Record(home, f"_25._tcp.{host}", "TLSA", f"3 1 1 {digest}", "the key of its certificate, for DANE")
    for authority in site.authorities:
        yield Record(home, host, "CAA", f'0 issue "{authority}"', "who may issue certificates for it")
    for address in site.addresses:
        name = ipaddress.ip_address(address).reverse_pointer
        yield Record("", name, "PTR", f"{host}.", "the name of the address; whoever gave it to you publishes it")


def home_of(site: Site, name: str) -> str:
    """Whose DNS has a name: the closest of the domains, else the name itself."""
    domains = [domain.name for domain in site.domains]
    above = [domain for domain in domains if name == domain or name.endswith(f".{domain}")]
    return max(above, key=len, default=name)


def of_domain(site: Site, domain: Domain) -> Iterator[Record]:
    """Where its mail goes and, unless it is relayed, who may send as it and how clients find the server."""
    name = domain.name
    yield Record(name, name, "MX", f"{MX_PREFERENCE} {site.hostname}.", "where its mail goes")
    if domain.relayed:
        return
    yield Record(name, name, "TXT", site.spf, "who may send as it (SPF)")
    yield from signatures(site, name, name)
    policy = site.dmarc
    if site.reports:
        policy = f"{policy.rstrip('; ')}; rua=mailto:{site.reports}"
    yield Record(name, f"_dmarc.{name}", "TXT", policy, "what others do with forged mail (DMARC)")
    if site.reports:
        report = f"v=TLSRPTv1; rua=mailto:{site.reports}"
        yield Record(name, f"_smtp._tls.{name}", "TXT", report, "who is told of failed encryption (TLS-RPT)")
        yield from consent(name, site.reports.rpartition("@")[2])
    if site.mta_sts:
        policy = f"v=STSv1; id={site.mta_sts}"
        yield Record(name, f"_mta-sts.{name}", "TXT", policy, "that it has a policy on encryption (MTA-STS)")
    yield from further_names(site, name)
    yield from services(site, name)


def further_names(site: Site, domain: str) -> Iterator[Record]:
    """Where the names of the server are that begin with a label and end with the domain."""
    for label in site.labels:
        name = f"{label}.{domain}"
        for address in () if name == site.hostname else site.addresses:
            kind = "AAAA" if ":" in address else "A"
            yield Record(domain, name, kind, address, FURTHER_NAMES.get(label, "another name of the server"))


def signatures(site: Site, domain: str, home: str) -> Iterator[Record]:
    """The public keys with which mail of a domain is signed."""
    for signing, name, value in site.dkim:
        if signing == domain:
            yield Record(home, name, "TXT", value, "the key of its signatures (DKIM)")


def consent(domain: str, receiver: str) -> Iterator[Record]:
    """That another domain wants the reports about this one (RFC 7489, section 7.1)."""
    if receiver not in (domain, domain.rpartition(".")[0]) and not receiver.endswith(f".{domain}"):
        name = f"{domain}._report._dmarc.{receiver}"
        yield Record(receiver, name, "TXT", "v=DMARC1", "that it wants the other domain's reports")


def services(site: Site, domain: str) -> Iterator[Record]:
    """Where clients find the server (RFC 6186, RFC 8314); a dot stands for what it does not offer."""
    if site.ports is None:
        return
    for service in CLIENT_SERVICES:
        port = site.ports.get(service)
        value = f"0 1 {port} {site.hostname}." if port else "0 0 0 ."
        yield Record(domain, f"_{service}._tcp.{domain}", "SRV", value, "where programs find the server")


# What is given, read


def read_site(domains: Sequence[object], given: Mapping[str, Any]) -> Site:
    """Read names of domains, and the rest as the filter has it; RecordsError says where each mistake is."""
    problems: list[str] = []

    def read(where: str, reader: Any, value: object) -> Any:
        try:
            return reader(value)
        except (ValueError, MissingLibrary) as error:
            problems.append(f"{where}: {error}")
            return None

    site = {
        "hostname": read("hostname", text_of(domain_name), given.get("hostname", "")),
        "domains": [
            *(Domain(read(f"domains[{n}]", text_of(domain_name), each)) for n, each in enumerate(domains)),
            *(
                Domain(read(f"relayed[{n}]", text_of(domain_name), each), True)
                for n, each in enumerate(given["relayed"])
            ),
        ],
        "addresses": [read(f"addresses[{n}]", read_address, each) for n, each in enumerate(given["addresses"])],
        "ports": given["ports"] and {s: read(f"ports.{s}", read_port(s), p) for s, p in given["ports"].items()},
        "key_digests": [read(f"key_digests[{n}]", read_digest, each) for n, each in enumerate(given["key_digests"])],
        "dkim": [(each["domain"], each["name"], each["value"]) for each in given["dkim"]],
        "spf": read("spf", matching(_SPF, "an SPF record, such as v=spf1 mx -all"), given["spf"]),
        "dmarc": read("dmarc", matching(_DMARC, "a DMARC record, such as v=DMARC1; p=none"), given["dmarc"]),
        "reports": given["reports"] and read("reports", matching(_ADDRESS, "an address"), given["reports"]),
        "authorities": [read(f"authorities[{n}]", text_of(domain_name), a) for n, a in enumerate(given["authorities"])],
        "labels": [
            read(f"labels[{n}]", matching(_LABEL, "what stands before a domain, such as mail"), each)
            for n, each in enumerate(given["labels"])
        ],
        "mta_sts": given["mta_sts"]
        and read("mta_sts", matching(_POLICY_ID, "an identifier of a policy"), given["mta_sts"]),
        "more": [read(f"more[{n}]", read_record, each) for n, each in enumerate(given["more"])],
    }
    if problems:
        raise RecordsError(problems)
    return Site(**site)


def read_record(value: object) -> Record:
    """A record as people write it; whether its value can be one is seen where it is used."""
    if not isinstance(value, Mapping) or not all(
        isinstance(value.get(field), str) for field in ("name", "type", "value")
    ):
        raise ValueError("is not a mapping of name, type and value, each a text")
    texts = {field: str(value.get(field) or "") for field in Record.__dataclass_fields__}
    return Record(**{**texts, "name": texts["name"].removesuffix(".").lower()})


def text_of(reader: Any) -> Any:
    """A reader that refuses what is no text."""

    def read(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not text")
        return reader(value)

    return read


def matching(pattern: re.Pattern[str], what: str) -> Any:
    """A reader of texts that are like a pattern."""

    def read(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"{value!r} is not {what}")
        return value

    return text_of(read)


def read_address(value: object) -> str:
    try:
        return str(ipaddress.ip_address(str(value)))
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address") from None


def read_digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError(f"{value!r} is not SHA-256 in hexadecimal")
    return value


def read_port(service: str) -> Any:
    def read(value: object) -> int:
        if service not in CLIENT_SERVICES:
            raise ValueError(f"no such service; there are {', '.join(CLIENT_SERVICES)}")
        if isinstance(value, bool) or not str(value).isdecimal() or not 0 < int(str(value)) < 65536:
            raise ValueError(f"{value!r} is not the number of a port")
        return int(str(value))

    return read
