# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One object at a time: what the modules ``domain``, ``mailbox`` and ``alias`` declare.

An option that is not given (None) leaves what is stored as it is.  Names of options stand in for paths in errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from . import names
from .errors import InvalidInput
from .model import (
    ALIAS_MANAGED_BY,
    DISPLAY_NAME,
    LOCAL,
    MANAGED_BY,
    QUOTA,
    STATE,
    Declaration,
    Directory,
    Domain,
)
from .parse import Parser
from .planning import Policy

_MAILBOX_OPTIONS = ("password", "password_hash", "display_name", "quota", "state", "may_send_as", "sending_limits")

Options = Mapping[str, object]
Declare = Callable[[Directory], Declaration]


def mailbox(options: Options, policy: Policy) -> tuple[Declare, Policy]:
    """Declare one mailbox; ``state`` absent lets it leave the directory."""
    address = _address(options)
    if options["state"] == "absent":
        return _absent(address, policy, lambda current: current.mailboxes.get(address), MANAGED_BY)
    return partial(_declare_mailbox, address, options, policy), policy._replace(scope=frozenset())


def _declare_mailbox(address: str, options: Options, policy: Policy, current: Directory) -> Declaration:
    local, _at, name = address.rpartition("@")
    entry = _given(options, _MAILBOX_OPTIONS)
    entry["name"] = local
    if (old := current.mailboxes.get(address)) is not None:
        entry.setdefault("display_name", old[DISPLAY_NAME])
        entry.setdefault("quota", names.size_text(old[QUOTA]) if old[QUOTA] else 0)
        entry.setdefault("state", old[STATE])
        entry.setdefault("may_send_as", list(current.senders.get(address, ())))
        entry.setdefault("sending_limits", dict(current.sending_limits.get(address, ())))
    parser = Parser(policy.managed_by)
    parser.mailboxes([entry], "mailbox", _local_domain(current, name))
    return _finished(parser, "mailbox[0]")


def alias(options: Options, policy: Policy) -> tuple[Declare, Policy]:
    """Declare one alias; ``state`` absent deletes it, since it has no mail to keep."""
    address = _address(options)
    if options["state"] == "absent":
        deleting = policy._replace(delete=True)
        return _absent(address, deleting, lambda current: current.aliases.get(address), ALIAS_MANAGED_BY)
    return partial(_declare_alias, address, options, policy), policy._replace(scope=frozenset())


def _declare_alias(address: str, options: Options, policy: Policy, current: Directory) -> Declaration:
    local, _at, name = address.rpartition("@")
    parser = Parser(policy.managed_by)
    entry = {"name": local, "destinations": options["destinations"]}
    parser.aliases([entry], "alias", _local_domain(current, name).name)
    return _finished(parser, "alias[0]")


def domain(options: Options, policy: Policy) -> tuple[Declare, Policy]:
    """Declare one domain without its mailboxes and aliases; ``state`` absent takes an empty one out of service."""
    try:
        name = names.domain_name(str(options["name"]))
    except ValueError as error:
        raise InvalidInput([f"name: {error}"]) from None
    if options["state"] == "absent":
        return _absent(name, policy, partial(_empty_domain, name), "managed_by")
    return partial(_declare_domain, name, options, policy), policy._replace(scope=frozenset())


def _declare_domain(name: str, options: Options, policy: Policy, current: Directory) -> Declaration:
    keys = ("alias_of", "relay_to", "catch_all", "expressions", "defaults", "limits")
    entry = _given(options, keys)
    entry["name"] = name
    old = current.domains.get(name)
    kept: dict[str, object] = {}
    if old is not None and old.kind == LOCAL and not entry.keys() & {"alias_of", "relay_to"}:
        stored = {"catch_all": "catch_all", "expressions": "expressions", "defaults": "default_quota"}
        kept = {field: getattr(old, field) for key, field in stored.items() if key not in entry}
        kept |= {} if "defaults" in entry else {"sending_limits": old.sending_limits}
        kept |= {} if "limits" in entry else {"limits": old.limits}
    elif old is not None and not entry.keys() & {"alias_of", "relay_to"}:
        kept = old._asdict() | {"managed_by": policy.managed_by, "removed_at": None}
    parser = Parser(policy.managed_by)
    parser.domain(entry, "domain")
    declaration = _finished(parser, "domain")
    made = declaration.directory.domains[name]
    declaration.directory.domains[name] = Domain(**(made._asdict() | kept))
    return declaration


def _empty_domain(name: str, current: Directory) -> Domain | None:
    """A domain that still has something in it cannot leave."""
    inside = [row[0] for row in current.mailboxes.values() if row[-1] is None and names.domain_of(row[0]) == name]
    inside += [row[0] for row in current.aliases.values() if row[-1] is None and names.domain_of(row[0]) == name]
    inside += [row.name for row in current.domains.values() if row.removed_at is None and row.alias_of == name]
    if inside:
        more = f" and {len(inside) - 3} more" if len(inside) > 3 else ""
        raise InvalidInput([f"name: {name} still has {', '.join(sorted(inside)[:3])}{more}; remove them first"])
    return current.domains.get(name)


def _absent(name: str, policy: Policy, find: Callable[[Directory], object], owner: int | str) -> tuple[Declare, Policy]:
    def declare(current: Directory) -> Declaration:
        row = find(current)
        if row is not None:
            managed_by = getattr(row, owner) if isinstance(owner, str) else row[owner]  # type: ignore[index]
            if managed_by != policy.managed_by:
                raise InvalidInput([f"{name} is managed by {managed_by!r}; remove it there, or say managed_by"])
        return Declaration()

    return declare, policy._replace(scope=frozenset({name}))


def _address(options: Options) -> str:
    text = str(options["address"])
    try:
        if "@" not in text:
            raise ValueError(f"{text!r} has no @; write the full address")
        return names.own_address(text, "")
    except ValueError as error:
        raise InvalidInput([f"address: {error}"]) from None


def _local_domain(current: Directory, name: str) -> Domain:
    found = current.domains.get(name)
    if found is None or found.removed_at is not None:
        raise InvalidInput([f"address: the domain {name} does not exist; declare it first"])
    if found.kind != LOCAL:
        raise InvalidInput([f"address: {name} has no addresses of its own, it is an alias domain or relayed"])
    return found


def _given(options: Options, keys: tuple[str, ...]) -> dict[str, object]:
    return {key: options[key] for key in keys if options.get(key) is not None}


def _finished(parser: Parser, prefix: str) -> Declaration:
    try:
        parser.problems.raise_if_any()
    except InvalidInput as error:
        problems = [line.removeprefix(prefix).removeprefix(".").removeprefix(": ") for line in error.problems]
        raise InvalidInput(problems, error.omitted) from None
    return parser.declaration
