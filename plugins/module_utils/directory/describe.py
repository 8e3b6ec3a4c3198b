# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan in words: what is returned and shown as a diff.  Every object is named, no password or hash ever is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .model import (
    ALIAS_MANAGED_BY,
    ALIAS_REMOVED_AT,
    DESTINATIONS,
    DISPLAY_NAME,
    MANAGED_BY,
    QUOTA,
    REMOVED_AT,
    STATE,
    AliasRow,
    Domain,
    MailboxRow,
    SendingLimits,
)
from .names import size_text
from .planning import Plan


class Change(NamedTuple):
    """One object that a plan touches; ``before`` and ``after`` are its lines in a diff."""

    type: str
    name: str
    action: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def changes(plan: Plan) -> Iterator[Change]:
    """Yield what ``plan`` does, object by object, in a stable order."""
    yield from sorted(_domain_changes(plan))
    yield from sorted(_mailbox_changes(plan))
    yield from sorted(_alias_changes(plan))


def summary(plan: Plan) -> dict[str, dict[str, int]]:
    """Count what ``plan`` does: type of object -> action -> number."""
    counted: Counter[tuple[str, str]] = Counter((change.type, change.action) for change in changes(plan))
    actions = ("create", "update", "disable", "restore", "delete")
    return {kind: {action: counted[kind, action] for action in actions} for kind in ("domain", "mailbox", "alias")}


def diff(plan: Plan, path: str) -> dict[str, str]:
    """Return a prepared diff of ``plan`` as Ansible shows it."""
    before: list[str] = []
    after: list[str] = []
    for change in changes(plan):
        before += change.before
        after += change.after
    return {
        "before_header": path,
        "after_header": path,
        "before": "".join(f"{line}\n" for line in before),
        "after": "".join(f"{line}\n" for line in after),
    }


def _action(removed_before: int | None, removed_after: int | None) -> str:
    if removed_before is None and removed_after is not None:
        return "disable"
    return "restore" if removed_before is not None and removed_after is None else "update"


def _mailbox_changes(plan: Plan) -> Iterator[Change]:
    rows: dict[str, tuple[MailboxRow | None, MailboxRow | None]] = {}
    for address in (*plan.passwords, *plan.senders, *plan.sending_limits):
        row = plan.after.mailboxes.get(address)
        rows[address] = (row, row)
    rows.update((row[0], (None, row)) for row in plan.mailboxes.created)
    rows.update((new[0], (old, new)) for old, new in plan.mailboxes.updated)
    rows.update((row[0], (row, None)) for row in plan.mailboxes.deleted)
    for address, (old, new) in rows.items():
        senders = plan.senders.get(address) or (plan.after.senders.get(address, ()),) * 2
        sets_password = address in plan.passwords
        limits = plan.sending_limits.get(address) or (plan.after.sending_limits.get(address, ()),) * 2
        before = _mailbox_lines(old, senders[0], limits[0], "kept" if sets_password and old else "")
        after = _mailbox_lines(new, senders[1], limits[1], "set" if sets_password else "")
        if old is None:
            action = "create"
        else:
            action = "delete" if new is None else _action(old[REMOVED_AT], new[REMOVED_AT])
        yield Change("mailbox", address, action, before, after)


def _mailbox_lines(
    row: MailboxRow | None, senders: tuple[str, ...], limits: SendingLimits, password: str
) -> tuple[str, ...]:
    if row is None:
        return ()
    return _lines(
        f"mailbox {row[0]}",
        {
            "state": row[STATE],
            "removed": _removed(row[REMOVED_AT]),
            "display name": row[DISPLAY_NAME],
            "quota": size_text(row[QUOTA]) if row[QUOTA] else "",
            "may send as": ", ".join(senders),
            "sends at most": _sending_text(limits),
            "password": password,
            "managed by": row[MANAGED_BY],
        },
    )


def _alias_changes(plan: Plan) -> Iterator[Change]:
    for row in plan.aliases.created:
        yield Change("alias", row[0], "create", (), _alias_lines(row))
    for old, new in plan.aliases.updated:
        action = _action(old[ALIAS_REMOVED_AT], new[ALIAS_REMOVED_AT])
        yield Change("alias", new[0], action, _alias_lines(old), _alias_lines(new))
    for row in plan.aliases.deleted:
        yield Change("alias", row[0], "delete", _alias_lines(row), ())


def _alias_lines(row: AliasRow) -> tuple[str, ...]:
    return _lines(
        f"alias {row[0]}",
        {
            "removed": _removed(row[ALIAS_REMOVED_AT]),
            "destinations": ", ".join(row[DESTINATIONS]),
            "managed by": row[ALIAS_MANAGED_BY],
        },
    )


def _domain_changes(plan: Plan) -> Iterator[Change]:
    for row in plan.domains.created:
        yield Change("domain", row.name, "create", (), _domain_lines(row))
    for old, new in plan.domains.updated:
        yield Change(
            "domain", new.name, _action(old.removed_at, new.removed_at), _domain_lines(old), _domain_lines(new)
        )
    for row in plan.domains.deleted:
        yield Change("domain", row.name, "delete", _domain_lines(row), ())


def _domain_lines(row: Domain) -> tuple[str, ...]:
    limits = row.limits
    described = {
        "alias of": row.alias_of,
        "relayed to": row.nexthop,
        "relayed recipients": ", ".join(row.relay_recipients or ()),
        "removed": _removed(row.removed_at),
        "catch-all": ", ".join(row.catch_all),
        "default quota": size_text(row.default_quota) if row.default_quota else "",
        "mailboxes at most": "" if limits.max_mailboxes is None else str(limits.max_mailboxes),
        "aliases at most": "" if limits.max_aliases is None else str(limits.max_aliases),
        "quota at most": size_text(limits.max_quota) if limits.max_quota else "",
        "quotas together at most": size_text(limits.max_total_quota) if limits.max_total_quota else "",
        "mailboxes send at most": _sending_text(row.sending_limits),
        "managed by": row.managed_by,
    }
    rules = tuple(f"  expression {rule.pattern}: {', '.join(rule.destinations)}" for rule in row.expressions)
    return (*_lines(f"domain {row.name}", described), *rules)


def _sending_text(limits: SendingLimits) -> str:
    return ", ".join(f"{name} {most or 'without limit'}" for name, most in limits)


def _removed(at: int | None) -> str:
    return "" if at is None else "yes, kept"


def _lines(title: str, described: Mapping[str, str]) -> tuple[str, ...]:
    return (f"{title}:", *(f"  {key}: {value}" for key, value in described.items() if value))
