# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: ``serve``, ``reload``, ``check``, ``probe`` and ``limits``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import check, probe, report, service, settings


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="postoffice-milter", description=__doc__)
    parser.add_argument("--settings", type=Path, default=settings.PATH, help="settings file (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the service")
    serve.add_argument("--predecessor", type=int, help="process id of the service to take over from")
    reload = commands.add_parser("reload", help="start a successor that takes over from a running service")
    reload.add_argument("pid", type=int, help="process id of the running service")
    commands.add_parser("check", help="say what is missing or wrong before the service starts")
    commands.add_parser("probe", help="ask the running service something")
    limits = commands.add_parser("limits", help="say how much users have sent of what they may")
    limits.add_argument("address", nargs="?", default="", type=str.lower, help="a mailbox (default: all that sent)")
    limits.add_argument("--clear", action="store_true", help="forget what this mailbox has sent")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    parser = arguments()
    chosen = parser.parse_args(argv)
    try:
        if chosen.command == "serve":
            return service.serve(chosen.settings, chosen.predecessor)
        if chosen.command == "reload":
            return service.reload(chosen.settings, chosen.pid)
        if chosen.command == "check":
            return check.run(chosen.settings)
        if chosen.command == "limits":
            if chosen.clear and not chosen.address:
                parser.error("--clear needs an address")
            return report.run(settings.load(chosen.settings), chosen.address, chosen.clear)
        return probe.run(settings.load(chosen.settings))
    except settings.SettingsError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
