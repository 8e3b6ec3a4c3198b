# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.postoffice.mail.plugins.module_utils.reports import dmarc, messages, tls
from ansible_collections.postoffice.mail.plugins.module_utils.reports.table import Collected, table

DAY = 86400
RECORD = """
<record><row><source_ip>{source}</source_ip><count>{count}</count>
<policy_evaluated><disposition>{disposition}</disposition><dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated></row>
<identifiers><header_from>example.org</header_from></identifiers>
<auth_results><dkim><domain>{signer}</domain><result>pass</result></dkim>
<spf><domain>{signer}</domain><result>pass</result></spf></auth_results></record>"""
GOOD = {
    "source": "192.0.2.25",
    "count": 12,
    "disposition": "none",
    "dkim": "pass",
    "spf": "fail",
    "signer": "example.org",
}
BAD = {**GOOD, "source": "203.0.113.7", "count": 2, "disposition": "reject", "dkim": "fail", "signer": "bad.example"}


def xml(*records: dict[str, Any], number: str = "1", attributes: str = "") -> bytes:
    return (
        f'<?xml version="1.0"?><feedback{attributes}><report_metadata><org_name>receiver.example</org_name>'
        f"<report_id>{number}</report_id><date_range><begin>{20000 * DAY}</begin><end>{20001 * DAY}</end></date_range>"
        "</report_metadata><policy_published><domain>Example.org</domain><p>reject</p></policy_published>"
        f"{''.join(RECORD.format(**record) for record in records)}</feedback>"
    ).encode()


def tls_json(**changes: Any) -> bytes:
    report = {
        "organization-name": "sender.example",
        "date-range": {"start-datetime": "2026-10-01T00:00:00Z", "end-datetime": "2026-10-01T23:59:59Z"},
        "report-id": "7",
        "policies": [
            {
                "policy": {"policy-type": "tlsa", "policy-domain": "example.org"},
                "summary": {"total-successful-session-count": 40, "total-failure-session-count": 3},
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "receiving-mx-hostname": "mail.example.org",
                        "failed-session-count": 3,
                    }
                ],
            }
        ],
    }
    return json.dumps({**report, **changes}).encode()


def zipped(content: bytes, *more: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("report.xml", *more):
            archive.writestr(name, content)
    return stream.getvalue()


def mail(content: bytes, maintype: str = "application", subtype: str = "gzip") -> bytes:
    message = EmailMessage()
    message["Subject"] = "Report Domain: example.org"
    message.set_content("A report is attached.")
    message.add_attachment(content, maintype=maintype, subtype=subtype, filename="report")
    return message.as_bytes()


def told(*raw: bytes, names: dict[str, str] | None = None) -> list[str]:
    collected = Collected()
    for each in raw:
        collected.add(each)
    return table(collected, names or {})


@pytest.mark.parametrize("pack", [gzip.compress, zipped, bytes])
def test_who_sends_as_us_is_said_and_who_failed_comes_first(pack: Callable[[bytes], bytes]) -> None:
    lines = told(mail(pack(xml(GOOD, BAD))), names={"192.0.2.25": "mail.example.org"})
    assert lines == [
        "example.org",
        "  1 report of 1 receiver, 2024-10-04 to 2024-10-05",
        "  14 messages in its name, 12 proved it, 2 did not",
        "    203.0.113.7: 2 FAILED, 2 refused; for bad.example; told by receiver.example",
        "    192.0.2.25 (mail.example.org): 12 passed",
    ]


def test_a_report_that_comes_twice_counts_once() -> None:
    once = mail(gzip.compress(xml(GOOD)))
    assert told(once, once) == told(once)
    assert told(once, mail(gzip.compress(xml(GOOD, number="2"))))[2].startswith("  24 messages")


def test_a_namespace_makes_no_difference() -> None:
    assert told(mail(xml(GOOD, attributes=' xmlns="urn:ietf:params:xml:ns:dmarc-2.0"'))) == told(mail(xml(GOOD)))


def test_encryption_that_failed_is_said() -> None:
    assert told(mail(gzip.compress(tls_json()), subtype="tlsrpt+gzip")) == [
        "example.org",
        "  1 report on encryption by 1 sender, 2026-10-01 to 2026-10-01",
        "  43 sessions, 3 failed",
        "    3 FAILED at mail.example.org: certificate-expired; told by sender.example",
    ]


def test_mail_without_a_report_is_counted() -> None:
    message = EmailMessage()
    message.set_content("Hello.")
    assert told(message.as_bytes()) == ["No report has come.", "", "1 message without a report."]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'<!DOCTYPE x [<!ENTITY a "b">]><feedback/>', "declares entities"),
        (b"<feedback>", "is no XML"),
        (b"<html></html>", "is XML, but not of DMARC: html"),
        (b"<feedback></feedback>", "lacks report_metadata/org_name"),
        (xml({**GOOD, "source": "nowhere"}), "'nowhere' is not an address"),
        (xml({**GOOD, "count": "-1"}), "row/count: '-1' is not a number"),
        (b"\x1f\x8bnonsense", "cannot be unpacked"),
        (b"PK\x03\x04nonsense", "cannot be unpacked"),
        (zipped(xml(GOOD), "second"), "an archive of 2 files is no report"),
        (b"{}", "is JSON, but not a report on TLS"),
        (b'{"policies": 5}', "is not a report on TLS"),
        (tls_json(policies=[{}]), "is not a report on TLS"),
        (gzip.compress(b"<" + b" " * (messages.SIZE_LIMIT + 1)), "is larger than 20 MB"),
        (zipped(b"<" + b" " * (messages.SIZE_LIMIT + 1)), "is larger than 20 MB"),
    ],
)
def test_what_cannot_be_read_is_named_and_the_rest_counts(content: bytes, said: str) -> None:
    lines = told(mail(content), mail(xml(GOOD)))
    assert lines[0] == "example.org"
    assert lines[-1].startswith(f"Not read: Report Domain: example.org: {said}")


def test_nothing_that_strangers_write_reaches_a_terminal_as_it_is() -> None:
    evil = xml({**BAD, "signer": "evil\x9b31m.example"}).replace(b"receiver.example", b"re\xc2\x9b2Jceiver")
    assert all(character.isprintable() for line in told(mail(evil)) for character in line)


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_report_or_an_error(content: bytes) -> None:
    for read in (dmarc.read, tls.read):
        with pytest.raises(messages.ReportError):
            read(content)


@given(st.binary(max_size=300))
def test_no_attachment_ends_the_reading(content: bytes) -> None:
    assert told(content, mail(xml(GOOD)))[0] == "example.org"


def test_parts_within_parts_end_nothing() -> None:
    deep = b"".join(
        b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (number, number) for number in range(3000)
    )
    assert told(deep, mail(xml(GOOD)))[0] == "example.org"


@given(st.binary(max_size=500))
def test_no_message_of_any_kind_does(content: bytes) -> None:
    assert told(content, b"Content-Type: " + content, mail(xml(GOOD)))[0] == "example.org"
