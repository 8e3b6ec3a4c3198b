# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What to do so that the directory becomes what was declared.

``plan`` is a pure function.  Its result is applied whole by ``store``; what is reported as changed, the diff and check
mode all come from it, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from .model import (
    ALIAS_MANAGED_BY,
    ALIAS_REMOVED_AT,
    MANAGED_BY,
    REMOVED_AT,
    AliasRow,
    Declaration,
    Directory,
    Domain,
    MailboxRow,
    SendingLimits,
)
from .names import domain_of

Row = TypeVar("Row")
Item = TypeVar("Item")


class Policy(NamedTuple):
    """How a declaration is to be understood.

    What ``managed_by`` declared earlier and does not any more leaves the directory, as far as ``scope`` goes (None:
    everything): it is disabled, or with ``delete`` deleted, mailboxes ``retention`` seconds after they left.
    ``adopt``: what others manage is taken over when it is declared here.  ``always``: passwords are set although the
    mailbox exists.
    """

    managed_by: str
    now: int
    scope: frozenset[str] | None = None
    delete: bool = False
    retention: int = 30 * 86400
    adopt: bool = False
    always: bool = False


class Stored(NamedTuple):
    """What planning needs to know about stored passwords."""

    passwordless: frozenset[str] = frozenset()
    """mailboxes that have none"""
    hashes: Mapping[str, str] = {}
    """stored hashes of declared mailboxes; only read when passwords are always updated"""
    verified: frozenset[str] = frozenset()
    """mailboxes whose stored hash was made from the declared password"""


NOTHING_STORED = Stored()


@dataclass(slots=True)
class Changes(Generic[Row]):
    """What happens to one kind of object."""

    created: list[Row] = field(default_factory=list)
    updated: list[tuple[Row, Row]] = field(default_factory=list)
    deleted: list[Row] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.created or self.updated or self.deleted)


@dataclass(slots=True)
class Plan:
    """Everything that is to be done, and what the directory then holds."""

    domains: Changes[Domain] = field(default_factory=Changes)
    mailboxes: Changes[MailboxRow] = field(default_factory=Changes)
    aliases: Changes[AliasRow] = field(default_factory=Changes)
    senders: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    """mailbox -> its further senders before and after"""
    sending_limits: dict[str, tuple[SendingLimits, SendingLimits]] = field(default_factory=dict)
    """mailbox -> its own limits before and after"""
    passwords: frozenset[str] = frozenset()
    """mailboxes whose declared password or hash is to be stored"""
    foreign: list[tuple[str, str, str]] = field(default_factory=list)
    """(kind, name, owner) of what is declared here but managed elsewhere; such a plan must not be applied"""
    after: Directory = field(default_factory=Directory)

    @property
    def changed(self) -> bool:
        """Tell whether anything is to be done."""
        rows = self.domains or self.mailboxes or self.aliases
        return bool(rows or self.senders or self.sending_limits or self.passwords)


def plan(current: Directory, wanted: Declaration, policy: Policy, stored: Stored = NOTHING_STORED) -> Plan:
    """Return what makes ``current`` hold what ``wanted`` declares; neither is modified."""
    result = Plan()
    mailboxes = _plan_mailboxes(current, wanted, policy, result)
    aliases = _plan_aliases(current, wanted, policy, mailboxes, result)
    domains = _plan_domains(current, wanted, policy, mailboxes, aliases, result)
    belongings = _Belongings(wanted, mailboxes, result)
    senders = belongings.plan(current.senders, wanted.directory.senders, result.senders)
    limits = belongings.plan(current.sending_limits, wanted.directory.sending_limits, result.sending_limits)
    result.passwords = _passwords_to_set(current, wanted, policy, stored)
    result.after = Directory(domains, mailboxes, senders, aliases, limits)
    return result


def _plan_mailboxes(current: Directory, wanted: Declaration, policy: Policy, result: Plan) -> dict[str, MailboxRow]:
    before, desired = current.mailboxes, wanted.directory.mailboxes
    changes, mine, find = result.mailboxes, policy.managed_by, before.get
    for address, row in desired.items():
        old = find(address)
        if old == row:
            continue
        if old is None:
            changes.created.append(row)
        elif old[MANAGED_BY] != mine and not policy.adopt:
            result.foreign.append(("mailbox", address, old[MANAGED_BY]))
        else:
            changes.updated.append((old, row))
    for address in _leaving(before, desired, policy):
        _retire_mailbox(before[address], policy, changes)
    if not changes:
        return before
    after = dict(before)
    for old in changes.deleted:
        del after[old[0]]
    after.update((row[0], row) for row in changes.created)
    after.update((row[0], row) for _old, row in changes.updated)
    return after


def _leaving(before: Mapping[str, object], desired: Mapping[str, object], policy: Policy) -> set[str]:
    leaving = before.keys() - desired.keys()
    return leaving if policy.scope is None else leaving & policy.scope


def _retire_mailbox(old: MailboxRow, policy: Policy, changes: Changes[MailboxRow]) -> None:
    removed_at = old[REMOVED_AT]
    if old[MANAGED_BY] != policy.managed_by:
        return
    if removed_at is None:
        changes.updated.append((old, (*old[:REMOVED_AT], policy.now)))
    elif policy.delete and removed_at + policy.retention <= policy.now:
        changes.deleted.append(old)


def _plan_aliases(
    current: Directory,
    wanted: Declaration,
    policy: Policy,
    mailboxes: Mapping[str, MailboxRow],
    result: Plan,
) -> dict[str, AliasRow]:
    before, desired = current.aliases, wanted.directory.aliases
    changes, mine, find = result.aliases, policy.managed_by, before.get
    for address, row in desired.items():
        old = find(address)
        if old == row:
            continue
        if old is None:
            changes.created.append(row)
        elif old[ALIAS_MANAGED_BY] != mine and not policy.adopt:
            result.foreign.append(("alias", address, old[ALIAS_MANAGED_BY]))
        else:
            changes.updated.append((old, row))
    for address in _leaving(before, desired, policy):
        _retire_alias(before[address], policy, mailboxes, changes)
    if not changes:
        return before
    after = dict(before)
    for old in changes.deleted:
        del after[old[0]]
    after.update((row[0], row) for row in changes.created)
    after.update((row[0], row) for _old, row in changes.updated)
    return after


def _retire_alias(
    old: AliasRow, policy: Policy, mailboxes: Mapping[str, MailboxRow], changes: Changes[AliasRow]
) -> None:
    """An alias has no mail to keep; it also goes when a mailbox takes its place."""
    if old[ALIAS_MANAGED_BY] != policy.managed_by:
        return
    if policy.delete or old[0] in mailboxes:
        changes.deleted.append(old)
    elif old[ALIAS_REMOVED_AT] is None:
        changes.updated.append((old, (*old[:ALIAS_REMOVED_AT], policy.now)))


def _plan_domains(
    current: Directory,
    wanted: Declaration,
    policy: Policy,
    mailboxes: Mapping[str, MailboxRow],
    aliases: Mapping[str, AliasRow],
    result: Plan,
) -> dict[str, Domain]:
    before, desired = current.domains, wanted.directory.domains
    changes = result.domains
    for name, row in desired.items():
        old = before.get(name)
        if old == row:
            continue
        if old is None:
            changes.created.append(row)
        elif old.managed_by != policy.managed_by and not policy.adopt:
            result.foreign.append(("domain", name, old.managed_by))
        else:
            changes.updated.append((old, row))
    leaving = [
        before[name] for name in _leaving(before, desired, policy) if before[name].managed_by == policy.managed_by
    ]
    if leaving:
        _retire_domains(leaving, policy, before, mailboxes, aliases, changes)
    after = dict(before)
    for old in changes.deleted:
        del after[old.name]
    after.update((row.name, row) for row in changes.created)
    after.update((row.name, row) for _old, row in changes.updated)
    return after


def _retire_domains(
    leaving: list[Domain],
    policy: Policy,
    before: Mapping[str, Domain],
    mailboxes: Mapping[str, MailboxRow],
    aliases: Mapping[str, AliasRow],
    changes: Changes[Domain],
) -> None:
    """A domain stays in service while others still have something in it, and in the table while anybody has."""
    present = {domain_of(address) for address, row in mailboxes.items() if row[REMOVED_AT] is None}
    present.update(domain_of(address) for address, row in aliases.items() if row[ALIAS_REMOVED_AT] is None)
    present.update(
        domain.alias_of
        for domain in before.values()
        if domain.alias_of and domain.removed_at is None and domain.managed_by != policy.managed_by
    )
    kept = {domain_of(address) for address in (*mailboxes, *aliases)} | present
    kept.update(domain.alias_of for domain in before.values() if domain not in leaving)
    for old in leaving:
        if old.name in present:
            continue
        if policy.delete and old.name not in kept:
            changes.deleted.append(old)
        elif old.removed_at is None:
            changes.updated.append((old, old._replace(removed_at=policy.now)))


class _Belongings:
    """What mailboxes have several of; it comes and goes with what is declared of them."""

    def __init__(self, wanted: Declaration, mailboxes: Mapping[str, MailboxRow], result: Plan) -> None:
        self._declared = wanted.directory.mailboxes
        self._mailboxes = mailboxes
        self._foreign = {name for kind, name, _owner in result.foreign if kind == "mailbox"}

    def plan(
        self,
        before: dict[str, tuple[Item, ...]],
        desired: Mapping[str, tuple[Item, ...]],
        changes: dict[str, tuple[tuple[Item, ...], tuple[Item, ...]]],
    ) -> dict[str, tuple[Item, ...]]:
        """Note in ``changes`` what differs, by mailbox, and return what will be."""
        for address in (before.keys() | desired.keys()) - self._foreign:
            old = before.get(address, ())
            if address in self._declared:
                new = desired.get(address, ())
            else:
                new = old if address in self._mailboxes else ()
            if old != new:
                changes[address] = (old, new)
        if not changes:
            return before
        after = dict(before)
        for address, (_old, new) in changes.items():
            after[address] = new
            if not new:
                del after[address]
        return after


def _passwords_to_set(current: Directory, wanted: Declaration, policy: Policy, stored: Stored) -> frozenset[str]:
    """A password once set belongs to its user: it is replaced only when asked for, and only by a different one."""
    before = current.mailboxes
    hashes, plain = wanted.hashes, wanted.passwords
    to_set = {address for given in (hashes, plain) for address in given if address not in before}
    to_set.update(address for address in stored.passwordless if address in hashes or address in plain)
    if policy.always:
        to_set.update(address for address, value in hashes.items() if stored.hashes.get(address) != value)
        to_set.update(plain.keys() - stored.verified)
    return frozenset(to_set)
