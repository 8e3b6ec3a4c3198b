# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forget what was learned from mailboxes that are gone: postoffice-bayes DATABASE COLLECTIONS

COLLECTIONS has a folder for each domain, and in it one for each mailbox, as PostofficeBayes.pm names them. What the
directory has no mailbox for any more, not even one that waits to be deleted, is removed.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote

# The view of all mailboxes that Dovecot reads; those that nobody may use are among them.
QUERY = "SELECT user FROM dovecot_user"


def mailboxes(database: Path) -> frozenset[str]:
    """Return the addresses of all mailboxes. Raises ``sqlite3.Error``."""
    with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as connection:
        return frozenset(str(row[0]).lower() for row in connection.execute(QUERY))


def gone(collections: Path, known: Collection[str]) -> Iterator[tuple[str, Path]]:
    """Yield the collections of others than the mailboxes that are known: whose it was, and its folder."""
    for domain in sorted(collections.iterdir()):
        for folder in sorted(domain.iterdir()):
            address = f"{unquote(folder.name)}@{unquote(domain.name)}"
            if address not in known:
                yield address, folder


def main(arguments: list[str]) -> int:
    """Remove what is gone; return the exit status."""
    if len(arguments) != 2:
        print("usage: postoffice-bayes DATABASE COLLECTIONS", file=sys.stderr)
        return 2
    database, collections = map(Path, arguments)
    try:
        known = mailboxes(database)
    except sqlite3.Error as error:
        print(f"<3>{database}: {error}; nothing is removed", file=sys.stderr)
        return 1
    if not known:
        print(f"<4>{database}: there are no mailboxes at all; nothing is removed", file=sys.stderr)
        return 0
    for address, folder in list(gone(collections, known)):
        shutil.rmtree(folder)
        print(f"<6>forgot what was learned from {address}, which is gone", file=sys.stderr)
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
