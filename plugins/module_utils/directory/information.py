# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the directory holds, for people and playbooks to look at; no password or hash is in it."""

from __future__ import annotations

import os
from typing import Any

from . import store
from .model import (
    ALIAS_MANAGED_BY,
    ALIAS_REMOVED_AT,
    DESTINATIONS,
    DISPLAY_NAME,
    MANAGED_BY,
    QUOTA,
    REMOVED_AT,
    STATE,
    Directory,
    Domain,
)
from .names import domain_name, domain_of


def information(path: str, domain: str | None = None) -> dict[str, Any]:
    """Return domains, mailboxes and aliases, of one domain or of all; a database that is not there is empty."""
    if not os.path.exists(path):
        return {"exists": False, "schema": 0, "domains": [], "mailboxes": [], "aliases": []}
    with store.connect(path) as connection:
        schema = store.schema_version(connection)
        with store.in_memory(connection) as copy:
            directory, passwordless = store.read(copy), store.read_passwordless(copy)
    return {"exists": True, "schema": schema, **_described(directory, passwordless, _wanted(domain))}


def _wanted(domain: str | None) -> str | None:
    return None if domain is None else domain_name(domain)


def _described(directory: Directory, passwordless: frozenset[str], wanted: str | None) -> dict[str, Any]:
    return {
        "domains": [
            _domain(row) for name, row in sorted(directory.domains.items()) if wanted is None or name == wanted
        ],
        "mailboxes": [
            {
                "address": address,
                "display_name": row[DISPLAY_NAME],
                "quota": row[QUOTA],
                "state": row[STATE],
                "may_send_as": list(directory.senders.get(address, ())),
                "sending_limits": dict(directory.sending_limits.get(address, ())),
                "has_password": address not in passwordless,
                "managed_by": row[MANAGED_BY],
                "removed_at": row[REMOVED_AT],
            }
            for address, row in sorted(directory.mailboxes.items())
            if wanted is None or domain_of(address) == wanted
        ],
        "aliases": [
            {
                "address": address,
                "destinations": list(row[DESTINATIONS]),
                "managed_by": row[ALIAS_MANAGED_BY],
                "removed_at": row[ALIAS_REMOVED_AT],
            }
            for address, row in sorted(directory.aliases.items())
            if wanted is None or domain_of(address) == wanted
        ],
    }


def _domain(row: Domain) -> dict[str, Any]:
    relay = None
    if row.nexthop:
        recipients = None if row.relay_recipients is None else list(row.relay_recipients)
        relay = {"nexthop": row.nexthop, "recipients": recipients}
    return {
        "name": row.name,
        "kind": row.kind,
        "alias_of": row.alias_of or None,
        "relay_to": relay,
        "catch_all": list(row.catch_all),
        "expressions": [{"pattern": rule.pattern, "destinations": list(rule.destinations)} for rule in row.expressions],
        "default_quota": row.default_quota,
        "limits": row.limits._asdict(),
        "sending_limits": dict(row.sending_limits),
        "managed_by": row.managed_by,
        "removed_at": row.removed_at,
    }
