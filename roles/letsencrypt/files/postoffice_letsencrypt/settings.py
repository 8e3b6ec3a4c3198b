# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role wrote down: the authority, how it is convinced, and the certificates that are wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path("/etc/postoffice/letsencrypt.json")
HTTP, DNS = "http", "dns"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_DOMAIN = re.compile(r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?")


class SettingsError(Exception):
    """What is wrong with the settings, and where."""


@dataclass(frozen=True)
class Wanted:
    """A certificate: the names that it must have, those that it may have, and where it and its key lie.

    That of a domain takes what it finds: a name that nobody has published is not missed.
    """

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    chain: Path
    key: Path
    of_domain: bool = False


@dataclass(frozen=True)
class Settings:
    """Everything that the program was told."""

    server: str
    authority: str
    email: str
    challenge: str
    webroot: str
    options: tuple[str, ...]
    addresses: tuple[str, ...]
    certificates: tuple[Wanted, ...]


def load(text: str) -> Settings:
    """Read settings from JSON; raises SettingsError."""
    try:
        raw: Mapping[str, Any] = json.loads(text)
        certificates = (
            *(_wanted(each, f"certificates[{index}]") for index, each in enumerate(raw["certificates"])),
            # A domain may go elsewhere, with any of its names.
            *(
                _wanted({**each, "names": (), "optional_names": each["names"]}, f"domains[{index}]", of_domain=True)
                for index, each in enumerate(raw["domains"])
            ),
        )
        settings = Settings(
            server=raw["server"],
            authority=raw["authority"],
            email=raw["email"],
            challenge=raw["challenge"],
            webroot=raw["webroot"],
            options=tuple(raw["options"]),
            addresses=tuple(raw["addresses"]),
            certificates=certificates,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"these are no settings: {error!r}") from None
    names = [each.name for each in certificates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"two certificates are called {', '.join(twice)}")
    return settings


def _wanted(raw: Mapping[str, Any], where: str, of_domain: bool = False) -> Wanted:
    name = str(raw["name"])
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{where}.name: {name!r} is not a name of letters, digits, '.', '_' and '-'")
    required, optional = tuple(raw.get("names", ())), tuple(raw.get("optional_names", ()))
    for domain in (*required, *optional):
        if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
            raise SettingsError(f"{where}: {domain!r} is no domain name that a certificate can have")
    if not required and not optional:
        raise SettingsError(f"{where}: {name} has no names")
    further = tuple(domain for domain in dict.fromkeys(optional) if domain not in required)
    paths = (Path(raw["certificate"]), Path(raw["key"]))
    return Wanted(name, tuple(dict.fromkeys(required)), further, *paths, of_domain)
