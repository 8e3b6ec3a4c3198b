# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports on TLS (RFC 8460)."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .messages import ReportError, harmless


@dataclass(frozen=True)
class Failure:
    """How often an encrypted session failed in one way, at one server of ours."""

    kind: str
    server: str
    count: int


@dataclass(frozen=True)
class TlsReport:
    """One sender's report on one domain and one policy; times are seconds since 1970."""

    sender: str
    number: str
    domain: str
    policy: str
    begin: int
    end: int
    successful: int
    failed: int
    failures: tuple[Failure, ...]


def read(text: bytes) -> list[TlsReport]:
    """Read the JSON; ReportError when it is no such report."""
    try:
        report = json.loads(text)
        if "policies" not in report:
            raise ReportError("is JSON, but not a report on TLS")
        return [of_policy(report, each) for each in report["policies"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ReportError(f"is not a report on TLS: {type(error).__name__} {harmless(error, 60)}") from None


def of_policy(report: Mapping[str, Any], policy: Mapping[str, Any]) -> TlsReport:
    summary = policy["summary"]
    return TlsReport(
        sender=harmless(report["organization-name"]),
        number=harmless(report["report-id"]),
        domain=harmless(policy["policy"]["policy-domain"]).lower().rstrip("."),
        policy=harmless(policy["policy"]["policy-type"], 30),
        begin=seconds(report["date-range"]["start-datetime"]),
        end=seconds(report["date-range"]["end-datetime"]),
        successful=counted(summary["total-successful-session-count"]),
        failed=counted(summary["total-failure-session-count"]),
        failures=tuple(
            Failure(
                harmless(each["result-type"], 40),
                harmless(each.get("receiving-mx-hostname") or each.get("receiving-ip") or "", 60),
                counted(each.get("failed-session-count", 0)),
            )
            for each in policy.get("failure-details") or ()
        ),
    )


def counted(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**15:
        raise ReportError(f"{harmless(value, 30)!r} is not a number of sessions")
    return value


def seconds(value: str) -> int:
    return int(datetime.datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp())
