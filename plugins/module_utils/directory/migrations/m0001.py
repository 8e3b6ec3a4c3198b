# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of domains, mailboxes and aliases, and the views that daemons query.

Daemons query views only.  ``removed_at`` marks what has left the directory but is kept (seconds since 1970).

Mailboxes come by the hundred thousand, so the table does without what would double the cost of a row: columns that are
computed, and checks with IN.  What is part of a key is never null: STRICT says so.
"""

from __future__ import annotations

_TABLES = (
    """
    CREATE TABLE domain (
        name TEXT PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('local', 'alias', 'relay')),
        alias_of TEXT NOT NULL DEFAULT '',
        nexthop TEXT NOT NULL DEFAULT '',
        any_recipient INTEGER NOT NULL DEFAULT 0,
        default_quota INTEGER NOT NULL DEFAULT 0,
        max_mailboxes INTEGER,
        max_aliases INTEGER,
        max_quota INTEGER,
        max_total_quota INTEGER,
        managed_by TEXT NOT NULL,
        removed_at INTEGER,
        CHECK ((kind = 'alias') = (alias_of <> '')),
        CHECK ((kind = 'relay') = (nexthop <> ''))
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE domain_catch_all (
        domain TEXT REFERENCES domain (name) ON DELETE CASCADE,
        destination TEXT,
        PRIMARY KEY (domain, destination)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE domain_expression (
        domain TEXT REFERENCES domain (name) ON DELETE CASCADE,
        position INTEGER,
        pattern TEXT NOT NULL,
        PRIMARY KEY (domain, position)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE domain_expression_destination (
        domain TEXT,
        position INTEGER,
        destination TEXT,
        PRIMARY KEY (domain, position, destination),
        FOREIGN KEY (domain, position) REFERENCES domain_expression (domain, position) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE relay_recipient (
        domain TEXT REFERENCES domain (name) ON DELETE CASCADE,
        address TEXT,
        PRIMARY KEY (domain, address)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE mailbox (
        address TEXT PRIMARY KEY,
        password TEXT NOT NULL DEFAULT '',
        display_name TEXT NOT NULL DEFAULT '',
        quota INTEGER NOT NULL DEFAULT 0 CHECK (quota >= 0),
        state TEXT NOT NULL DEFAULT 'active' CHECK (
            state = 'active' OR state = 'disabled' OR state = 'send-only' OR state = 'receive-only'
        ),
        managed_by TEXT NOT NULL,
        removed_at INTEGER
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE mailbox_sender (
        mailbox TEXT REFERENCES mailbox (address) ON DELETE CASCADE,
        sender TEXT,
        PRIMARY KEY (mailbox, sender)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE alias (
        address TEXT PRIMARY KEY,
        managed_by TEXT NOT NULL,
        removed_at INTEGER
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE alias_destination (
        alias TEXT REFERENCES alias (address) ON DELETE CASCADE,
        destination TEXT,
        PRIMARY KEY (alias, destination)
    ) STRICT, WITHOUT ROWID
    """,
)

_HELPER_VIEWS = (
    # Every name under which the addresses of a local domain exist: its own and those of its alias domains.
    """
    CREATE VIEW served_domain (name, target) AS
    SELECT name, name FROM domain WHERE kind = 'local' AND removed_at IS NULL
    UNION ALL
    SELECT alias.name, target.name
    FROM domain AS alias JOIN domain AS target ON target.name = alias.alias_of
    WHERE alias.removed_at IS NULL AND target.kind = 'local' AND target.removed_at IS NULL
    """,
    # Mailboxes of local domains, those that have left included.
    """
    CREATE VIEW served_mailbox (address, local_part, domain, present, receives, submits, state) AS
    SELECT mailbox.address, substr(mailbox.address, 1, instr(mailbox.address, '@') - 1), domain.name,
        mailbox.removed_at IS NULL,
        mailbox.removed_at IS NULL AND mailbox.state IN ('active', 'receive-only'),
        mailbox.removed_at IS NULL AND mailbox.state IN ('active', 'send-only'),
        mailbox.state
    FROM mailbox JOIN domain ON domain.name = substr(mailbox.address, instr(mailbox.address, '@') + 1)
    WHERE domain.kind = 'local' AND domain.removed_at IS NULL
    """,
    # Aliases that count, whatever becomes of their domain. A mailbox wins over an alias of the same address.
    """
    CREATE VIEW present_alias (address, local_part, domain) AS
    SELECT alias.address, substr(alias.address, 1, instr(alias.address, '@') - 1),
        substr(alias.address, instr(alias.address, '@') + 1)
    FROM alias
    WHERE alias.removed_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM mailbox WHERE mailbox.address = alias.address AND mailbox.removed_at IS NULL)
    """,
    # One step from an alias, from '@domain' for a catch-all, or from '/domain/position' for an expression. Destinations
    # of ours are written canonically: the tag apart, an alias domain replaced by its target.
    """
    CREATE VIEW alias_step (address, destination, tag, served) AS
    WITH source (address, destination, at) AS MATERIALIZED (
        SELECT present_alias.address, alias_destination.destination, instr(alias_destination.destination, '@')
        FROM present_alias JOIN alias_destination ON alias_destination.alias = present_alias.address
        UNION ALL
        SELECT '@' || domain, destination, instr(destination, '@') FROM domain_catch_all
        UNION ALL
        SELECT '/' || domain || '/' || position, destination, instr(destination, '@') FROM domain_expression_destination
    )
    SELECT source.address,
        CASE WHEN served_domain.name IS NULL THEN source.destination
            ELSE substr(source.destination, 1,
                CASE WHEN instr(source.destination, '+') BETWEEN 2 AND source.at THEN instr(source.destination, '+')
                    ELSE source.at END - 1) || '@' || served_domain.target END,
        CASE WHEN instr(source.destination, '+') BETWEEN 2 AND source.at
            THEN substr(source.destination, instr(source.destination, '+'),
                source.at - instr(source.destination, '+')) ELSE '' END,
        served_domain.name IS NOT NULL
    FROM source LEFT JOIN served_domain ON served_domain.name = substr(source.destination, source.at + 1)
    """,
    # Where each of them finally leads: to a mailbox that receives, or to an address elsewhere.
    """
    CREATE VIEW final_destination (address, destination, keep_extension) AS
    WITH RECURSIVE
    step (address, destination, tag, served) AS MATERIALIZED (SELECT * FROM alias_step),
    way (address, destination, tag, served) AS (
        SELECT address, destination, tag, served FROM step
        UNION
        SELECT way.address, step.destination, CASE step.tag WHEN '' THEN way.tag ELSE step.tag END, step.served
        FROM way JOIN step ON step.address = way.destination
        WHERE way.served
    )
    SELECT DISTINCT way.address,
        CASE WHEN way.served
            THEN substr(way.destination, 1, instr(way.destination, '@') - 1) || way.tag
                || substr(way.destination, instr(way.destination, '@'))
            ELSE way.destination END,
        mailbox.address IS NOT NULL AND way.tag = ''
    FROM way
    LEFT JOIN mailbox ON way.served AND mailbox.address = way.destination AND mailbox.removed_at IS NULL
    WHERE NOT way.served OR mailbox.state IN ('active', 'receive-only')
    """,
)

_PUBLIC_VIEWS = (
    """
    CREATE VIEW postfix_domain (name, class, nexthop) AS
    SELECT name, 'local', '' FROM served_domain
    UNION ALL
    SELECT name, 'relay', nexthop FROM domain WHERE kind = 'relay' AND removed_at IS NULL
    """,
    """
    CREATE VIEW postfix_alias (address, destination, keep_extension) AS
    SELECT served_mailbox.local_part || '@' || served_domain.name, served_mailbox.address, 1
    FROM served_mailbox JOIN served_domain ON served_domain.target = served_mailbox.domain
    WHERE served_mailbox.receives
    UNION ALL
    SELECT present_alias.local_part || '@' || served_domain.name, final_destination.destination,
        final_destination.keep_extension
    FROM final_destination
    JOIN present_alias ON present_alias.address = final_destination.address
    JOIN served_domain ON served_domain.target = present_alias.domain
    """,
    """
    CREATE VIEW postfix_catch_all (domain, destination) AS
    SELECT served_domain.name, final_destination.destination
    FROM final_destination JOIN served_domain ON '@' || served_domain.target = final_destination.address
    """,
    """
    CREATE VIEW postfix_refused_recipient (address, reply) AS
    SELECT served_mailbox.local_part || '@' || served_domain.name,
        CASE WHEN served_mailbox.state = 'send-only' AND served_mailbox.present
            THEN '550 5.2.1 mailbox does not receive mail' ELSE '550 5.2.1 mailbox disabled' END
    FROM served_mailbox JOIN served_domain ON served_domain.target = served_mailbox.domain
    WHERE NOT served_mailbox.receives
        AND NOT EXISTS (SELECT 1 FROM present_alias WHERE present_alias.address = served_mailbox.address)
    UNION ALL
    SELECT present_alias.local_part || '@' || served_domain.name, '550 5.2.1 mailbox disabled'
    FROM present_alias JOIN served_domain ON served_domain.target = present_alias.domain
    WHERE present_alias.address NOT IN (SELECT address FROM final_destination)
    """,
    """
    CREATE VIEW postfix_mailbox (address) AS
    SELECT address FROM served_mailbox WHERE receives
    """,
    """
    CREATE VIEW postfix_sender (address, login) AS
    SELECT served_mailbox.local_part || '@' || served_domain.name, served_mailbox.address
    FROM served_mailbox JOIN served_domain ON served_domain.target = served_mailbox.domain
    WHERE served_mailbox.submits
    UNION
    SELECT present_alias.local_part || '@' || served_domain.name, served_mailbox.address
    FROM alias_step
    JOIN present_alias ON present_alias.address = alias_step.address
    JOIN served_mailbox ON served_mailbox.address = alias_step.destination
    JOIN served_domain ON served_domain.target = present_alias.domain
    WHERE served_mailbox.submits
    UNION
    SELECT mailbox_sender.sender, served_mailbox.address
    FROM mailbox_sender JOIN served_mailbox ON served_mailbox.address = mailbox_sender.mailbox
    WHERE served_mailbox.submits
    UNION
    SELECT substr(mailbox_sender.sender, 1, instr(mailbox_sender.sender, '@')) || served_domain.name,
        served_mailbox.address
    FROM mailbox_sender
    JOIN served_mailbox ON served_mailbox.address = mailbox_sender.mailbox
    JOIN served_domain
        ON served_domain.target = substr(mailbox_sender.sender, instr(mailbox_sender.sender, '@') + 1)
    WHERE served_mailbox.submits
    """,
    """
    CREATE VIEW postfix_relay_recipient (address) AS
    SELECT '@' || name FROM domain WHERE kind = 'relay' AND any_recipient AND removed_at IS NULL
    UNION ALL
    SELECT relay_recipient.address
    FROM relay_recipient JOIN domain ON domain.name = relay_recipient.domain
    WHERE domain.kind = 'relay' AND NOT domain.any_recipient AND domain.removed_at IS NULL
    """,
    # What rules of expressions are written from: once per name of the domain, in order.
    """
    CREATE VIEW postfix_expression (domain, position, pattern, destination) AS
    SELECT served_domain.name, domain_expression.position, domain_expression.pattern, final_destination.destination
    FROM domain_expression
    JOIN final_destination
        ON final_destination.address = '/' || domain_expression.domain || '/' || domain_expression.position
    JOIN served_domain ON served_domain.target = domain_expression.domain
    """,
    """
    CREATE VIEW dovecot_user
        (user, password, home, quota_bytes, may_access, may_submit, may_receive, display_name) AS
    SELECT mailbox.address, mailbox.password,
        substr(mailbox.address, instr(mailbox.address, '@') + 1) || '/'
            || substr(mailbox.address, 1, instr(mailbox.address, '@') - 1),
        mailbox.quota,
        domain.name IS NOT NULL AND mailbox.removed_at IS NULL AND mailbox.state IN ('active', 'receive-only'),
        domain.name IS NOT NULL AND mailbox.removed_at IS NULL AND mailbox.state IN ('active', 'send-only'),
        domain.name IS NOT NULL AND mailbox.removed_at IS NULL AND mailbox.state IN ('active', 'receive-only'),
        mailbox.display_name
    FROM mailbox
    LEFT JOIN domain ON domain.name = substr(mailbox.address, instr(mailbox.address, '@') + 1)
        AND domain.kind = 'local' AND domain.removed_at IS NULL
    """,
)

STATEMENTS = _TABLES + _HELPER_VIEWS + _PUBLIC_VIEWS
