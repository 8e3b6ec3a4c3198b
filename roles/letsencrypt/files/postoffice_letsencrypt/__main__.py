# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: ``status`` and ``renew`` are for people, the rest for the unit and the playbook."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from . import install, memory, report, settings
from .ask import ask, issued
from .decide import EAGER, Decision, Known, decide
from .names import where
from .pem import Certificate, PemError, chain, look, make_key, read, request
from .settings import Settings, Wanted


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="postoffice-letsencrypt", description=__doc__)
    parser.add_argument("--settings", type=Path, default=settings.PATH, help="settings file (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="say which certificates there are, and what stands in the way of others")
    renew = commands.add_parser("renew", help="have a certificate issued anew, now")
    renew.add_argument("name", nargs="+", help="what it is called, see status")
    due = commands.add_parser("due", help="say, as JSON, what is to be asked for")
    due.add_argument("--eager", action="store_true", help="do not wait as long after failures as the timer does")
    commands.add_parser("retry", help="have the next run ask again for what has failed")
    commands.add_parser("prepare", help="make the requests for what is to be asked for")
    commands.add_parser("ask", help="ask the authority")
    commands.add_parser("install", help="put into place what came, and have it served")
    commands.add_parser("check", help="say what is wrong with the settings")
    return parser


def present(wanted: Wanted) -> Certificate | None:
    """What is in its place; nothing when that cannot be read as a certificate."""
    try:
        return look(wanted.chain.read_text(encoding="ascii", errors="replace"), wanted.key)
    except (FileNotFoundError, PemError):
        return None


def decisions(told: Settings, now: float, eager: bool) -> Iterator[tuple[Wanted, Certificate | None, Known, Decision]]:
    """What is to be done about each certificate."""
    remembered, found = memory.recall(), where(told)
    for wanted in told.certificates:
        known, there = remembered.get(wanted.name, Known()), present(wanted)
        yield wanted, there, known, decide(wanted, there, found, known, told.server, now, eager)


def has_come(wanted: Wanted, names: Sequence[str]) -> bool:
    """Whether a certificate was issued and is not in its place yet, because a run was interrupted."""
    try:
        new = look(chain(read(issued(wanted.name))), wanted.key)
    except (OSError, PemError):
        return False
    return new.fits_key and set(names) <= set(new.names) and new.ends > time.time()


def prepare(told: Settings, now: float) -> None:
    """Write a request for each certificate that is to be asked for now, and a plan that names them."""
    requests = memory.ROOT / "requests"
    memory.make_folder(requests)
    planned: dict[str, Sequence[str]] = {}
    for wanted, _there, _known, decision in decisions(told, now, eager=False):
        if not decision.is_due(now) or has_come(wanted, decision.names):
            continue
        if not wanted.key.exists():
            memory.make_folder(wanted.key.parent)
            make_key(wanted.key)
        memory.write(requests / f"{wanted.name}.pem", request(wanted.key, decision.names))
        planned[wanted.name] = decision.names
    memory.write(memory.ROOT / memory.PLAN, json.dumps(planned))


def retry(told: Settings, now: float) -> None:
    """Forget failures that are not too recent, so that the next run asks again."""
    known = {
        name: replace(each, failures=0, failed_at=0.0) if each.failed_at + EAGER <= now else each
        for name, each in memory.recall().items()
    }
    memory.remember(known, told)


def renew(told: Settings, names: Sequence[str]) -> int:
    """Have certificates issued anew by the unit that always does it; returns its exit status."""
    unknown = sorted(set(names) - {each.name for each in told.certificates})
    if unknown:
        raise settings.SettingsError(f"there is no certificate called {', '.join(unknown)}")
    known = memory.recall()
    memory.remember(known | {name: replace(known.get(name, Known()), forced=True, failures=0) for name in names}, told)
    return subprocess.run(["systemctl", "start", memory.UNIT], check=False).returncode


def due(told: Settings, now: float, eager: bool) -> list[dict[str, object]]:
    """What is to be known of each certificate, for another program."""
    return [
        {
            "name": wanted.name,
            "names": list(decision.names),
            "due": decision.is_due(now),
            "reason": decision.reason,
            "warnings": [
                line
                for line in (report.complaint(decision, known, there, now), report.missed(wanted, decision))
                if line
            ],
            "left_out": dict(decision.left_out),
            "ends": int(there.ends) if there and not there.is_own else None,
        }
        for wanted, there, known, decision in decisions(told, now, eager)
    ]


def main() -> int:
    given = arguments().parse_args()
    now = time.time()
    try:
        text = sys.stdin.read() if str(given.settings) == "-" else given.settings.read_text(encoding="utf-8")
        told = settings.load(text)
        if given.command == "check":
            return 0 if shutil.which("certbot") else 127
        if given.command == "status":
            for _wanted, there, known, decision in decisions(told, now, eager=False):
                sys.stdout.writelines(f"{line}\n" for line in report.lines(decision, known, there, now))
        elif given.command == "due":
            sys.stdout.write(json.dumps(due(told, now, given.eager)))
        elif given.command == "retry":
            retry(told, now)
        elif given.command == "renew":
            return renew(told, given.name)
        elif given.command == "prepare":
            prepare(told, now)
        elif given.command == "ask":
            ask(told)
        else:
            return finish(told, now)
    except (OSError, PemError, settings.SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def finish(told: Settings, now: float) -> int:
    """Install, and say what went wrong, if anything did."""
    planned = install.plan()
    errors = install.install(told, now)
    for name in errors.keys() - planned.keys():
        sys.stderr.write(f"{name}: {errors[name]}\n")
    for wanted, there, known, decision in decisions(told, now, eager=False):
        if wanted.name in planned:
            said = report.complaint(decision, known, there, now)
            (sys.stderr if said else sys.stdout).write(
                f"{said or next(iter(report.lines(decision, known, there, now)))}\n"
            )
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
