# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small internet, as far as it is only written down."""

from __future__ import annotations

import collections
import ipaddress

import dns.zone
import pytest

from ansible_collections.postoffice.mail.tools.internet import build, say, world
from ansible_collections.postoffice.mail.tools.internet.world import Keys, Lan, Zone

LAN = Lan(
    network=ipaddress.IPv4Network("10.89.3.0/24"),
    network6=ipaddress.IPv6Network("fd00:1:2:3::/64"),
    server=ipaddress.IPv4Address("10.89.3.2"),
    server6=ipaddress.IPv6Address("fd00:1:2:3::2"),
    server_name="mail.example.org",
    own_domains=("example.org", "shop.example"),
    elsewhere=ipaddress.IPv4Address("10.89.3.3"),
    elsewhere6=ipaddress.IPv6Address("fd00:1:2:3::3"),
)
KEYS = Keys(tlsa=collections.defaultdict(lambda: "ab" * 32), dkim=collections.defaultdict(lambda: "A" * 392))
DS = "12345 13 2 " + "cd" * 32


@pytest.fixture
def zones() -> dict[str, Zone]:
    every = world.zones(LAN, KEYS)
    world.delegate(every, {zone.name: DS for zone in every if zone.signed})
    return {zone.name: zone for zone in every}


def records(zone: Zone, owner: str, kind: str) -> list[str]:
    return [record.data for record in zone.records if (record.owner, record.type) == (owner, kind)]


def test_every_zone_is_one_that_servers_read(zones: dict[str, Zone]) -> None:
    for zone in zones.values():
        read = dns.zone.from_text(zone.text(), origin=f"{zone.name}.", relativize=False)
        assert read.get_soa().minimum == zone.ttl


def test_no_zone_is_there_twice() -> None:
    names = [zone.name for zone in world.zones(LAN, KEYS)]
    assert len(set(names)) == len(names)


def test_an_own_domain_that_is_known_anyway_is_the_server_s() -> None:
    (zone,) = [zone for zone in world.zones(LAN, KEYS) if zone.name == "shop.example"]
    assert records(zone, "@", "MX") == ["10 mail.example.org."]


def test_parents_name_their_children_and_confirm_the_keys_of_signed_ones(zones: dict[str, Zone]) -> None:
    assert records(zones[""], "example.org.", "DS") == [DS]
    assert records(zones["example"], "good.example.", "NS") == ["ns.example."]
    assert records(zones["example"], "good.example.", "DS") == [DS]
    assert records(zones["example"], "plain.example.", "DS") == []


def test_the_parent_of_the_bogus_domain_confirms_another_key(zones: dict[str, Zone]) -> None:
    (said,) = records(zones["example"], "bogus.example.", "DS")
    assert said.startswith("12345 13 2 ")
    assert said != DS


def test_numbers_are_the_ends_of_addresses() -> None:
    assert LAN.both(210) == ("10.89.3.210", "fd00:1:2:3::210")


def test_no_two_parties_share_an_address() -> None:
    numbers = [number for party in world.PARTIES for number in world.numbers(party)]
    taken = [*numbers, world.NAMESERVER_NUMBER, world.WEB_NUMBER, world.SILENT_NUMBER]
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize(
    ("network", "zone"),
    [
        ("10.89.3.0/24", "3.89.10.in-addr.arpa"),
        ("10.89.0.0/16", "89.10.in-addr.arpa"),
        ("fd00:1:2:3::/64", "3.0.0.0.2.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa"),
    ],
)
def test_the_zone_of_a_network_s_names(network: str, zone: str) -> None:
    assert world.reverse_zone(ipaddress.ip_network(network)) == zone


def test_addresses_are_listed_backwards() -> None:
    assert world.listing(ipaddress.ip_address("192.0.2.99")) == "99.2.0.192"


def test_long_texts_are_split_as_the_dns_wants_it() -> None:
    assert world.quoted("a" * 256) == f'"{"a" * 255}" "a"'


def test_a_pool_may_send_from_all_of_its_addresses(zones: dict[str, Zone]) -> None:
    (spf,) = records(zones["pool.example"], "@", "TXT")
    assert [f"10.89.3.{number}" in spf for number in (229, 230, 231, 232, 233, 234)] == [False, *[True] * 4, False]


def test_signed_zones_have_a_key_in_the_server_s_configuration() -> None:
    text = build.knot_conf(LAN, [Zone("signed.example", signed=True), Zone("plain.example", dynamic=True)], "c2VjcmV0")
    signed, plain = text.partition("  - domain: plain.example.")[::2]
    assert "dnssec-signing: on" in signed
    assert "dnssec-signing" not in plain
    assert ("acl: updates" in signed, "acl: updates" in plain) == (False, True)


def test_domains_are_served_as_they_travel() -> None:
    assert build.a_labels(["bücher.example", "example.org"]) == ("xn--bcher-kva.example", "example.org")


@pytest.mark.parametrize(
    ("message", "travels"),
    [
        (b"a\r\n.b\r\n", b"a\r\n..b\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"no end", b"no end\r\n.\r\n"),
    ],
)
def test_dots_are_doubled_and_one_ends_the_message(message: bytes, travels: bytes) -> None:
    assert say.ended(message) == travels
