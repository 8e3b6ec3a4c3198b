# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.dns.judge import MISSING, PRESENT, WRONG, judge

SPF = "v=spf1 mx -all"
KEY = "3 1 1 " + "ab" * 32
NEXT = "3 1 1 " + "cd" * 32


@pytest.mark.parametrize(
    ("kind", "value", "found", "state"),
    [
        ("A", "192.0.2.25", [], MISSING),
        ("A", "192.0.2.25", ["192.0.2.25"], PRESENT),
        # Whoever takes the other address does not find the server.
        ("A", "192.0.2.25", ["192.0.2.25", "192.0.2.99"], WRONG),
        ("A", "192.0.2.25", ["192.0.2.99"], WRONG),
        ("MX", "10 mail.example.org.", ["5 Mail.example.org."], PRESENT),
        ("MX", "10 mail.example.org.", ["10 mail.example.org.", "20 second.example."], PRESENT),
        ("MX", "10 mail.example.org.", ["10 mail.example.org.", "10 old.example."], WRONG),
        ("MX", "10 mail.example.org.", ["20 second.example."], MISSING),
        ("TXT", SPF, ["google-site-verification=x"], MISSING),
        ("TXT", SPF, ["google-site-verification=x", SPF], PRESENT),
        ("TXT", SPF, ["v=spf1 include:lists.example mx ~all"], PRESENT),
        ("TXT", SPF, ["v=spf1 include:lists.example -all"], WRONG),
        # Two make a permanent error (RFC 7208, section 4.5).
        ("TXT", SPF, [SPF, SPF.upper()], WRONG),
        ("TXT", SPF, [SPF, "v=spf1 -all"], WRONG),
        ("TXT", "v=DMARC1; p=none", ["v=DMARC1;p=none;"], PRESENT),
        ("TXT", "v=DMARC1; p=none", ["v=DMARC1; p=reject"], WRONG),
        ("TXT", "v=DKIM1; h=sha256; k=rsa; p=AA", ["v=DKIM1; k=rsa; h=sha256; p=A A"], PRESENT),
        ("TXT", "v=DKIM1; h=sha256; k=rsa; p=AA", ["v=DKIM1; k=rsa; h=sha256; p=BB"], WRONG),
        # A key record may do without a version, and there must not be two.
        ("TXT", "v=DKIM1; h=sha256; k=rsa; p=AA", ["v=DKIM1; h=sha256; k=rsa; p=AA", "k=rsa; p=BB"], WRONG),
        ("TXT", "hello", ["hello", "other"], WRONG),
        ("TLSA", KEY, [KEY.upper()], PRESENT),
        ("TLSA", KEY, ["3 1 1 " + " ".join(["ab" * 16] * 2)], PRESENT),
        ("TLSA", KEY, [NEXT], MISSING),
        ("TLSA", KEY, [KEY, NEXT], PRESENT),
        ("CAA", '0 issue "a.example"', ['0 issue "a.example"', '0 issue "b.example"'], PRESENT),
        ("SRV", "0 1 993 mail.example.org.", ["0 1 993 mail.example.org."], PRESENT),
        ("SRV", "0 1 993 mail.example.org.", ["0 1 143 mail.example.org."], WRONG),
        ("PTR", "mail.example.org.", ["mail.example.org.", "other.example."], PRESENT),
        ("PTR", "mail.example.org.", ["other.example."], MISSING),
    ],
)
def test_a_record_is_judged_by_what_it_means(kind: str, value: str, found: list[str], state: str) -> None:
    assert judge(kind, value, found).state == state


def test_what_is_wanted_as_well_contradicts_nothing() -> None:
    found = ["192.0.2.25", "192.0.2.26", "192.0.2.99"]
    verdict = judge("A", "192.0.2.25", found, ["192.0.2.25", "192.0.2.26"])
    assert verdict.others == ("192.0.2.99",)


def test_of_two_that_mean_the_same_one_is_too_many() -> None:
    assert judge("TXT", SPF, [SPF, "v=spf1 mx ~all"]).others == ("v=spf1 mx ~all",)


def test_what_does_no_harm_is_told_apart() -> None:
    verdict = judge("MX", "10 mail.example.org.", ["10 mail.example.org.", "20 second.example.", "0 old.example."])
    assert (verdict.others, verdict.beside) == (("0 old.example.",), ("20 second.example.",))
