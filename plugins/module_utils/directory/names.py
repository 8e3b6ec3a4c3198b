# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of domains, addresses and sizes: normalised once, on the way in.

Domains become lower-case IDNA A-labels (RFC 5890); local parts are ASCII dot-atoms (RFC 5321, section 4.1.2) in lower
case without a subaddress.  Every function raises ``ValueError`` with a text that says what is wrong and what to do.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .errors import MissingLibrary

DELIMITER = "+"
"""Separates a mailbox from a tag: alice+tag@example.org reaches alice@example.org."""

LOCAL_PART_LIMIT = 64
ADDRESS_LIMIT = 254
DOMAIN_LIMIT = 253

MAILBOX_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]*(?:\.[a-z0-9_-]+)*")
"""What a mailbox may be called: what both Dovecot's ``auth_username_chars`` and a folder name allow."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_DOT_ATOM = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.IGNORECASE)
_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DEVIATIONS = frozenset("\u00df\u03c2\u200c\u200d")
SMALLEST_QUOTA = 1 << 20


@lru_cache(maxsize=65536)
def domain_name(text: str) -> str:
    """Return ``text`` as a lower-case domain of A-labels, without a trailing dot."""
    name = text.strip().removesuffix(".").lower()
    if not name:
        raise ValueError("is empty; a domain such as example.org is wanted")
    if "@" in name:
        raise ValueError(
            f"{text!r} is an address; a domain such as {name.rpartition('@')[2] or 'example.org'} is wanted"
        )
    if not name.isascii() or "xn--" in name:
        name = _a_labels(name)
    if len(name) > DOMAIN_LIMIT:
        raise ValueError(f"{_shortened(text)} has more than {DOMAIN_LIMIT} characters, the limit for a domain")
    if _DOMAIN.fullmatch(name) is None:
        raise ValueError(f"{_shortened(text)} is not a domain; " + _domain_advice(name))
    if name.rpartition(".")[2].isdigit():
        raise ValueError(f"{text!r} looks like an IP address; a domain such as example.org is wanted")
    return name


def _domain_advice(name: str) -> str:
    if "." not in name:
        return "write it in full, such as example.org"
    return "labels are letters, digits and inner hyphens, at most 63 characters each"


def _a_labels(name: str) -> str:
    try:
        import idna
    except ImportError:
        return _a_labels_without_idna(name)
    try:
        return idna.encode(name, uts46=True).decode("ascii").lower()
    except idna.IDNAError as error:
        raise ValueError(f"{_shortened(name)} cannot be a domain: {error}") from None


def _a_labels_without_idna(name: str) -> str:
    """Python's own codec follows the older IDNA2003, which differs for a few characters only."""
    if not _DEVIATIONS.isdisjoint(name):
        raise MissingLibrary(f"the domain {name!r} needs Python's idna library: install the package python3-idna")
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise ValueError(f"{_shortened(name)} cannot be a domain: {error}") from None


def mailbox_name(text: str) -> str:
    """Return a mailbox's local part in lower case."""
    local = text.strip().lower()
    if len(local) <= LOCAL_PART_LIMIT and MAILBOX_NAME.fullmatch(local) is not None:
        return local
    local_part(text)
    raise ValueError(
        f"{_shortened(text)} cannot name a mailbox: letters, digits and ._- only, beginning with a letter, digit or _;"
        " give it such a name and the other address as an alias"
    )


def local_part(text: str) -> str:
    """Return the local part of one of our own addresses, in lower case and without a tag."""
    local = remote_local_part(text).lower()
    if DELIMITER in local:
        raise ValueError(f"{_shortened(text)} contains {DELIMITER!r}, which begins a tag; tags need not be declared")
    if any(character in local for character in "!%/"):
        raise ValueError(f"{_shortened(text)} contains one of ! % /, which mail servers read as a route or a folder")
    if local.startswith("-"):
        raise ValueError(f"{_shortened(text)} begins with a hyphen, which programs read as an option")
    return local


def remote_local_part(text: str) -> str:
    """Return a local part as RFC 5321 allows it unquoted; its case is the owner's."""
    if not text:
        raise ValueError("has nothing before the @")
    if not text.isascii():
        raise ValueError(
            f"{_shortened(text)} is not ASCII; local parts cannot be internationalised here, write it without accents"
        )
    if len(text) > LOCAL_PART_LIMIT:
        raise ValueError(f"{_shortened(text)} has more than {LOCAL_PART_LIMIT} characters, the limit before the @")
    if _DOT_ATOM.fullmatch(text) is None:
        raise ValueError(
            f"{_shortened(text)} cannot stand before an @: letters, digits and !#$%&'*+/=?^_`{{|}}~- only, dots between"
            " them"
        )
    return text


def own_address(text: str, domain: str) -> str:
    """Return one of our own addresses; a bare local part belongs to ``domain``."""
    local, separator, name = text.strip().rpartition("@")
    if not separator:
        local, name = name, domain
    return _joined(local_part(local), domain_name(name) if separator else domain)


@lru_cache(maxsize=65536)
def any_address(text: str, domain: str) -> str:
    """Return an address of anybody; a bare local part belongs to ``domain``.  A tag is kept."""
    local, separator, name = text.strip().rpartition("@")
    if not separator:
        local, name = name, domain
    return _joined(remote_local_part(local).lower(), domain_name(name) if separator else domain)


def _joined(local: str, domain: str) -> str:
    address = f"{local}@{domain}"
    if len(address) > ADDRESS_LIMIT:
        raise ValueError(f"{_shortened(address)} has more than {ADDRESS_LIMIT} characters, the limit for an address")
    return address


def domain_of(address: str) -> str:
    """Return what follows the @."""
    return address.rpartition("@")[2]


def without_tag(address: str) -> str:
    """Return the address that ``address`` reaches: alice+tag@example.org becomes alice@example.org."""
    local, _at, domain = address.rpartition("@")
    base = local.partition(DELIMITER)[0]
    return f"{base or local}@{domain}"


def size(value: object) -> int:
    """Return a size in bytes: ``5G``, ``500M``, ``0`` for no limit.  Units are powers of 1024."""
    if value == 0 and isinstance(value, int) and not isinstance(value, bool):
        return 0
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{value!r} is not a size; write 5G, 500M, or 0 for no limit")
        size_in_bytes = round(float(match[1]) * _UNITS[match[2].upper()])
    elif isinstance(value, int) and not isinstance(value, bool):
        size_in_bytes = value
    else:
        raise ValueError(f"is {kind(value)}; write a size such as 5G, 500M, or 0 for no limit")
    if size_in_bytes and size_in_bytes < SMALLEST_QUOTA:
        raise ValueError(f"{value!r} is {size_in_bytes} bytes; write a unit, such as {value}G")
    if size_in_bytes < 0 or size_in_bytes >= 1 << 62:
        raise ValueError(f"{value!r} is out of range; write a size such as 5G")
    return size_in_bytes


def size_text(value: int) -> str:
    """Return a size as people write it: the largest unit that divides it."""
    for unit in "TGMK":
        if value and value % _UNITS[unit] == 0:
            return f"{value // _UNITS[unit]}{unit}"
    return str(value)


def kind(value: object) -> str:
    """Say in plain words what a value of the user's structure is, without showing it."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list | tuple) else "a mapping"


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
