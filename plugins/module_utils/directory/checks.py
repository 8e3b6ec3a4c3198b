# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can only be judged with the whole directory in view.

Checked is what was declared, against everything that the directory will then hold: destinations that exist nowhere,
loops, an address that is both mailbox and alias, limits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .model import (
    ALIAS,
    ALIAS_REMOVED_AT,
    DESTINATIONS,
    LOCAL,
    QUOTA,
    RELAY,
    REMOVED_AT,
    Declaration,
    Directory,
    Domain,
    Limits,
)
from .names import domain_of, size_text, without_tag
from .parse import Problems, mailbox_path
from .planning import Plan


def check(declared: Declaration, plan: Plan) -> None:
    """Raise ``InvalidInput`` with every mistake in ``declared``, given what the directory will hold."""
    problems = Problems()
    _Checker(declared, plan.after, problems).run()
    for kind, name, owner in plan.foreign:
        problems.add(
            _path(declared, kind, name),
            f"the {kind} {name} exists already and is managed by {owner!r}; remove it from here, or take it over with"
            " adopt",
        )
    problems.raise_if_any()


def _path(declared: Declaration, kind: str, name: str) -> str:
    if kind == "mailbox":
        return mailbox_path(declared, name)
    return (declared.paths.domains if kind == "domain" else declared.paths.aliases)[name]


class _Checker:
    def __init__(self, declared: Declaration, after: Directory, problems: Problems) -> None:
        self.declared = declared
        self.after = after
        self.problems = problems
        self.domains = {name: domain for name, domain in after.domains.items() if domain.removed_at is None}
        self.expressive = {name for name, domain in self.domains.items() if domain.expressions}

    def run(self) -> None:
        self._check_domains()
        self._check_clashes()
        self._check_destinations()
        self._check_loops()
        self._check_limits()

    def _check_domains(self) -> None:
        paths = self.declared.paths.domains
        for name, domain in self.declared.directory.domains.items():
            if domain.kind == ALIAS:
                self._check_alias_domain(domain, f"{paths[name]}.alias_of")
        for name, domain in self.after.domains.items():
            target = self.declared.directory.domains.get(domain.alias_of)
            if name not in paths and domain.removed_at is None and target and target.kind != LOCAL:
                self.problems.add(paths[target.name], f"{name} is an alias of it, so it must have mailboxes of its own")
        for domain_name in {domain_of(address) for address in self.declared.directory.aliases}:
            if (found := self.domains.get(domain_name)) is None or found.kind != LOCAL:
                self._refuse_aliases_in(domain_name, found)

    def _check_alias_domain(self, domain: Domain, path: str) -> None:
        target = self.domains.get(domain.alias_of)
        if domain.alias_of == domain.name:
            self.problems.add(path, "is the domain itself")
        elif target is None:
            self.problems.add(path, f"the domain {domain.alias_of} does not exist; declare it")
        elif target.kind == ALIAS:
            self.problems.add(path, f"{target.name} is itself an alias of {target.alias_of}; name that domain")
        elif target.kind == RELAY:
            self.problems.add(path, f"{target.name} is relayed; give this domain a relay_to of its own")

    def _refuse_aliases_in(self, name: str, domain: Domain | None) -> None:
        what = "does not exist here" if domain is None else "has no addresses of its own"
        for address in self.declared.directory.aliases:
            if domain_of(address) == name:
                self.problems.add(self.declared.paths.aliases[address], f"the domain {name} {what}")

    def _check_clashes(self) -> None:
        """A mailbox that has left, its mail kept, may be followed by an alias."""
        after, declared = self.after, self.declared.directory
        for address in after.mailboxes.keys() & after.aliases.keys():
            if after.mailboxes[address][REMOVED_AT] is not None or after.aliases[address][ALIAS_REMOVED_AT] is not None:
                continue
            if address in declared.aliases:
                other = mailbox_path(self.declared, address) if address in declared.mailboxes else "stored already"
                path = self.declared.paths.aliases[address]
                self.problems.add(path, f"{address} is a mailbox as well ({other}); to forward copies use Sieve")
            elif address in declared.mailboxes:
                self.problems.add(mailbox_path(self.declared, address), f"{address} is an alias already; remove that")

    # Destinations

    def _destinations(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield the path and the destinations of everything declared that has some."""
        for address, row in self.declared.directory.aliases.items():
            yield self.declared.paths.aliases[address], row[DESTINATIONS]
        for name, domain in self.declared.directory.domains.items():
            path = self.declared.paths.domains[name]
            if domain.catch_all:
                yield f"{path}.catch_all", domain.catch_all
            for index, expression in enumerate(domain.expressions):
                yield f"{path}.expressions[{index}]", expression.destinations

    def _check_destinations(self) -> None:
        for path, destinations in self._destinations():
            for destination in destinations:
                if not self._is_mailbox(destination):
                    self._check_destination(destination, path)

    def _check_destination(self, destination: str, path: str) -> None:
        domain = self.domains.get(domain_of(destination))
        if domain is None or self._next(destination):
            return
        if domain.kind == RELAY:
            if domain.relay_recipients is not None and destination not in domain.relay_recipients:
                self.problems.add(
                    path, f"{destination} is not among the recipients of the relayed domain {domain.name}"
                )
            return
        target = self._canonical(destination)
        known = self.after.mailboxes.get(target)
        if "$" in target:
            self.problems.add(
                path,
                f"{destination} may name a mailbox that does not exist; write it out, such as alice+$1@{domain.name}",
            )
        elif known is None:
            advice = "" if domain.name not in self.expressive else " (an expression cannot be a destination)"
            self.problems.add(path, f"{destination} names no mailbox or alias of {domain.name}{advice}")
        elif known[REMOVED_AT] is not None:
            self.problems.add(path, f"the mailbox {destination} has left the directory")

    def _canonical(self, address: str) -> str:
        """Return what an address of ours means: without tag, and in the domain that its domain is an alias of."""
        local, _at, name = without_tag(address).rpartition("@")
        domain = self.domains.get(name)
        if domain is None or domain.kind == RELAY:
            return address
        return f"{local}@{domain.alias_of or name}"

    def _is_mailbox(self, address: str) -> bool:
        row = self.after.mailboxes.get(address)
        return row is not None and row[REMOVED_AT] is None

    def _next(self, address: str) -> tuple[str, ...]:
        """Return where mail to an address goes at once; a mailbox is its own destination, nothing means nowhere."""
        target = self._canonical(address)
        if self._is_mailbox(target):
            return (target,)
        alias = self.after.aliases.get(target)
        return alias[DESTINATIONS] if alias is not None and alias[ALIAS_REMOVED_AT] is None else ()

    def _check_loops(self) -> None:
        finished: set[str] = set()
        for address in self.declared.directory.aliases:
            if address not in finished:
                self._walk(address, finished)

    def _walk(self, start: str, finished: set[str]) -> None:
        """Depth first without recursion, since chains may be long; a node met again on the way is a loop."""
        way: dict[str, Iterator[str]] = {start: iter(self._next(start))}
        while way:
            node = next(reversed(way))
            for step in way[node]:
                target = self._canonical(step)
                if target in way:
                    if not self._is_mailbox(target):
                        self._report_loop([*list(way)[list(way).index(target) :], target], start)
                elif target not in finished and not self._is_mailbox(target):
                    way[target] = iter(self._next(target))
                    break
            else:
                finished.add(node)
                del way[node]

    def _report_loop(self, loop: list[str], start: str) -> None:
        paths = self.declared.paths.aliases
        where = next((paths[address] for address in loop if address in paths), paths[start])
        self.problems.add(where, "the aliases form a loop: " + " -> ".join(loop))

    # Limits

    def _check_limits(self) -> None:
        limited = {name: domain for name, domain in self.domains.items() if domain.limits != Limits()}
        if not limited:
            return
        touched = {
            domain_of(address) for address in (*self.declared.directory.mailboxes, *self.declared.directory.aliases)
        }
        touched.update(self.declared.directory.domains)
        mailboxes: Counter[str] = Counter()
        quotas: Counter[str] = Counter()
        for address, row in self.after.mailboxes.items():
            name = domain_of(address)
            if name in limited and row[REMOVED_AT] is None:
                mailboxes[name] += 1
                quotas[name] += row[QUOTA]
                self._check_quota(address, row[QUOTA], limited[name])
        aliases = Counter(
            domain_of(address) for address, row in self.after.aliases.items() if row[ALIAS_REMOVED_AT] is None
        )
        for name in limited.keys() & touched:
            self._check_counts(limited[name], mailboxes[name], aliases[name], quotas[name])

    def _check_quota(self, address: str, quota: int, domain: Domain) -> None:
        most = domain.limits.max_quota
        if address not in self.declared.directory.mailboxes:
            return
        if most is not None and (quota == 0 or quota > most):
            shown = size_text(quota) if quota else "no limit"
            path = mailbox_path(self.declared, address)
            self.problems.add(f"{path}.quota", f"{shown} is more than the {size_text(most)} that {domain.name} allows")
        if domain.limits.max_total_quota is not None and quota == 0:
            path = mailbox_path(self.declared, address)
            self.problems.add(f"{path}.quota", f"{domain.name} has a max_total_quota, so each mailbox needs a quota")

    def _check_counts(self, domain: Domain, mailboxes: int, aliases: int, quotas: int) -> None:
        paths = self.declared.paths
        path = paths.domains.get(domain.name) or paths.mailbox_lists.get(domain.name, (domain.name, []))[0]
        limits = domain.limits
        for count, most, what in (
            (mailboxes, limits.max_mailboxes, "mailboxes"),
            (aliases, limits.max_aliases, "aliases"),
        ):
            if most is not None and count > most:
                self.problems.add(path, f"has {count} {what}, its limit is {most}")
        if limits.max_total_quota is not None and quotas > limits.max_total_quota:
            allowed = size_text(limits.max_total_quota)
            self.problems.add(path, f"the quotas add up to {size_text(quotas)}, its limit is {allowed}")
