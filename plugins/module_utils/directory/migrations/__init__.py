# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The schema, one numbered step at a time.

A step is a module ``mNNNN`` with a ``STATEMENTS`` tuple; ``MIGRATIONS`` names them in order.  Each runs in one
transaction together with the new ``PRAGMA user_version``.  A step that has been released is never edited.
"""

from __future__ import annotations

from . import m0001, m0002

MIGRATIONS: tuple[tuple[str, ...], ...] = (m0001.STATEMENTS, m0002.STATEMENTS)
SCHEMA_VERSION = len(MIGRATIONS)
