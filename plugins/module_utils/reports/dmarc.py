# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DMARC aggregate reports (RFC 7489, section 7.2 and appendix C)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from xml.etree import ElementTree

from .messages import ReportError, harmless

DOCTYPE = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
DISPOSITIONS = ("none", "quarantine", "reject")
MOST_ROWS = 100_000


@dataclass(frozen=True)
class Row:
    """What a receiver saw of one source: how many messages, what it did, and which proofs were aligned with From."""

    source: str
    count: int
    disposition: str
    dkim: bool
    spf: bool
    envelope: tuple[str, ...]
    """Domains that signed, or that the envelope named, aligned or not."""

    @property
    def passed(self) -> bool:
        return self.dkim or self.spf


@dataclass(frozen=True)
class DmarcReport:
    """One receiver's report on one domain; times are seconds since 1970."""

    receiver: str
    number: str
    domain: str
    begin: int
    end: int
    rows: tuple[Row, ...]


def read(text: bytes) -> DmarcReport:
    """Read the XML; ReportError when it is no such report."""
    if DOCTYPE.search(text):
        raise ReportError("declares entities, which no report needs")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ReportError(f"is no XML: {error}") from None
    for element in root.iter():
        # Some receivers put their elements into a namespace, some do not.
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != "feedback":
        raise ReportError(f"is XML, but not of DMARC: {harmless(root.tag, 30)}")
    records = root.findall("record")
    if len(records) > MOST_ROWS:
        raise ReportError(f"has {len(records)} records, more than any report")
    return DmarcReport(
        receiver=text_of(root, "report_metadata/org_name"),
        number=text_of(root, "report_metadata/report_id"),
        domain=text_of(root, "policy_published/domain").lower().rstrip("."),
        begin=number_of(root, "report_metadata/date_range/begin"),
        end=number_of(root, "report_metadata/date_range/end"),
        rows=tuple(row_of(record) for record in records),
    )


def row_of(record: ElementTree.Element) -> Row:
    source = text_of(record, "row/source_ip")
    try:
        source = str(ipaddress.ip_address(source))
    except ValueError:
        raise ReportError(f"{source!r} is not an address") from None
    disposition = text_of(record, "row/policy_evaluated/disposition").lower()
    proofs = (*record.findall("auth_results/dkim/domain"), *record.findall("auth_results/spf/domain"))
    named = [element.text or "" for element in proofs]
    return Row(
        source=source,
        count=number_of(record, "row/count"),
        disposition=disposition if disposition in DISPOSITIONS else "none",
        dkim=text_of(record, "row/policy_evaluated/dkim", "fail") == "pass",
        spf=text_of(record, "row/policy_evaluated/spf", "fail") == "pass",
        envelope=tuple(sorted({harmless(each.lower(), 60) for each in named if each.strip()})),
    )


def text_of(element: ElementTree.Element, path: str, otherwise: str | None = None) -> str:
    found = element.findtext(path)
    if found is None or not found.strip():
        if otherwise is None:
            raise ReportError(f"lacks {path}")
        return otherwise
    return harmless(found)


def number_of(element: ElementTree.Element, path: str) -> int:
    text = text_of(element, path)
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise ReportError(f"{path}: {text!r} is not a number")
    return int(text)
