# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much a mailbox may send: limits of its own and those of its domain, by name; 0 means no limit."""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE mailbox_sending_limit (
        mailbox TEXT REFERENCES mailbox (address) ON DELETE CASCADE,
        name TEXT,
        most INTEGER NOT NULL CHECK (most >= 0),
        PRIMARY KEY (mailbox, name)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE domain_sending_limit (
        domain TEXT REFERENCES domain (name) ON DELETE CASCADE,
        name TEXT,
        most INTEGER NOT NULL CHECK (most >= 0),
        PRIMARY KEY (domain, name)
    ) STRICT, WITHOUT ROWID
    """,
    # The sender is an address or, for everybody of a domain who has no limit of that name, '@domain'.
    """
    CREATE VIEW milter_sending_limit (sender, name, most) AS
    SELECT mailbox, name, most FROM mailbox_sending_limit
    UNION ALL
    SELECT '@' || domain, name, most FROM domain_sending_limit
    """,
)
