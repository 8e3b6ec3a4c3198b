# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what a user wrote to what should be in the directory.

Every mistake is reported, not only the first, each with its path in the user's own structure:
``mail_domains[3].mailboxes[0].name: ...``.  What needs the whole picture (dangling destinations, loops, limits) is
checked in ``checks`` once the plan is made.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from . import fields, names, passwords
from .errors import InvalidInput
from .model import ALIAS, LOCAL, RELAY, STATES, Declaration, Domain, Expression, Limits, SendingLimits

Mapping: TypeAlias = "dict[str, object]"
Reader: TypeAlias = Callable[[str], str]

PROBLEM_LIMIT = 50
_DOMAIN_KEYS = fields.names(fields.DOMAIN)
_MAILBOX_KEYS = fields.names(fields.MAILBOX)
_ALIAS_KEYS = fields.names(fields.ALIAS)
_EXPRESSION_KEYS = fields.names(fields.EXPRESSION)
_RELAY_KEYS = fields.names(fields.RELAY)
_DEFAULTS_KEYS = fields.names(fields.DEFAULTS)
_LIMITS_KEYS = fields.names(fields.LIMITS)
_SENDING_LIMITS_KEYS = fields.names(fields.SENDING_LIMITS)
_SPAM_KEYS = fields.names(fields.SPAM)
_STATES = frozenset(STATES)
_MAILBOX_EXTRAS = frozenset({"aliases", "may_send_as", "sending_limits", "sieve", "spam"})
_LOCAL_ONLY = ("catch_all", "mailboxes", "aliases", "expressions", "defaults", "limits", "sieve", "spam")
SPAM_POINTS = 1000
_QUOTE = 'quote it: "..."'
_REFERENCE = re.compile(r"\$(?:\d|\{\d+\}|\(\d+\))")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.IGNORECASE)


class Problems:
    """Collects mistakes, a sensible number of them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.omitted = 0

    def add(self, path: str, text: str) -> None:
        """Note what is wrong at ``path``."""
        line = f"{path}: {text}"
        if len(self.lines) < PROBLEM_LIMIT:
            if line not in self.lines:
                self.lines.append(line)
        else:
            self.omitted += 1

    def raise_if_any(self) -> None:
        """Raise them all as one ``InvalidInput``."""
        if self.lines:
            raise InvalidInput(self.lines, self.omitted)


def parse(structure: object, managed_by: str, root: str = "mail_domains") -> Declaration:
    """Return what ``structure``, a list of domains, declares in the name of ``managed_by``.

    ``root`` is how the user calls the structure.  Raises ``InvalidInput`` with every mistake that can be seen without
    knowing what is stored.
    """
    parser = Parser(managed_by)
    parser.domains(structure, root)
    parser.problems.raise_if_any()
    return parser.declaration


class Parser:
    """Reads a user's structure into a ``Declaration``; one instance per input."""

    def __init__(self, managed_by: str) -> None:
        self.managed_by = managed_by
        self.problems = Problems()
        self.declaration = Declaration()
        self._sizes: dict[str, int] = {}

    def domains(self, structure: object, path: str) -> None:
        """Read the list of domains."""
        for index, entry in enumerate(self._list(structure, path)):
            self.domain(entry, f"{path}[{index}]")

    def domain(self, value: object, path: str) -> None:
        """Read one domain and everything in it."""
        entry = self._mapping(value, path, _DOMAIN_KEYS)
        name = self._named(entry, path, names.domain_name)
        if entry is None or name is None:
            return
        first = self.declaration.paths.domains.setdefault(name, path)
        if first != path:
            self.problems.add(path, f"the domain {name} is declared at {first} already; merge the two")
            return
        if "alias_of" in entry and "relay_to" in entry:
            self.problems.add(path, "has both alias_of and relay_to; a domain is the one or the other")
        elif "alias_of" in entry:
            self._alias_domain(entry, name, path)
        elif "relay_to" in entry:
            self._relayed_domain(entry, name, path)
        else:
            self._local_domain(entry, name, path)

    def _alias_domain(self, entry: Mapping, name: str, path: str) -> None:
        self._refuse_local_fields(entry, path, "it has what the domain of alias_of has")
        target = self._name(entry["alias_of"], f"{path}.alias_of", names.domain_name)
        if target is not None:
            self._declare(Domain(name, ALIAS, alias_of=target, managed_by=self.managed_by))

    def _relayed_domain(self, entry: Mapping, name: str, path: str) -> None:
        self._refuse_local_fields(entry, path, "its mail is kept by the server of relay_to")
        at = f"{path}.relay_to"
        relay = self._mapping(entry["relay_to"], at, _RELAY_KEYS)
        if relay is None:
            return
        host = self._named(relay, at, _relay_host, "host")
        port = self._number(relay, "port", at, 25, 1, 65535)
        recipients = None
        if relay.get("recipients") is not None:
            recipients = self._addresses(relay["recipients"], f"{at}.recipients", _own_in(name))
        if host is not None:
            nexthop = f"{host}:{port}"
            self._declare(Domain(name, RELAY, nexthop=nexthop, relay_recipients=recipients, managed_by=self.managed_by))

    def _refuse_local_fields(self, entry: Mapping, path: str, reason: str) -> None:
        for key in _LOCAL_ONLY:
            if entry.get(key):
                self.problems.add(f"{path}.{key}", f"a domain with alias_of or relay_to has none: {reason}")

    def _local_domain(self, entry: Mapping, name: str, path: str) -> None:
        limits = self._limits(entry.get("limits"), f"{path}.limits")
        defaults = self._mapping(entry.get("defaults") or {}, f"{path}.defaults", _DEFAULTS_KEYS) or {}
        default_quota = self._size(defaults.get("quota"), f"{path}.defaults.quota")
        if default_quota is None:
            default_quota = limits.max_quota or 0
        catch_all = self._addresses(entry.get("catch_all"), f"{path}.catch_all", _any_in(name))
        self._sieve(entry.get("sieve"), f"{path}.sieve")
        self._spam(entry.get("spam"), f"{path}.spam", name)
        domain = Domain(
            name,
            LOCAL,
            catch_all=catch_all,
            expressions=self._expressions(entry.get("expressions"), f"{path}.expressions", name),
            default_quota=default_quota,
            limits=limits,
            sending_limits=self._sending_limits(defaults.get("sending_limits"), f"{path}.defaults.sending_limits"),
            managed_by=self.managed_by,
        )
        self._declare(domain)
        self.mailboxes(entry.get("mailboxes"), f"{path}.mailboxes", domain)
        self.aliases(entry.get("aliases"), f"{path}.aliases", name)

    def _declare(self, domain: Domain) -> None:
        self.declaration.directory.domains[domain.name] = domain

    def _limits(self, value: object, path: str) -> Limits:
        entry = self._mapping(value or {}, path, _LIMITS_KEYS) or {}
        return Limits(
            self._number(entry, "max_mailboxes", path, None, 0, 10**9),
            self._number(entry, "max_aliases", path, None, 0, 10**9),
            self._size(entry.get("max_quota"), f"{path}.max_quota") or None,
            self._size(entry.get("max_total_quota"), f"{path}.max_total_quota") or None,
        )

    def _sending_limits(self, value: object, path: str) -> SendingLimits:
        entry = self._mapping({} if value is None else value, path, _SENDING_LIMITS_KEYS) or {}
        read = {key: self._number(entry, key, path, None, 0, 10**9) for key in sorted(_SENDING_LIMITS_KEYS)}
        return tuple((key, most) for key, most in read.items() if most is not None)

    def _expressions(self, value: object, path: str, domain: str) -> tuple[Expression, ...]:
        expressions: dict[str, Expression] = {}
        for index, item in enumerate(self._list(value, path)):
            at = f"{path}[{index}]"
            entry = self._mapping(item, at, _EXPRESSION_KEYS)
            pattern = self._named(entry, at, expression_pattern, "pattern")
            if entry is None or pattern is None:
                continue
            if pattern in expressions:
                self.problems.add(f"{at}.pattern", "is the same as that of an earlier expression; merge the two")
            groups = re.compile(pattern).groups
            reader = _expression_destination(groups, domain)
            destinations = self._addresses(entry.get("destinations"), f"{at}.destinations", reader)
            if not destinations:
                self._missing(entry, "destinations", at)
            expressions[pattern] = Expression(pattern, destinations)
        return tuple(expressions.values())

    # Mailboxes: the loop that runs a hundred thousand times.  Paths are made only when something is wrong.

    def mailboxes(self, value: object, path: str, domain: Domain) -> None:
        """Read the mailboxes of a local domain."""
        entries = self._list(value, path)
        declaration, name = self.declaration, domain.name
        declaration.paths.mailbox_lists[name] = (path, entries)
        rows, by, at_name = declaration.directory.mailboxes, self.managed_by, "@" + name
        plain, longest = names.MAILBOX_NAME.fullmatch, names.ADDRESS_LIMIT - len(at_name)
        longest = min(longest, names.LOCAL_PART_LIMIT)
        sizes, default = self._sizes, domain.default_quota
        hashes, common = declaration.hashes, passwords.COMMON_HASH.fullmatch
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict) or not entry.keys() <= _MAILBOX_KEYS:
                entry = self._mapping(entry, f"{path}[{index}]", _MAILBOX_KEYS)
                if entry is None:
                    continue
            get = entry.get
            local = get("name")
            if not isinstance(local, str) or len(local) > longest or plain(local) is None:
                local = self._mailbox_name(entry, f"{path}[{index}]", name)
                if local is None:
                    continue
            address = local + at_name
            if address in rows:
                self._duplicate_mailbox(address, index)
                continue
            display_name = ""
            if shown := get("display_name"):
                if isinstance(shown, str) and len(shown) <= 200 and shown.isprintable():
                    display_name = shown
                else:
                    display_name = self._display_name(shown, f"{path}[{index}].display_name")
            quota = default
            if (size := get("quota")) is not None:
                quota = (
                    sizes[size]
                    if isinstance(size, str) and size in sizes
                    else self._quota(size, f"{path}[{index}].quota")
                )
            state = get("state", "active")
            if not isinstance(state, str) or state not in _STATES:
                state = self._state(state, f"{path}[{index}].state")
            rows[address] = (address, display_name, quota, state, by, None)
            if (hashed := get("password_hash")) is not None:
                if isinstance(hashed, str) and common(hashed) is not None and "password" not in entry:
                    hashes[address] = hashed
                else:
                    self._hash(hashed, entry, address, f"{path}[{index}]")
            elif "password" in entry:
                self._password(get("password"), address, f"{path}[{index}].password")
            if not _MAILBOX_EXTRAS.isdisjoint(entry):
                self._mailbox_extras(entry, f"{path}[{index}]", address, name)

    def _mailbox_name(self, entry: Mapping, path: str, domain: str) -> str | None:
        def reader(text: str) -> str:
            local = _without_own_domain(text, domain)
            normal = names.mailbox_name(local)
            names.own_address(normal, domain)
            return normal

        return self._named(entry, path, reader)

    def _duplicate_mailbox(self, address: str, index: int) -> None:
        path, _entries = self.declaration.paths.mailbox_lists[names.domain_of(address)]
        first = mailbox_path(self.declaration, address)
        self.problems.add(f"{path}[{index}].name", f"the mailbox {address} is declared at {first} already")

    def _display_name(self, value: object, path: str) -> str:
        text = self._text(value, path) or ""
        if any(ord(character) < 0x20 or character in "\x7f\x85\u2028\u2029" for character in text):
            self.problems.add(path, "contains a line break or a control character")
        elif len(text) > 200:
            self.problems.add(path, "has more than 200 characters")
        return text

    def _quota(self, value: object, path: str) -> int:
        quota = self._size(value, path)
        if quota is not None and isinstance(value, str):
            self._sizes[value] = quota
        return quota or 0

    def _state(self, value: object, path: str) -> str:
        if value is not None:
            advice = _QUOTE if isinstance(value, bool) else "choose one of " + ", ".join(STATES)
            shown = repr(value) if isinstance(value, str) else names.kind(value)
            self.problems.add(path, f"{shown} is no state; {advice}")
        return "active"

    def _hash(self, value: object, entry: Mapping, address: str, path: str) -> None:
        if entry.get("password") is not None:
            self.problems.add(path, "has both password and password_hash; keep one")
        if not isinstance(value, str):
            self.problems.add(f"{path}.password_hash", f"is {names.kind(value)}; it must be text, {_QUOTE}")
            return
        try:
            self.declaration.hashes[address] = passwords.normal_hash(value)
        except ValueError as error:
            self.problems.add(f"{path}.password_hash", str(error))

    def _password(self, value: object, address: str, path: str) -> None:
        if not isinstance(value, str):
            advice = "leave it out, or write a password" if value is None else f"a password is text, {_QUOTE}"
            self.problems.add(path, f"is {names.kind(value)}; {advice}")
            return
        try:
            passwords.check_password(value)
        except ValueError as error:
            self.problems.add(path, str(error))
        else:
            self.declaration.passwords[address] = value

    def _mailbox_extras(self, entry: Mapping, path: str, address: str, domain: str) -> None:
        if (aliases := entry.get("aliases")) is not None:
            own = partial(names.own_address, domain=domain)
            for index, alias in enumerate(self._list(aliases, f"{path}.aliases")):
                at = f"{path}.aliases[{index}]"
                name = self._name(alias, at, own)
                if name is not None:
                    self._declare_alias(name, (address,), at)
        if (senders := entry.get("may_send_as")) is not None:
            granted = self._addresses(senders, f"{path}.may_send_as", _sender_in(domain))
            if granted:
                self.declaration.directory.senders[address] = granted
        if limits := self._sending_limits(entry.get("sending_limits"), f"{path}.sending_limits"):
            self.declaration.directory.sending_limits[address] = limits
        if (sieve := entry.get("sieve")) is not None:
            self._sieve(sieve, f"{path}.sieve")
        self._spam(entry.get("spam"), f"{path}.spam", domain)

    def aliases(self, value: object, path: str, domain: str) -> None:
        """Read the aliases of a local domain."""
        for index, item in enumerate(self._list(value, path)):
            at = f"{path}[{index}]"
            entry = self._mapping(item, at, _ALIAS_KEYS)
            name = self._named(entry, at, _own_in(domain))
            if entry is None:
                continue
            destinations = self._addresses(entry.get("destinations"), f"{at}.destinations", _any_in(domain))
            if not destinations:
                self._missing(entry, "destinations", at)
            elif name is not None:
                self._declare_alias(name, destinations, at)

    def _declare_alias(self, address: str, destinations: tuple[str, ...], path: str) -> None:
        first = self.declaration.paths.aliases.setdefault(address, path)
        if first != path:
            self.problems.add(
                path,
                f"the alias {address} is declared at {first} already; for several destinations declare it once, under"
                " aliases, with all of them",
            )
            return
        self.declaration.directory.aliases[address] = (address, destinations, self.managed_by, None)

    def _sieve(self, value: object, path: str) -> None:
        if value is not None and self._text(value, path) is not None and "\0" in str(value):
            self.problems.add(path, "contains a NUL character")

    def _spam(self, value: object, path: str, domain: str) -> None:
        if value is None or (entry := self._mapping(value, path, _SPAM_KEYS)) is None:
            return
        points = entry.get("junk_from", 0)
        if isinstance(points, bool) or not isinstance(points, int | float) or not 0 <= points <= SPAM_POINTS:
            self.problems.add(f"{path}.junk_from", f"is {points!r}; points from 0 to {SPAM_POINTS} are wanted")
        for key in ("allow", "block"):
            self._addresses(entry.get(key), f"{path}.{key}", _sender_in(domain))

    # Values of any kind

    def _mapping(self, value: object, path: str, allowed: frozenset[str]) -> Mapping | None:
        if not isinstance(value, dict):
            self.problems.add(path, f"is {names.kind(value)}; a mapping with the keys {_listed(allowed)} is wanted")
            return None
        for key in value.keys() - allowed:
            self.problems.add(path, f"{_key(key)} is no field here; known are {_listed(allowed)}")
        return value

    def _list(self, value: object, path: str) -> list[object]:
        if value is None:
            return []
        if not isinstance(value, list):
            self.problems.add(path, f"is {names.kind(value)}; a list is wanted")
            return []
        return value

    def _text(self, value: object, path: str) -> str | None:
        if isinstance(value, str):
            return value
        self.problems.add(path, f"is {names.kind(value)}; text is wanted" + ("" if value is None else f", {_QUOTE}"))
        return None

    def _named(self, entry: Mapping | None, path: str, reader: Reader, key: str = "name") -> str | None:
        if entry is None:
            return None
        if key not in entry:
            self._missing(entry, key, path)
            return None
        return self._name(entry[key], f"{path}.{key}", reader)

    def _missing(self, entry: Mapping, key: str, path: str) -> None:
        if not entry.get(key):
            self.problems.add(path, f"has no {key}; it is required")

    def _name(self, value: object, path: str, reader: Reader) -> str | None:
        text = self._text(value, path)
        if text is None:
            return None
        try:
            return reader(text)
        except ValueError as error:
            self.problems.add(path, str(error))
            return None

    def _addresses(self, value: object, path: str, reader: Reader) -> tuple[str, ...]:
        """Read one address or a list of them; the result is sorted and each occurs once."""
        if isinstance(value, str):
            value = [value]
        found: dict[str, int] = {}
        for index, item in enumerate(self._list(value, path)):
            at = f"{path}[{index}]"
            address = self._name(item, at, reader)
            if address is None:
                continue
            first = found.setdefault(address, index)
            if first != index:
                self.problems.add(at, f"{address} is in the list already, at {path}[{first}]")
        return tuple(sorted(found))

    def _size(self, value: object, path: str) -> int | None:
        if value is None:
            return None
        try:
            return names.size(value)
        except ValueError as error:
            self.problems.add(path, str(error))
            return None

    def _number(self, entry: Mapping, key: str, path: str, default: int | None, least: int, most: int) -> int | None:
        value = entry.get(key)
        if value is None:
            return default
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.problems.add(f"{path}.{key}", f"must be a whole number from {least} to {most}")
            return default
        return value


def mailbox_path(declaration: Declaration, address: str) -> str:
    """Return where a mailbox was declared; slow, for errors only."""
    local, _at, domain = address.rpartition("@")
    path, entries = declaration.paths.mailbox_lists[domain]
    for index, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str) and name.strip().lower().partition("@")[0] == local:
            return f"{path}[{index}]"
    return path


def expression_pattern(text: str) -> str:
    """Return a pattern without its own anchors; they are added where it is used."""
    pattern = text.removeprefix("^")
    if pattern.endswith("$") and not pattern.endswith("\\$"):
        pattern = pattern[:-1]
    if not pattern:
        raise ValueError("is empty; for every address that nothing else matches use catch_all")
    if not pattern.isascii() or any(character.isspace() or not character.isprintable() for character in pattern):
        raise ValueError("contains a blank, a line break or a letter outside ASCII, which no local part has")
    if "@" in pattern:
        raise ValueError("contains an @; it matches what stands before it, in this domain")
    if len(pattern) > 1000:
        raise ValueError("has more than 1000 characters")
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    return pattern


def _expression_destination(groups: int, domain: str) -> Reader:
    def reader(text: str) -> str:
        used = [int("".join(filter(str.isdigit, found))) for found in _REFERENCE.findall(text)]
        if any(number < 1 or number > groups for number in used):
            raise ValueError(f"{text!r} refers to a group that the pattern does not have (it has {groups})")
        stand_in = _REFERENCE.sub("0", text)
        if "$" in stand_in:
            raise ValueError(f"{text!r} contains a $ that refers to no group; write $1 to $9")
        if not used:
            return names.any_address(text, domain)
        local, at, name = text.strip().rpartition("@")
        if "$" in name and at:
            raise ValueError(f"{text!r} lets whoever writes choose the domain; write the domain out")
        normal = names.any_address(stand_in, domain)
        return _braced(local if at else name) + "@" + names.domain_of(normal)

    return reader


def _braced(text: str) -> str:
    """Write every reference as ${n}, so that what follows cannot be mistaken for a part of it."""
    literal, made = 0, []
    for match in _REFERENCE.finditer(text):
        made.append(text[literal : match.start()].lower())
        made.append("${" + "".join(filter(str.isdigit, match[0])) + "}")
        literal = match.end()
    made.append(text[literal:].lower())
    return "".join(made)


def _any_in(domain: str) -> Reader:
    return partial(names.any_address, domain=domain)


def _own_in(domain: str) -> Reader:
    def reader(text: str) -> str:
        return names.own_address(_without_own_domain(text, domain), domain)

    return reader


def _without_own_domain(text: str, domain: str) -> str:
    local, at, name = text.strip().rpartition("@")
    if not at:
        return text.strip()
    if names.domain_name(name) != domain:
        raise ValueError(f"{text!r} is an address of another domain; declare it under that domain")
    return local


def _sender_in(domain: str) -> Reader:
    def reader(text: str) -> str:
        if text.strip().startswith("@"):
            return "@" + names.domain_name(text.strip()[1:])
        return names.any_address(text, domain)

    return reader


def _relay_host(text: str) -> str:
    """Return a next hop as Postfix writes it: an address or name in brackets, so that no MX is looked up."""
    host = text.strip().removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(host.lower().removeprefix("ipv6:"))
    except ValueError:
        if len(host) > names.DOMAIN_LIMIT or _HOST.fullmatch(host) is None:
            raise ValueError(f"{text!r} is neither a host name nor an IP address; the port has its own field") from None
        return f"[{host.lower()}]"
    return f"[ipv6:{address}]" if address.version == 6 else f"[{address}]"


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(sorted(keys))


def _key(key: object) -> str:
    return repr(key if not isinstance(key, str) or len(key) <= 40 else key[:37] + "...")
