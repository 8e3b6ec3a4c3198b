# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who there is on the small internet: servers, their addresses, and the zones of the DNS.

Everything below is a function of the hosts' addresses and of keys; nothing is read or written here. Names end in
`.example` (RFC 2606), so that none of them can be mistaken for somebody's own; all but that of a blocklist, which the
roles know by its name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Numbers are the ends of addresses, far from what podman gives away, which counts upwards from 2.
NAMESERVER = "ns.example"
NAMESERVER_NUMBER = 201
WEB = "web.example"
WEB_NUMBER = 202
ACME = "acme.example"
ACME_NUMBER = 203
SILENT_NUMBER = 250  # nobody has it

FOREVER = 3600  # seconds that the zones above the tests' own may be kept
BRIEFLY = 1  # the same for what a test may change


@dataclass(frozen=True)
class Party:
    """Somebody with a domain and a mail server of its own.

    `number` is the end of the server's addresses, `pool` how many more there are behind it. `certificate` is `ca` when
    everybody trusts who signed it, else `own`; `tlsa` says whether the DNS confirms it (None: says nothing about it).
    """

    domain: str
    number: int
    signed: bool = False
    spf: str = ""
    dmarc: str = ""
    dkim: bool = False
    certificate: str = "own"
    tlsa: bool | None = None
    mta_sts: bool = False
    listed: bool = False
    rumoured: bool = False
    welcome: str = ""
    named: bool = True
    pool: int = 1

    @property
    def mx(self) -> str:
        return f"mx.{self.domain}"


PARTIES = (
    Party("good.example", 210, signed=True, spf="v=spf1 mx -all", dkim=True, dmarc="v=DMARC1; p=reject"),
    Party("quarantine.example", 211, signed=True, spf="v=spf1 mx -all", dkim=True, dmarc="v=DMARC1; p=quarantine"),
    Party("plain.example", 212),
    Party("dane-ok.example", 213, signed=True, tlsa=True),
    Party("dane-bad.example", 214, signed=True, tlsa=False),
    Party("sts-ok.example", 215, certificate="ca", mta_sts=True),
    Party("sts-bad.example", 216, mta_sts=True),
    Party("sts-dane.example", 217, signed=True, certificate="ca", mta_sts=True, tlsa=False),
    Party("bogus.example", 218, signed=True, tlsa=True),
    # The second of its addresses is known only to the list that one pays for.
    Party("spam.example", 240, listed=True, pool=2),
    # On a list that alone is no reason to refuse anybody.
    Party("stranger.example", 220, named=False, rumoured=True),
    # Changes what it passes on, and passes it on in the name of the author.
    Party("forum.example", 221),
    Party("pool.example", 230, signed=True, spf="v=spf1 {pool} -all", welcome="127.0.3.1", pool=4),
)
WELCOME = {"good.example": "127.0.9.2"}

# Whoever else the tests write to or from, without a server of their own.
ACQUAINTANCES = ("client.example", "outside.example", "partner.example", "friends.example")

# What the server under test is also called in its own domain.
OTHER_NAMES = ("imap", "smtp")

# A customer's domain whose people use its own name for the server.
CUSTOMER, CUSTOMER_NAMES = "example.net", ("mail",)

# A blocklist under names that say how it behaves: what real ones answer to those who ask wrongly, and what is left of
# a list that was given up.
BLOCKLIST = "dnsbl.example"
ALLOW_LIST = "dnswl.example"
RUMOURS = "rumours"
# Whoever pays for this one is given a key, which is a part of the name.
PAID_LIST = "dq.spamhaus.net"
PAID_KEY = "keyofthesmallinternet42"
ODD_ANSWERS = {
    "typo": "127.255.255.252",
    "public": "127.255.255.254",
    "busy": "127.255.255.255",
    "wrong": "127.0.0.1",
    "parked": "192.0.2.80",
}


@dataclass(frozen=True)
class Lan:
    """The network of the hosts, and the mail server under test in it."""

    network: ipaddress.IPv4Network
    network6: ipaddress.IPv6Network
    server: ipaddress.IPv4Address
    server6: ipaddress.IPv6Address
    server_name: str
    own_domains: tuple[str, ...]
    elsewhere: ipaddress.IPv4Address
    elsewhere6: ipaddress.IPv6Address

    def address(self, number: int) -> ipaddress.IPv4Address:
        return self.network[number]

    def address6(self, number: int) -> ipaddress.IPv6Address:
        """The digits of the number are those of the address: 210 becomes ::210."""
        return self.network6[int(str(number), 16)]

    def both(self, number: int) -> tuple[str, str]:
        return str(self.address(number)), str(self.address6(number))


@dataclass(frozen=True)
class Record:
    """One resource record; `owner` is relative to the zone, `@` for the zone itself."""

    owner: str
    type: str
    data: str

    def __str__(self) -> str:
        return f"{self.owner} {self.type} {self.data}"


@dataclass
class Zone:
    """A zone of the authoritative server; `signed` with a key of its own, confirmed by its parent unless `bogus`.

    Who has the key for that may update it when it is `dynamic` (RFC 2136).
    """

    name: str
    signed: bool = False
    bogus: bool = False
    dynamic: bool = False
    ttl: int = BRIEFLY
    records: list[Record] = field(default_factory=list)

    def add(self, owner: str, kind: str, data: str) -> None:
        self.records.append(Record(owner, kind, data))

    def text(self) -> str:
        soa = f"@ SOA {NAMESERVER}. hostmaster.example. 1 3600 600 86400 {self.ttl}"
        lines = [f"$ORIGIN {self.name.rstrip('.')}.", f"$TTL {self.ttl}", soa, f"@ NS {NAMESERVER}."]
        return "\n".join([*lines, *map(str, self.records)]) + "\n"


@dataclass(frozen=True)
class Keys:
    """What the zones say about keys that were made before: hex digests of certificates' public keys, DKIM keys."""

    tlsa: Mapping[str, str]
    dkim: Mapping[str, str]


def quoted(text: str) -> str:
    """Character strings of a TXT record, none of them longer than 255 (RFC 1035, 3.3.14)."""
    return " ".join(f'"{text[start : start + 255]}"' for start in range(0, len(text), 255))


def parent_of(zone: str, zones: Iterable[str]) -> str:
    """The closest zone above; the root is the empty name."""
    above = [name for name in zones if name != zone and (not name or zone.endswith(f".{name}"))]
    return max(above, key=len)


def reverse_zone(network: Network) -> str:
    """The zone for the addresses of a network whose prefix ends between two labels."""
    labels = network.network_address.reverse_pointer.split(".")
    hosts = (network.max_prefixlen - network.prefixlen) // (8 if network.version == 4 else 4)
    return ".".join(labels[hosts:])


def listing(address: Address) -> str:
    """The name under which DNS lists have an address (RFC 5782)."""
    return address.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")


def numbers(party: Party) -> range:
    return range(party.number, party.number + party.pool)


def pool_of(lan: Lan, party: Party) -> str:
    """The addresses of a party as SPF writes them."""
    return " ".join(f"ip4:{lan.address(number)} ip6:{lan.address6(number)}" for number in numbers(party))


def party_zone(lan: Lan, keys: Keys, party: Party) -> Zone:
    zone = Zone(party.domain, signed=party.signed, bogus=party.domain == "bogus.example")
    zone.add("@", "MX", f"10 {party.mx}.")
    for number in numbers(party):
        address, address6 = lan.both(number)
        owner = "mx" if number == party.number else f"out{number}"
        zone.add(owner, "A", address)
        zone.add(owner, "AAAA", address6)
    if party.spf:
        zone.add("@", "TXT", quoted(party.spf.format(pool=pool_of(lan, party))))
    if party.dmarc:
        zone.add("_dmarc", "TXT", quoted(party.dmarc))
    if party.dkim:
        zone.add("s1._domainkey", "TXT", quoted(f"v=DKIM1; k=rsa; p={keys.dkim[party.domain]}"))
    if party.tlsa is not None:
        digest = keys.tlsa[party.mx] if party.tlsa else "0" * 64
        zone.add("_25._tcp.mx", "TLSA", f"3 1 1 {digest}")
    if party.mta_sts:
        zone.add("_mta-sts", "TXT", quoted("v=STSv1; id=1"))
        zone.add("mta-sts", "A", str(lan.address(WEB_NUMBER)))
        zone.add("mta-sts", "AAAA", str(lan.address6(WEB_NUMBER)))
    return zone


def own_zone(lan: Lan, domain: str) -> Zone:
    """A domain of the server under test. Signed, so that tests can add whatever such a domain may have."""
    zone = Zone(domain, signed=True, dynamic=True)
    zone.add("@", "MX", f"10 {lan.server_name}.")
    zone.add("@", "TXT", quoted("v=spf1 mx -all"))
    ours: tuple[str, ...] = CUSTOMER_NAMES if domain == CUSTOMER else ()
    if lan.server_name.endswith(f".{domain}"):
        name = lan.server_name.removesuffix(f".{domain}")
        zone.add(name, "TXT", quoted("v=spf1 a -all"))
        ours = (name, *OTHER_NAMES)
    for owner in ours:
        zone.add(owner, "A", str(lan.server))
        zone.add(owner, "AAAA", str(lan.server6))
    return zone


def acquaintance_zone(lan: Lan, domain: str) -> Zone:
    zone = Zone(domain)
    zone.add("@", "MX", f"10 mx.{domain}.")
    zone.add("mx", "A", str(lan.elsewhere))
    zone.add("mx", "AAAA", str(lan.elsewhere6))
    return zone


def blocklist_zone(lan: Lan) -> Zone:
    """Lists the spammers, answers its own test entries (RFC 5782, 5), and holds the lists that are broken."""
    zone = Zone(BLOCKLIST)
    entries: dict[str, tuple[str, ...]] = {
        "2.0.0.127": ("127.0.0.2",),
        listing(ipaddress.IPv6Address("::ffff:7f00:2")): ("127.0.0.2",),
    }
    for party in PARTIES:
        if party.listed:
            entries[listing(lan.address(party.number))] = ("127.0.0.2", "127.0.0.11")
            entries[listing(lan.address6(party.number))] = ("127.0.0.3",)
    for owner, answers in entries.items():
        for answer in answers:
            zone.add(owner, "A", answer)
        zone.add(owner, "TXT", quoted("listed, see https://dnsbl.example/"))
    for name, answer in ODD_ANSWERS.items():
        zone.add(f"*.{name}", "A", answer)
    for party in PARTIES:
        if party.rumoured:
            zone.add(f"{listing(lan.address(party.number))}.{RUMOURS}", "A", "127.0.0.2")
            zone.add(f"{listing(lan.address6(party.number))}.{RUMOURS}", "A", "127.0.0.2")
    # Delegated to a server that is not there, and to one that knows nothing of it.
    zone.add("dead", "NS", "ns.dead")
    zone.add("ns.dead", "A", str(lan.address(SILENT_NUMBER)))
    zone.add("lame", "NS", f"{NAMESERVER}.")
    return zone


def paid_list_zone(lan: Lan) -> Zone:
    """What the list that one pays for answers to those with the key, as if it were Spamhaus's data query service."""
    zone = Zone(PAID_LIST)
    for party in PARTIES:
        for number in numbers(party)[1:] if party.listed else ():
            zone.add(f"{listing(lan.address(number))}.{PAID_KEY}.zen", "A", "127.0.0.4")
            zone.add(f"{listing(lan.address6(number))}.{PAID_KEY}.zen", "A", "127.0.0.4")
    return zone


def allow_list_zone(lan: Lan) -> Zone:
    """127.0.category.trust, as the best known of its kind answers."""
    zone = Zone(ALLOW_LIST)
    zone.add("2.0.0.127", "A", "127.0.10.0")
    for party in PARTIES:
        answer = WELCOME.get(party.domain, party.welcome)
        for number in numbers(party) if answer else ():
            zone.add(listing(lan.address(number)), "A", answer)
            zone.add(listing(lan.address6(number)), "A", answer)
    return zone


def reverse_zones(lan: Lan) -> list[Zone]:
    """Names of the addresses; strangers have none."""
    names: dict[Address, str] = {
        lan.server: lan.server_name,
        lan.server6: lan.server_name,
        lan.elsewhere: "elsewhere.example",
        lan.elsewhere6: "elsewhere.example",
    }
    for party in PARTIES:
        for number in numbers(party) if party.named else ():
            name = party.mx if number == party.number else f"out{number}.{party.domain}"
            names |= {lan.address(number): name, lan.address6(number): name}
    zones = []
    for network in (lan.network, lan.network6):
        zone = Zone(reverse_zone(network))
        for address, name in names.items():
            if address in network:
                zone.add(f"{address.reverse_pointer}.", "PTR", f"{name}.")
        zones.append(zone)
    return zones


def example_zone(lan: Lan) -> Zone:
    """Where the names of everybody begin, and some servers that serve all."""
    zone = Zone("example", signed=True, ttl=FOREVER)
    servers = {
        "ns": lan.both(NAMESERVER_NUMBER),
        "web": lan.both(WEB_NUMBER),
        "acme": lan.both(ACME_NUMBER),
        "elsewhere": (str(lan.elsewhere), str(lan.elsewhere6)),
    }
    for owner, (address, address6) in servers.items():
        zone.add(owner, "A", address)
        zone.add(owner, "AAAA", address6)
    return zone


def root_zone(lan: Lan) -> Zone:
    zone = Zone("", signed=True, ttl=FOREVER)
    address, address6 = lan.both(NAMESERVER_NUMBER)
    zone.add(f"{NAMESERVER}.", "A", address)
    zone.add(f"{NAMESERVER}.", "AAAA", address6)
    return zone


def zones(lan: Lan, keys: Keys) -> list[Zone]:
    """All zones, without what parents say of their children, see `delegate`."""
    return [
        root_zone(lan),
        example_zone(lan),
        *(own_zone(lan, domain) for domain in lan.own_domains),
        *(party_zone(lan, keys, party) for party in PARTIES),
        *(acquaintance_zone(lan, domain) for domain in ACQUAINTANCES if domain not in lan.own_domains),
        blocklist_zone(lan),
        paid_list_zone(lan),
        allow_list_zone(lan),
        *reverse_zones(lan),
    ]


def delegate(every: Sequence[Zone], signers: Mapping[str, str]) -> None:
    """Add to each parent what it says of its children: their server and, by name, the DS of those that are signed.

    A bogus zone is one whose parent confirms another key than the one that signed it.
    """
    by_name = {zone.name: zone for zone in every}
    for zone in every:
        if not zone.name:
            continue
        parent = by_name[parent_of(zone.name, by_name)]
        parent.add(f"{zone.name}.", "NS", f"{NAMESERVER}.")
        if zone.signed:
            ds = signers[zone.name]
            if zone.bogus:
                ds = f"{ds.rpartition(' ')[0]} {'0' * 64}"
            parent.add(f"{zone.name}.", "DS", ds)
