# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fields that a user may write, in one table: parsing checks names against it and the reference is made from it."""

from __future__ import annotations

from typing import NamedTuple


class Field(NamedTuple):
    """One key of a user's structure."""

    name: str
    type: str
    description: str
    required: bool = False
    default: str = ""


DOMAIN = (
    Field("name", "text", "The domain. Accents are allowed; it is stored as IDNA A-labels.", required=True),
    Field("alias_of", "text", "Another domain of the list: every address that exists there exists here as well."),
    Field("relay_to", "mapping", "Mail is not kept here but passed on to another server; see the table below."),
    Field("catch_all", "address or list", "Where mail to addresses goes that nothing else of the domain matches."),
    Field("mailboxes", "list", "The mailboxes; see the table below."),
    Field("aliases", "list", "Addresses that lead to others; see the table below."),
    Field("expressions", "list", "Regular-expression aliases, tried in this order; see the table below."),
    Field("defaults", "mapping", "What a mailbox gets that does not say: `quota`, `sending_limits`."),
    Field(
        "limits", "mapping", "What the domain may hold: `max_mailboxes`, `max_aliases`, `max_quota`, `max_total_quota`."
    ),
    Field("sieve", "text", "A Sieve script that runs for every mailbox of the domain before its own."),
    Field("spam", "mapping", "What its mailboxes take for spam; see the table below."),
)
MAILBOX = (
    Field(
        "name", "text", "What stands before the @; the full address of the domain may be written too.", required=True
    ),
    Field(
        "password",
        "text",
        "The password. Quote it. It is hashed on the host, and only used when the mailbox is new unless passwords"
        " are to be updated always.",
    ),
    Field("password_hash", "text", "Instead of the password: a hash with its scheme, such as `{SHA512-CRYPT}$6$...`."),
    Field("display_name", "text", "The person's name, for people and programs to show."),
    Field(
        "quota", "size", "How much mail it holds: `5G`, `500M`, 0 for no limit.", default="the domain's default, else 0"
    ),
    Field(
        "state",
        "text",
        "`active`; `disabled`: neither receives nor logs in; `send-only`: submits mail but receives and reads none;"
        " `receive-only`: receives and reads but cannot send.",
        default="active",
    ),
    Field("aliases", "list", "Further addresses of this mailbox: local parts, or addresses of other local domains."),
    Field("may_send_as", "list", "Further senders it may use: addresses, local parts, or `@example.org` for a domain."),
    Field(
        "sending_limits",
        "mapping",
        "How much it may send; see the table below.",
        default="the domain's default, else the site's, each by itself",
    ),
    Field("sieve", "text", "The mailbox's own Sieve script."),
    Field("spam", "mapping", "What it takes for spam, before what its domain says; see the table below."),
)
ALIAS = (
    Field(
        "name", "text", "What stands before the @; the full address of the domain may be written too.", required=True
    ),
    Field(
        "destinations",
        "address or list",
        "Where its mail goes: local or remote addresses, or local parts.",
        required=True,
    ),
)
EXPRESSION = (
    Field(
        "pattern",
        "text",
        "A regular expression (PCRE) that the whole local part must match; case does not matter and a tag is ignored.",
        required=True,
    ),
    Field(
        "destinations",
        "address or list",
        "Where such mail goes; `$1` to `$9` stand for what the pattern's groups matched.",
        required=True,
    ),
)
RELAY = (
    Field("host", "text", "Name or IP address of the server that mail is passed on to.", required=True),
    Field("port", "number", "Its port.", default="25"),
    Field("recipients", "list", "The addresses that exist there.", default="every recipient is accepted"),
)
DEFAULTS = (
    Field("quota", "size", "The quota of a mailbox that does not say."),
    Field("sending_limits", "mapping", "How much a mailbox may send that does not say; see the table below."),
)
SENDING_LIMITS = (
    Field("messages_per_hour", "number", "Messages within an hour; 0 for no limit, as in the others."),
    Field("messages_per_day", "number", "Messages within 24 hours."),
    Field("recipients_per_hour", "number", "Recipients of all messages within an hour."),
    Field("recipients_per_day", "number", "Recipients of all messages within 24 hours."),
    Field("new_recipients_per_day", "number", "Recipients within 24 hours that it had not written to before."),
)
SPAM = (
    Field(
        "junk_from",
        "number",
        "From how many points on mail is filed as spam, in tenths; 0: never.",
        default="that of the domain, else of the site",
    ),
    Field("allow", "address or list", "Senders (From) whose mail is never filed as spam: addresses, `@example.org`."),
    Field("block", "address or list", "Senders (From) whose mail is always filed as spam."),
)
LIMITS = (
    Field("max_mailboxes", "number", "How many mailboxes the domain may have."),
    Field("max_aliases", "number", "How many aliases the domain may have, those of mailboxes included."),
    Field("max_quota", "size", "The largest quota of one mailbox; also the default when the domain has none."),
    Field("max_total_quota", "size", "What the quotas of all its mailboxes may add up to."),
)

TABLES = (
    ("A domain", DOMAIN),
    ("A mailbox", MAILBOX),
    ("An alias", ALIAS),
    ("An expression", EXPRESSION),
    ("`relay_to`", RELAY),
    ("`defaults`", DEFAULTS),
    ("`limits`", LIMITS),
    ("`sending_limits`", SENDING_LIMITS),
    ("`spam`", SPAM),
)


def names(fields: tuple[Field, ...]) -> frozenset[str]:
    """Return the keys that a table allows."""
    return frozenset(field.name for field in fields)


def reference() -> str:
    """Return the reference of all fields as Markdown."""
    parts = []
    for title, fields in TABLES:
        parts += [f"### {title}", "", "| Field | Type | Meaning |", "|---|---|---|"]
        parts += [f"| `{item.name}` | {item.type}{_note(item)} | {item.description} |" for item in fields]
        parts.append("")
    return "\n".join(parts)


def _note(item: Field) -> str:
    if item.required:
        return ", required"
    return f", default: {item.default}" if item.default else ""
