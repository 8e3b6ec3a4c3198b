# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong, as types: the glue turns each into one readable failure."""

from __future__ import annotations

from collections.abc import Sequence


class DirectoryError(Exception):
    """Base of everything that this package raises on purpose."""


class InvalidInput(DirectoryError):
    """What the user declared cannot be; ``problems`` holds one line per mistake, each starting with its path."""

    def __init__(self, problems: Sequence[str], omitted: int = 0) -> None:
        self.problems = list(problems)
        self.omitted = omitted
        lines = list(problems)
        if omitted:
            lines.append(f"... and {omitted} more of the kind")
        super().__init__("\n".join(lines))


class MissingLibrary(DirectoryError):
    """A Python package that this input needs is not installed."""


class StoreError(DirectoryError):
    """The database file cannot be used as it is; it was left untouched."""


class NotADatabase(StoreError):
    """The file is not an SQLite database, or belongs to another program."""


class CorruptDatabase(StoreError):
    """SQLite found the file damaged."""


class NewerSchema(StoreError):
    """The database was written by a newer release of this code."""


class OlderSchema(StoreError):
    """The database was written by an older release, and was not to be brought up to date."""


class DiskFull(StoreError):
    """There is no room to write; the transaction was rolled back."""


class Busy(StoreError):
    """Others held the database longer than we are willing to wait."""


class Unwritable(StoreError):
    """The file or its folder does not let us in."""


class PublishError(DirectoryError):
    """The copy for Postfix could not be written or Postfix could not be told."""
