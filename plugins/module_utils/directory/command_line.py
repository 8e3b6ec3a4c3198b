# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``python -m postoffice_directory.command_line``: the directory from a shell.

apply DATABASE FILE      bring a database to what a YAML or JSON file declares
publish DATABASE FOLDER  write the copy that Postfix reads
example FILE FOLDER      both at once, for a try: FOLDER/directory.sqlite3 and FOLDER/published/
reference                print the table of fields
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from . import fields
from .errors import DirectoryError
from .parse import parse
from .planning import Policy
from .publishing import Settings, publish
from .reconcile import reconcile


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _arguments().parse_args(arguments)
    try:
        options.run(options)
    except DirectoryError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="postoffice_directory.command_line", description="The mail directory from a shell."
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("apply", help="bring a database to what a YAML or JSON file declares")
    command.add_argument("database")
    command.add_argument("file")
    command.set_defaults(run=_apply)
    command = commands.add_parser("publish", help="write the copy that Postfix reads")
    command.add_argument("database")
    command.add_argument("folder")
    command.set_defaults(run=_publish)
    command = commands.add_parser("example", help="make a database and its published copy, for a try")
    command.add_argument("file")
    command.add_argument("folder")
    command.set_defaults(run=_example)
    command = commands.add_parser("reference", help="print the table of fields")
    command.set_defaults(run=lambda _options: _say(fields.reference()))
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _apply(options: argparse.Namespace) -> None:
    declared = _load(options.file)
    policy = Policy("inventory", int(time.time()))
    done = reconcile(options.database, lambda _current: parse(declared, policy.managed_by), policy)
    _say("changed" if done.changed else "unchanged")


def _publish(options: argparse.Namespace) -> None:
    done = publish(Settings(options.database, options.folder))
    _say("published" if done.written else "up to date")


def _example(options: argparse.Namespace) -> None:
    os.makedirs(options.folder, exist_ok=True)
    options.database = os.path.join(options.folder, "directory.sqlite3")
    _apply(options)
    options.folder = os.path.join(options.folder, "published")
    _publish(options)


def _load(path: str) -> object:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        structure = json.loads(text)
    except ValueError:
        import yaml

        structure = yaml.safe_load(text)
    return structure.get("mail_domains", structure) if isinstance(structure, dict) else structure


if __name__ == "__main__":
    raise SystemExit(main())
