# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds reports up and says them in lines for people: who sends as us, and what failed."""

from __future__ import annotations

import datetime
import email
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .dmarc import DISPOSITIONS, DmarcReport
from .dmarc import read as read_dmarc
from .messages import ReportError, attachments, harmless
from .tls import TlsReport
from .tls import read as read_tls

SHOWN_SOURCES = 30


@dataclass
class Collected:
    """What messages brought, each report once."""

    dmarc: dict[tuple[str, str, str], DmarcReport] = field(default_factory=dict)
    tls: dict[tuple[str, str, str, str], TlsReport] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    others: int = 0
    """Messages without anything that looks like a report."""

    def add(self, raw: bytes) -> None:
        subject = "a message"
        found = False
        try:
            message = email.message_from_bytes(raw)
            subject = harmless(message.get("Subject", "no subject"), 60)
            for text in attachments(message):
                found = True
                if text[:1] == b"{":
                    for tls in read_tls(text):
                        self.tls[tls.sender, tls.number, tls.domain, tls.policy] = tls
                else:
                    dmarc = read_dmarc(text)
                    self.dmarc[dmarc.receiver, dmarc.number, dmarc.domain] = dmarc
        except ReportError as error:
            self.unreadable.append(f"{subject}: {error}")
            return
        except RecursionError:
            self.unreadable.append(f"{subject}: has parts in parts in parts")
            return
        self.others += not found


@dataclass
class Source:
    """What was seen of one address."""

    count: int = 0
    passed: int = 0
    dispositions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DISPOSITIONS, 0))
    envelope: set[str] = field(default_factory=set)
    receivers: set[str] = field(default_factory=set)


def by_source(reports: Iterable[DmarcReport]) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    for report in reports:
        for row in report.rows:
            source = sources.setdefault(row.source, Source())
            source.count += row.count
            source.passed += row.count if row.passed else 0
            source.dispositions[row.disposition] += row.count
            source.envelope |= set(row.envelope)
            source.receivers.add(report.receiver)
    return sources


def table(collected: Collected, names: Mapping[str, str]) -> list[str]:
    """The lines; `names` are those of addresses, where they are known."""
    reported = {report.domain for report in collected.dmarc.values()} | {each.domain for each in collected.tls.values()}
    domains = sorted(reported)
    lines: list[str] = []
    for domain in domains:
        dmarc = [report for report in collected.dmarc.values() if report.domain == domain]
        tls = [report for report in collected.tls.values() if report.domain == domain]
        lines += ["", domain, *of_dmarc(dmarc, names), *of_tls(tls)]
    if not domains:
        lines += ["", "No report has come."]
    if collected.others:
        lines += ["", f"{plural(collected.others, 'message')} without a report."]
    lines += [f"Not read: {each}" for each in collected.unreadable]
    return lines[1:]


def of_dmarc(reports: Sequence[DmarcReport], names: Mapping[str, str]) -> Iterator[str]:
    if not reports:
        return
    sources = by_source(reports)
    count, passed = sum(each.count for each in sources.values()), sum(each.passed for each in sources.values())
    receivers = {report.receiver for report in reports}
    yield f"  {plural(len(reports), 'report')} of {plural(len(receivers), 'receiver')}, {period(reports)}"
    yield f"  {plural(count, 'message')} in its name, {passed} proved it, {count - passed} did not"
    # Those that failed first, the most of them above.
    order = sorted(sources.items(), key=lambda pair: (-(pair[1].count - pair[1].passed), -pair[1].count, pair[0]))
    for address, source in order[:SHOWN_SOURCES]:
        yield f"    {source_line(address, source, names.get(address, ''))}"
    if len(order) > SHOWN_SOURCES:
        yield f"    and {len(order) - SHOWN_SOURCES} more addresses"


def source_line(address: str, source: Source, name: str) -> str:
    who = f"{address} ({harmless(name, 60)})" if name else address
    failed = source.count - source.passed
    parts = [f"{source.passed} passed"] if source.passed else []
    parts += [f"{failed} FAILED"] if failed else []
    parts += [f"{source.dispositions[each]} {word}" for each, word in TREATED.items() if source.dispositions[each]]
    line = f"{who}: {', '.join(parts)}"
    if failed:
        line += f"; for {', '.join(sorted(source.envelope)) or 'nobody'}; told by {', '.join(sorted(source.receivers))}"
    return line


TREATED = {"quarantine": "put into Junk", "reject": "refused"}


def of_tls(reports: Sequence[TlsReport]) -> Iterator[str]:
    if not reports:
        return
    good, bad = sum(report.successful for report in reports), sum(report.failed for report in reports)
    senders = {report.sender for report in reports}
    yield f"  {plural(len(reports), 'report')} on encryption by {plural(len(senders), 'sender')}, {period(reports)}"
    yield f"  {plural(good + bad, 'session')}, {bad} failed"
    failures: dict[tuple[str, str], tuple[int, set[str]]] = {}
    for report in reports:
        for failure in report.failures:
            count, told = failures.get((failure.kind, failure.server), (0, set()))
            failures[failure.kind, failure.server] = (count + failure.count, told | {report.sender})
    for (kind, server), (count, told) in sorted(failures.items(), key=lambda pair: (-pair[1][0], pair[0])):
        where = f" at {server}" if server else ""
        yield f"    {count} FAILED{where}: {kind}; told by {', '.join(sorted(told))}"


def period(reports: Sequence[DmarcReport] | Sequence[TlsReport]) -> str:
    begin, end = min(report.begin for report in reports), max(report.end for report in reports)
    return f"{day(begin)} to {day(end)}"


def day(seconds: int) -> str:
    try:
        return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d}"
    except (OverflowError, OSError, ValueError):
        return "some day"


def plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
