# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish what Postfix needs of the mail directory, when it has changed."""

from __future__ import annotations

import grp
import json
import os
import sys

sys.dont_write_bytecode = True

from postoffice_directory.errors import DirectoryError, PublishError  # noqa: E402
from postoffice_directory.publishing import Settings, publish, read_state  # noqa: E402
from postoffice_directory.store import change_counter  # noqa: E402

SETTINGS_PATH = "/etc/postoffice/publish.json"


def read_settings(path: str) -> Settings:
    """Return what the settings file says, the group's name resolved."""
    with open(path, encoding="utf-8") as file:
        given = json.load(file)
    try:
        group = grp.getgrnam(given["group"]).gr_gid
    except KeyError:
        raise PublishError(f"{path}: the group {given['group']!r} does not exist") from None
    return Settings(given["database"], given["folder"], group, given["reload"])


def main() -> int:
    """Publish, or with --check only read the settings; return the exit status.

    With --outdated nothing is published either: the status is 0 when there is something to publish, else 1.
    """
    try:
        settings = read_settings(SETTINGS_PATH)
        if "--check" in sys.argv[1:]:
            return 0
        if "--outdated" in sys.argv[1:]:
            return 1 if read_state(settings.folder).get("counter") == change_counter(settings.database) else 0
        if not os.path.exists(settings.database):
            print(f"{settings.database} does not exist yet, nothing to publish")
            return 0
        done = publish(settings)
    except DirectoryError as error:
        print(error, file=sys.stderr)
        return 1
    if done.written:
        print(f"published {done.stamp[:12]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
