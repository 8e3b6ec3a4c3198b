# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a database hold what was declared: read, plan, check, hash, apply."""

from __future__ import annotations

import gc
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from . import passwords, store
from .checks import check
from .migrations import SCHEMA_VERSION
from .model import Declaration, Directory
from .planning import Plan, Policy, Stored, plan

Declare = Callable[[Directory], Declaration]
"""Makes a declaration, knowing what is stored."""


def reconcile(
    path: str,
    declare: Declare,
    policy: Policy,
    *,
    scheme: str = passwords.DEFAULT_SCHEME,
    dry_run: bool = False,
    migrate: bool = True,
) -> Plan:
    """Bring the database at ``path`` to what ``declare`` returns and return what was done.

    A database that does not exist is made, readable for the group of its folder.  With ``dry_run`` nothing is
    written, made or hashed.  Without ``migrate`` a database of an older release is refused, since programs of that
    release may read it.  Raises ``InvalidInput`` or a ``StoreError``; the database is then as it was.
    """
    with _no_collector():
        if dry_run:
            return _predict(path, declare, policy, migrate)
        store.create(path)
        with store.connect(path) as connection:
            if not migrate:
                store.refuse_older(connection, path)
            store.migrate(connection)
            return _Run(connection, declare, policy, scheme).finish()


def validate(declaration: Declaration, policy: Policy) -> Plan:
    """Check a declaration by itself, as if nothing were stored."""
    with _no_collector():
        made = plan(Directory(), declaration, policy)
        check(declaration, made)
        return made


@contextmanager
def _no_collector() -> Iterator[None]:
    """Rows hold no cycles: looking for some in a hundred thousand of them costs more than the work itself."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _predict(path: str, declare: Declare, policy: Policy, migrate: bool) -> Plan:
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        with store.in_memory() as empty:
            return _planned(empty, declare, policy)[1]
    with store.connect(path) as connection:
        if not migrate:
            store.refuse_older(connection, path)
        if store.schema_version(connection) == SCHEMA_VERSION:
            return _planned(connection, declare, policy)[1]
        with store.in_memory(connection) as copy:
            return _planned(copy, declare, policy)[1]


def _planned(connection: sqlite3.Connection, declare: Declare, policy: Policy) -> tuple[Declaration, Plan]:
    with store.snapshot(connection):
        current = store.read(connection)
        declaration = declare(current)
        stored = _read_stored(connection, current, declaration, policy)
    made = plan(current, declaration, policy, stored)
    check(declaration, made)
    return declaration, made


def _read_stored(
    connection: sqlite3.Connection, current: Directory, declaration: Declaration, policy: Policy
) -> Stored:
    passwordless = store.read_passwordless(connection)
    if not policy.always:
        return Stored(passwordless)
    known = current.mailboxes.keys() & (declaration.passwords.keys() | declaration.hashes.keys())
    hashes = store.read_hashes(connection, known) if known else {}
    return Stored(passwordless, hashes, passwords.verified(declaration.passwords, hashes))


class _Run:
    """Hashing takes long, so it is done before the transaction; should others commit meanwhile, plan again."""

    def __init__(self, connection: sqlite3.Connection, declare: Declare, policy: Policy, scheme: str) -> None:
        self.connection = connection
        self.declare = declare
        self.policy = policy
        self.scheme = scheme
        self.hashes: dict[str, str] = {}

    def finish(self) -> Plan:
        while True:
            version = store.data_version(self.connection)
            declaration, made = _planned(self.connection, self.declare, self.policy)
            if not made.changed:
                return made
            hashes = self._hash(declaration, made)
            if self._applied(made, hashes, version):
                return made

    def _hash(self, declaration: Declaration, made: Plan) -> Mapping[str, str]:
        given = declaration.hashes
        plain = {
            address: declaration.passwords[address]
            for address in made.passwords
            if address not in given and address not in self.hashes
        }
        self.hashes.update(passwords.hash_all(plain, self.scheme))
        if not self.hashes:
            return given
        return {address: given.get(address) or self.hashes[address] for address in made.passwords}

    def _applied(self, made: Plan, hashes: Mapping[str, str], version: int) -> bool:
        current = True

        def work() -> None:
            nonlocal current
            current = store.data_version(self.connection) == version
            if current:
                store.apply(self.connection, made, hashes)

        store.write(self.connection, work)
        return current
