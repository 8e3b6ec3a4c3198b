# SPDX-License-Identifier: GPL-3.0-or-later
"""Two answers to "where does mail to this address go": Postfix's way with the published tables, and a plain model."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.postoffice.mail.plugins.module_utils.directory import store
from ansible_collections.postoffice.mail.plugins.module_utils.directory.checks import check
from ansible_collections.postoffice.mail.plugins.module_utils.directory.model import Directory
from ansible_collections.postoffice.mail.plugins.module_utils.directory.parse import parse
from ansible_collections.postoffice.mail.plugins.module_utils.directory.planning import Policy, plan
from ansible_collections.postoffice.mail.plugins.module_utils.directory.publishing import (
    Settings,
    expression_rules,
    publish,
)
from ansible_collections.postoffice.mail.plugins.module_utils.directory.reconcile import reconcile

NOW = 1_750_000_000
HASH = "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$N0YopbRWCoGQUmoNQWhtzQ$awUj5jz6jY5YkDwoD8BWIg"
INVENTORY = Policy("inventory", NOW)


def apply(database: Path, structure: list[dict[str, Any]], policy: Policy = INVENTORY, **options: Any) -> Any:
    """Bring a database to a structure and return the plan."""
    return reconcile(str(database), lambda _stored: parse(structure, policy.managed_by), policy, **options)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def rows(path: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    with opened(path) as connection, closing(connection.execute(query, values)) as cursor:
        return cursor.fetchall()


@contextmanager
def published(database: Path) -> Iterator[Postfix]:
    """Publish a database beside it and look things up in the copy."""
    folder = database.parent / f"{database.name}.published"
    publish(Settings(str(database), str(folder)))
    with opened(folder / "lookup.sqlite3") as tables:
        yield Postfix(tables, (folder / "expressions.pcre").read_text().splitlines())


@contextmanager
def in_views(structure: list[dict[str, Any]]) -> Iterator[tuple[Postfix, Directory]]:
    """Look things up in the views of a database in memory."""
    declared = parse(structure, "inventory")
    made = plan(Directory(), declared, INVENTORY)
    check(declared, made)
    with store.in_memory() as connection:
        store.apply(connection, made, {address: declared.hashes[address] for address in made.passwords})
        rules = list(expression_rules(connection))
        for name in ("alias", "catch_all", "domain", "refused_recipient", "relay_recipient"):
            connection.execute(f"CREATE TEMP TABLE postfix_{name} AS SELECT * FROM main.postfix_{name}").close()
        yield Postfix(connection, rules), store.read(connection)


class Postfix:
    """Looks addresses up in the order of virtual_alias_maps: aliases, expressions, catch-all.

    ``tables`` has what is published, or the views that it is published from.  Postfix's pcre tables do not regard
    case unless a flag says so.
    """

    def __init__(self, tables: sqlite3.Connection, expressions: Iterable[str]) -> None:
        self.tables = tables
        self.rules = [
            (re.compile(match[1].replace(r"\/", "/"), re.IGNORECASE), match[2].split(", "))
            for line in expressions
            if (match := re.fullmatch(r"/(.*)/ (.*)", line))
        ]

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(self.tables.execute(query, values)) as cursor:
            return cursor.fetchall()

    def recipient(self, address: str) -> frozenset[str] | None:
        """Return where mail finally goes, None when it is refused at RCPT."""
        base, _tag, domain = parts(address)
        if self.ask("SELECT 1 FROM postfix_refused_recipient WHERE address = ?", f"{base}@{domain}"):
            return None
        kind = self.ask("SELECT class FROM postfix_domain WHERE name = ?", domain)
        if kind == [("relay",)]:
            known = (f"{base}@{domain}", address, f"@{domain}")
            query = "SELECT 1 FROM postfix_relay_recipient WHERE address IN (?, ?, ?)"
            return frozenset({address}) if self.ask(query, *known) else None
        if kind != [("local",)] or not self.expand(address):
            return None
        return frozenset(self.walk(address, 0))

    def walk(self, address: str, depth: int) -> Iterator[str]:
        assert depth < 50, "an alias loop"
        found = self.expand(address)
        if found in ([], [address]):
            yield address
            return
        for destination in found:
            if destination == address:
                yield address
            else:
                yield from self.walk(destination, depth + 1)

    def expand(self, address: str) -> list[str]:
        base, tag, domain = parts(address)
        query = "SELECT destination, keep_extension FROM postfix_alias WHERE address = ?"
        found = [tagged(name, tag) if keep else name for name, keep in self.ask(query, f"{base}@{domain}")]
        if found:
            return found
        for pattern, destinations in self.rules:
            if match := pattern.fullmatch(address):
                return [
                    re.sub(r"\$\{(\d)\}", lambda at, match=match: match[int(at[1])] or "", name)
                    for name in destinations
                ]
        return [name for (name,) in self.ask("SELECT destination FROM postfix_catch_all WHERE domain = ?", domain)]

    def senders(self, login: str) -> set[str]:
        return {address for (address,) in self.ask("SELECT address FROM postfix_sender WHERE login = ?", login)}


class Model:
    """The same, computed from the rows by the rules in plain words."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.domains = {name: row for name, row in directory.domains.items() if row.removed_at is None}

    def recipient(self, address: str) -> frozenset[str] | None:
        base, _tag, name = parts(address)
        domain = self.domains.get(name)
        if domain is None:
            return None
        if domain.kind == "relay":
            listed = domain.relay_recipients
            return frozenset({address}) if listed is None or f"{base}@{name}" in listed or address in listed else None
        found = self.finally_at(address, catch_all=True)
        return frozenset(found) if found else None

    def finally_at(self, address: str, catch_all: bool) -> set[str]:
        base, tag, name = parts(address)
        domain = self.domains.get(name)
        if domain is None or domain.kind == "relay":
            return {address}
        home = self.domains[domain.alias_of or name]
        canonical = f"{base}@{home.name}"
        mailbox = self.directory.mailboxes.get(canonical)
        if mailbox and mailbox[5] is None:
            return {tagged(canonical, tag)} if mailbox[3] in ("active", "receive-only") else set()
        alias = self.directory.aliases.get(canonical)
        if alias and alias[3] is None:
            return {end for name in alias[1] for end in self.finally_at(self.pass_on(name, tag), False)}
        if mailbox:
            return set()
        for rule in home.expressions:
            if re.fullmatch(rf"(?:{rule.pattern})(?:\+.*)?", base + tag, re.IGNORECASE):
                ends = {end for name in rule.destinations for end in self.finally_at(name, False)}
                if ends:
                    return ends
        if not catch_all:
            return set()
        return {end for name in home.catch_all for end in self.finally_at(name, False)}

    def pass_on(self, destination: str, tag: str) -> str:
        """A tag stays with what is ours, unless the destination has one itself."""
        _base, own, name = parts(destination)
        domain = self.domains.get(name)
        return tagged(destination, tag) if domain and domain.kind != "relay" and not own else destination


def parts(address: str) -> tuple[str, str, str]:
    local, _at, domain = address.rpartition("@")
    base, plus, tag = local.partition("+")
    return base, plus + tag, domain


def tagged(address: str, tag: str) -> str:
    local, _at, domain = address.rpartition("@")
    return f"{local}{tag}@{domain}"
