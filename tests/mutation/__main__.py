# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Breaks what tests protect, one thing after the other, and says what they do not notice; `make mutation` runs it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from ansible_collections.postoffice.mail.tests.mutation import directory, postfix

WHAT: dict[str, Callable[[Sequence[str]], bool]] = {"directory": directory.main, "postfix": postfix.main}


def main() -> None:
    what, *arguments = sys.argv[1:] or ["directory"]
    if what not in WHAT:
        sys.exit(f"mutation: there is no {what}; there are {', '.join(WHAT)}")
    sys.exit(0 if WHAT[what](arguments) else 1)


if __name__ == "__main__":
    main()
