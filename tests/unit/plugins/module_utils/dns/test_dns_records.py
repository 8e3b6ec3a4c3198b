# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.dns.records import (
    Domain,
    Record,
    RecordsError,
    Site,
    read_site,
    wanted,
)

HOST = "mail.example.org"
ORG = Domain("example.org")
NOTHING: dict[str, Any] = {
    "hostname": HOST,
    "relayed": [],
    "addresses": [],
    "ports": None,
    "key_digests": [],
    "dkim": [],
    "spf": Site.spf,
    "dmarc": Site.dmarc,
    "reports": "",
    "authorities": [],
    "labels": [],
    "mta_sts": "",
    "more": [],
}


def values(site: Site, name: str, kind: str) -> list[str]:
    return [record.value for record in wanted(site) if (record.name, record.type) == (name, kind)]


def test_a_server_has_addresses_names_for_them_and_may_send_its_bounces() -> None:
    site = Site(HOST, [ORG], ["192.0.2.25", "2001:db8::25"])
    assert values(site, HOST, "A") == ["192.0.2.25"]
    assert values(site, HOST, "AAAA") == ["2001:db8::25"]
    assert values(site, HOST, "TXT") == ["v=spf1 a -all"]
    assert values(site, "25.2.0.192.in-addr.arpa", "PTR") == [f"{HOST}."]
    (name,) = [record.name for record in wanted(site) if record.type == "PTR" and "ip6" in record.name]
    assert name.startswith("5.2.0.0.0.0.0.0.")
    assert name.endswith(".8.b.d.0.1.0.0.2.ip6.arpa")


def test_a_domain_says_where_its_mail_goes_and_who_sends_as_it() -> None:
    site = Site(HOST, [ORG])
    assert values(site, "example.org", "MX") == [f"10 {HOST}."]
    assert values(site, "example.org", "TXT") == ["v=spf1 mx -all"]
    assert values(site, "_dmarc.example.org", "TXT") == ["v=DMARC1; p=none"]
    assert values(site, "_smtp._tls.example.org", "TXT") == []


def test_of_a_relayed_domain_only_where_its_mail_goes_is_said() -> None:
    records = [record for record in wanted(Site(HOST, [Domain("far.example", relayed=True)])) if "far" in record.name]
    assert [(record.type, record.value) for record in records] == [("MX", f"10 {HOST}.")]


def test_records_of_the_server_belong_to_the_domain_that_has_its_name() -> None:
    site = Site("mx.mail.example.org", [ORG, Domain("mail.example.org")], ["192.0.2.25"])
    (record,) = [record for record in wanted(site) if record.type == "A"]
    assert record.domain == "mail.example.org"
    (alone,) = [
        record for record in wanted(Site(HOST, [Domain("other.example")], ["192.0.2.25"])) if record.type == "A"
    ]
    assert alone.domain == HOST


def test_a_server_named_as_its_domain_has_one_spf_record() -> None:
    assert values(Site("example.org", [ORG]), "example.org", "TXT") == ["v=spf1 mx -all"]


def test_keys_are_published_where_they_are_looked_up() -> None:
    dkim = [("example.org", "m._domainkey.example.org", "v=DKIM1; p=A"), (HOST, f"m._domainkey.{HOST}", "v=DKIM1; p=B")]
    site = Site(HOST, [ORG], key_digests=["ab" * 32], dkim=dkim)
    assert values(site, f"_25._tcp.{HOST}", "TLSA") == [f"3 1 1 {'ab' * 32}"]
    assert values(site, "m._domainkey.example.org", "TXT") == ["v=DKIM1; p=A"]
    assert values(site, f"m._domainkey.{HOST}", "TXT") == ["v=DKIM1; p=B"]


def test_reports_are_asked_for_and_their_receiver_says_that_it_wants_them() -> None:
    site = Site(HOST, [ORG, Domain("example.net")], reports="reports@example.org")
    assert values(site, "_dmarc.example.net", "TXT") == ["v=DMARC1; p=none; rua=mailto:reports@example.org"]
    assert values(site, "_smtp._tls.example.net", "TXT") == ["v=TLSRPTv1; rua=mailto:reports@example.org"]
    consents = [record for record in wanted(site) if "._report." in record.name]
    assert consents == [
        Record(
            "example.org",
            "example.net._report._dmarc.example.org",
            "TXT",
            "v=DMARC1",
            "that it wants the other domain's reports",
        )
    ]


def test_what_is_not_offered_is_said_too() -> None:
    site = Site(HOST, [ORG], ports={"imaps": 993, "submission": 5870})
    assert values(site, "_imaps._tcp.example.org", "SRV") == [f"0 1 993 {HOST}."]
    assert values(site, "_submission._tcp.example.org", "SRV") == [f"0 1 5870 {HOST}."]
    assert values(site, "_pop3._tcp.example.org", "SRV") == ["0 0 0 ."]
    assert values(Site(HOST, [ORG]), "_imaps._tcp.example.org", "SRV") == []


def test_who_may_issue_certificates_is_said_of_the_server_alone() -> None:
    site = Site(HOST, [ORG], authorities=["letsencrypt.org"])
    assert [(r.name, r.value) for r in wanted(site) if r.type == "CAA"] == [(HOST, '0 issue "letsencrypt.org"')]


def test_further_names_of_the_server_are_said_of_every_domain_that_is_not_relayed() -> None:
    domains = [ORG, Domain("example.net"), Domain("relayed.example", relayed=True)]
    site = Site(HOST, domains, addresses=["192.0.2.25", "2001:db8::25"], labels=["mail", "mta-sts"], mta_sts="a1")
    found = wanted(site)
    assert values(site, "mail.example.net", "A") == values(site, "mta-sts.example.org", "A") == ["192.0.2.25"]
    assert values(site, "mail.example.net", "AAAA") == ["2001:db8::25"]
    # That of the server itself once.
    assert [(record.type, record.purpose) for record in found if record.name == HOST][:2] == [
        ("A", "where the server is"),
        ("AAAA", "where the server is"),
    ]
    assert values(site, HOST, "A") == ["192.0.2.25"]
    assert values(site, "_mta-sts.example.net", "TXT") == ["v=STSv1; id=a1"]
    assert not [record for record in found if record.name.endswith(".relayed.example")]


def test_more_records_belong_to_the_domain_that_has_their_name() -> None:
    more = [{"name": "WWW.example.org.", "type": "CNAME", "value": "web.example."}]
    site = read_site(["example.net", "example.org"], {**NOTHING, "addresses": ["192.0.2.25"], "more": more})
    records = wanted(site)
    assert Record("example.org", "www.example.org", "CNAME", "web.example.", "") in records
    domains = [record.domain for record in records]
    assert sorted(set(domains), key=domains.index) == ["example.org", "example.net", ""]
    assert domains == sorted(domains, key=["example.org", "example.net", ""].index)


def test_names_are_written_as_in_the_dns() -> None:
    site = read_site(["Bücher.example"], NOTHING)
    assert values(site, "xn--bcher-kva.example", "MX") == [f"10 {HOST}."]


@pytest.mark.parametrize(
    ("domains", "given", "said"),
    [
        (["example.org", 5], {}, "domains[1]: 5 is not text"),
        (["a b.example"], {}, "domains[0]: 'a b.example' is not a domain"),
        ([], {"relayed": ["x"]}, "relayed[0]: 'x' is not a domain"),
        ([], {"hostname": "mail"}, "hostname: 'mail' is not a domain"),
        ([], {"addresses": ["192.0.2.1", "192.0.2.999"]}, "addresses[1]: '192.0.2.999' is not an IP address"),
        ([], {"ports": {"imaps": 0}}, "ports.imaps: 0 is not the number of a port"),
        ([], {"ports": {"smtp": 25}}, "ports.smtp: no such service"),
        ([], {"spf": "mx -all"}, "spf: 'mx -all' is not an SPF record"),
        ([], {"spf": "v=spf1 mx\n-all"}, "spf: 'v=spf1 mx\\n-all' is not an SPF record"),
        ([], {"dmarc": "v=DMARC1; p=never"}, "dmarc: 'v=DMARC1; p=never' is not a DMARC record"),
        ([], {"reports": "postmaster"}, "reports: 'postmaster' is not an address"),
        ([], {"key_digests": ["ab"]}, "key_digests[0]: 'ab' is not SHA-256 in hexadecimal"),
        ([], {"more": [{"name": "a.example"}]}, "more[0]: is not a mapping of name, type and value"),
        ([], {"authorities": ["letsencrypt"]}, "authorities[0]: 'letsencrypt' is not a domain"),
        ([], {"labels": ["a.b"]}, "labels[0]: 'a.b' is not what stands before a domain, such as mail"),
        ([], {"mta_sts": "a b"}, "mta_sts: 'a b' is not an identifier of a policy"),
    ],
)
def test_a_mistake_is_named_with_its_place(domains: list[object], given: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordsError) as error:
        read_site(domains, {**NOTHING, **given})
    assert any(problem.startswith(said) for problem in error.value.problems), error.value.problems


def test_every_mistake_is_named() -> None:
    with pytest.raises(RecordsError) as error:
        read_site(["a b"], {**NOTHING, "spf": "", "reports": "x"})
    assert [problem.partition(":")[0] for problem in error.value.problems] == ["domains[0]", "spf", "reports"]
