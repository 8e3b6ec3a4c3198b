# SPDX-License-Identifier: GPL-3.0-or-later
"""A user writes as himself: From, Sender and their Resent- forms belong to the login (RFC 6409 section 6.1).

Postfix holds the envelope sender against the login; readers, however, are shown the header, and a signature would
vouch for it.
"""

from __future__ import annotations

from .addresses import Address, AddressError, Mailbox, addresses_in_name, parse_address, parse_mailboxes
from .lookup import Directory, Snapshot
from .session import Check, Envelope
from .verdict import Reply, printable

FIELDS = {"from": "From", "sender": "Sender", "resent-from": "Resent-From", "resent-sender": "Resent-Sender"}
ONCE = ("from", "sender")
FIELD_COUNT_LIMIT = 20


class SenderCheck(Check):
    """Refuses a message of an authenticated client whose header names somebody else as its author."""

    def __init__(self, directory: Directory, delimiter: str, names: bool) -> None:
        self._directory = directory
        self._delimiter = delimiter
        self._names = names

    def headers(self, envelope: Envelope, headers: list[tuple[str, bytes]]) -> Reply | None:
        if not envelope.login:
            return None
        try:
            claimed = claims(headers)
        except FieldError as error:
            return Reply(550, error.status, str(error))
        with self._directory.snapshot() as snapshot:
            return judge(claimed, envelope.login, snapshot, self._delimiter, self._names)


class FieldError(ValueError):
    """A header field that cannot be accepted; ``status`` is the enhanced status code."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


def claims(headers: list[tuple[str, bytes]]) -> list[tuple[str, Mailbox]]:
    """Return (field name, mailbox) for everybody whom the header names as author or sender.

    Raises :class:`FieldError` for a header that RFC 5322 forbids or that programs could read differently.
    """
    fields = [(field_name(name), value) for name, value in headers]
    for key, value in fields:
        if b"\0" in value or b"\r" in value.replace(b"\r\n", b"") or not key.isprintable():
            raise FieldError("5.6.0", "The header contains a control character")
    present = [key for key, _value in fields if key in FIELDS]
    for key in ONCE:
        if present.count(key) > 1:
            raise FieldError("5.6.0", f"More than one {FIELDS[key]} field (RFC 5322 section 3.6)")
    if "from" not in present:
        raise FieldError("5.6.0", "The From field is missing (RFC 5322 section 3.6)")
    if len(present) > FIELD_COUNT_LIMIT:
        raise FieldError("5.6.0", "Too many Resent- fields")
    return [(FIELDS[key], mailbox) for key, value in fields if key in FIELDS for mailbox in _mailboxes(key, value)]


def field_name(name: str) -> str:
    """Return the name as it is compared: obsolete syntax allows blanks before the colon (RFC 5322 section 4.5)."""
    return name.strip(" \t").lower()


def _mailboxes(key: str, value: bytes) -> tuple[Mailbox, ...]:
    try:
        mailboxes = parse_mailboxes(value)
    except AddressError as error:
        raise FieldError("5.6.0", f"The {FIELDS[key]} field cannot be accepted: {error}") from error
    if key.endswith("sender") and len(mailboxes) > 1:
        raise FieldError("5.6.0", f"The {FIELDS[key]} field must name one address (RFC 5322 section 3.6)")
    return mailboxes


def judge(
    claimed: list[tuple[str, Mailbox]], login: str, snapshot: Snapshot, delimiter: str, names: bool
) -> Reply | None:
    """Return a refusal that names the first address that is not the login's own."""
    for field, mailbox in claimed:
        if not _owns(login, mailbox.address, snapshot, delimiter):
            return Reply(550, "5.7.1", f"{field} address <{mailbox.address}> does not belong to {login}")
        for shown in _foreign_in_names(mailbox, login, snapshot, delimiter) if names else ():
            return Reply(550, "5.7.1", f"{field} name shows {printable(shown)}, which does not belong to {login}")
    return None


def _owns(login: str, address: Address, snapshot: Snapshot, delimiter: str) -> bool:
    return snapshot.may_send_as(login, address.without_tag(delimiter))


def _foreign_in_names(mailbox: Mailbox, login: str, snapshot: Snapshot, delimiter: str) -> list[str]:
    return [
        shown
        for name in mailbox.names
        for shown in addresses_in_name(name)
        if (address := _address_or_none(shown)) is None or not _owns(login, address, snapshot, delimiter)
    ]


def _address_or_none(text: str) -> Address | None:
    try:
        return parse_address(text)
    except AddressError:
        return None
