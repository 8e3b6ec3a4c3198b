# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.dns.report import assess, table

MX = {
    "domain": "example.org",
    "name": "example.org",
    "type": "MX",
    "value": "10 mail.example.org.",
    "purpose": "where its mail goes",
}
PTR = {
    "domain": "",
    "name": "25.2.0.192.in-addr.arpa",
    "type": "PTR",
    "value": "mail.example.org.",
    "purpose": "a name",
}


@dataclass(frozen=True)
class Said:
    server: str
    values: tuple[str, ...] = ()
    trouble: str = ""


HAS = Said("ns1.example.", ("10 mail.example.org.",))
LACKS = Said("ns2.example.")
OTHER = Said("ns3.example.", ("0 old.example.",))
SILENT = Said("ns4.example.", trouble="192.0.2.4 does not answer")


@pytest.mark.parametrize(
    ("said", "state", "notes"),
    [
        ([HAS], "present", []),
        ([LACKS], "missing", []),
        ([HAS, LACKS], "missing", ["ns2.example does not have it"]),
        ([HAS, OTHER], "wrong", ["ns3.example has 0 old.example."]),
        # Nobody knows what those get who ask the other one.
        ([HAS, SILENT], "unknown", ["ns4.example 192.0.2.4 does not answer"]),
        ([LACKS, SILENT], "missing", ["ns4.example 192.0.2.4 does not answer"]),
        # Two addresses of one.
        ([HAS, OTHER, OTHER], "wrong", ["ns3.example has 0 old.example."]),
        ([SILENT], "unknown", ["ns4.example 192.0.2.4 does not answer"]),
        ([Said("", trouble="nobody has it")], "unknown", ["nobody has it"]),
    ],
)
def test_all_nameservers_count(said: list[Said], state: str, notes: list[str]) -> None:
    (record,) = assess([MX], {("example.org", "MX"): said})
    assert (record["state"], record["notes"]) == (state, notes)


def test_people_read_domain_by_domain_what_is_not_there() -> None:
    said = {("example.org", "MX"): [HAS, OTHER], (PTR["name"], "PTR"): [Said("ns.example.", ("mail.example.org.",))]}
    assert table(assess([MX, PTR], said)) == [
        "example.org: 1 wrong",
        "  wrong    example.org. MX 10 mail.example.org.",
        "             (where its mail goes)",
        "             ns3.example has 0 old.example.",
        "",
        "names of addresses, which whoever gave you the addresses publishes: everything is there",
        "  present  25.2.0.192.in-addr.arpa. PTR mail.example.org.",
    ]


def test_a_long_value_is_cut() -> None:
    record = {**MX, "type": "TXT", "value": "v=DKIM1; p=" + "A" * 200}
    lines = table(assess([record], {("example.org", "TXT"): [LACKS]}))
    assert lines[1].endswith("AAA...")
    assert len(lines[1]) < 110
