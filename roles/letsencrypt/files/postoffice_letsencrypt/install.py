# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came is looked at, put into place, and served; what nobody can serve goes back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from postoffice_config_tree.errors import ConfigTreeError
from postoffice_config_tree.posix import PosixHost
from postoffice_config_tree.run import reread
from postoffice_config_tree.state import STATE_ROOT, Store

from .ask import issued
from .decide import Known
from .memory import OUTCOME, PLAN, ROOT, make_folder, recall, remember, write
from .pem import PemError, chain, look, read
from .settings import Settings, Wanted


@dataclass(frozen=True)
class Put:
    """A chain in its place, and what was there before; None when nothing was."""

    wanted: Wanted
    before: str | None


def install(settings: Settings, now: float) -> dict[str, str]:
    """Put what was issued into place and have it served.

    Returns what went wrong, by the name of the certificate, or of a configuration that did not take one.
    """
    known = recall()
    planned = plan()
    errors = outcomes(planned)
    done: list[Put] = []
    for wanted in settings.certificates:
        if errors.get(wanted.name):
            continue
        try:
            done += place(wanted, planned.get(wanted.name))
        except (OSError, PemError) as error:
            errors[wanted.name] = f"what came is of no use: {error}"
    errors |= serve(settings, done)
    # Also what an interrupted run was given, for which nothing is planned any more.
    for each in done:
        if each.wanted.name not in errors:
            known[each.wanted.name] = Known(server=settings.server)
    for name, names in planned.items():
        known[name] = after(known.get(name, Known()), errors.get(name, ""), tuple(names), settings.server, now)
    remember(known, settings)
    write(ROOT / PLAN, "{}")
    return {name: error for name, error in errors.items() if error}


def after(known: Known, error: str, names: tuple[str, ...], server: str, now: float) -> Known:
    """What is remembered once a certificate was asked for."""
    if not error:
        return Known(server=server)
    return replace(
        known,
        failures=known.failures + 1,
        failed_at=now,
        failed_names=names,
        failed_server=server,
        error=error,
    )


def plan() -> dict[str, list[str]]:
    """The names that are asked for, by certificate."""
    try:
        asked: dict[str, list[str]] = json.loads((ROOT / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return asked


def outcomes(planned: Iterable[str]) -> dict[str, str]:
    """What the user who asks says went wrong; what it does not speak of was not asked for."""
    try:
        said = json.loads(read(OUTCOME))
    except (OSError, ValueError):
        said = {}
    unheard = "nothing is known of what became of it"
    return {name: str(said.get(name, unheard)) if isinstance(said, Mapping) else unheard for name in planned}


def place(wanted: Wanted, names: Iterable[str] | None) -> list[Put]:
    """Put a chain into its place if one has come. Raises OSError, PemError."""
    source = issued(wanted.name)
    try:
        text = chain(read(source))
    except FileNotFoundError:
        return []
    new = look(text, wanted.key)
    source.unlink()
    if not new.fits_key:
        raise PemError("it does not belong to the key")
    lacking = [name for name in names or wanted.required if name not in new.names]
    if lacking:
        raise PemError(f"it is not for {', '.join(lacking)}")
    before = wanted.chain.read_text(encoding="ascii", errors="replace") if wanted.chain.exists() else None
    make_folder(wanted.chain.parent)
    write(wanted.chain, text)
    PosixHost().sync([str(wanted.chain.parent)])
    return [Put(wanted, before)]


def watchers(paths: Iterable[str], host: PosixHost) -> list[str]:
    """The names of those configurations that watch one of the files."""
    wanted = set(paths)
    every = Store(host, "", STATE_ROOT).names()
    return [name for name in every if wanted & set(Store(host, name).load().watch or ())]


def serve(settings: Settings, done: Iterable[Put]) -> dict[str, str]:
    """Tell those who serve the files. When one does not take them, the old ones come back. Returns errors by name."""
    host = PosixHost()
    files = {str(path) for each in settings.certificates for path in (each.chain, each.key)}
    errors: dict[str, str] = {}
    for name in watchers(files, host):
        try:
            reread(name, host)
        except (ConfigTreeError, OSError) as error:
            said = " ".join(str(error).split())
            errors |= put_back(
                [each for each in done if str(each.wanted.chain) in watched(name, host)], name, said, host
            )
    return errors


def watched(name: str, host: PosixHost) -> Mapping[str, str]:
    return Store(host, name).load().watch or {}


def put_back(done: Iterable[Put], name: str, said: str, host: PosixHost) -> dict[str, str]:
    """Restore what was there, and tell whoever did not like the new."""
    errors: dict[str, str] = {}
    for each in done:
        errors[each.wanted.name] = f"{name} does not serve it: {said}"
        if each.before is not None:
            write(each.wanted.chain, each.before)
    for watcher in watchers([str(each.wanted.chain) for each in done], host):
        try:
            reread(watcher, host)
        except (ConfigTreeError, OSError) as error:
            errors = {key: f"{text}; nor does {watcher} take the old one: {error}" for key, text in errors.items()}
    return errors or {name: said}
