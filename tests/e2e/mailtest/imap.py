"""A mailbox as its owner sees it, over IMAP."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import imapclient

from .deployment import Endpoint, Person
from .tls import any_certificate
from .waiting import DEADLINE, wait_for

INBOX = "INBOX"


def connect(endpoint: Endpoint) -> imapclient.IMAPClient:
    """An encrypted connection (IMAPS) on which nobody has logged in yet."""
    return imapclient.IMAPClient(
        endpoint.host, endpoint.port, ssl=True, ssl_context=any_certificate(), timeout=30, use_uid=True
    )


def login(client: imapclient.IMAPClient, person: Person) -> None:
    """Log in with SASL PLAIN, which carries every password (UTF-8, RFC 4616)."""
    client.sasl_login("PLAIN", lambda _unused: f"\0{person.address}\0{person.password}".encode())


class Mailbox:
    """One person's mail. Keeps its connection; finds messages by Message-ID."""

    def __init__(self, endpoint: Endpoint, person: Person) -> None:
        self.person = person
        self.client = connect(endpoint)
        login(self.client, person)
        self._seen: dict[str, dict[str, list[int]]] = {}
        self._highest: dict[str, int] = {}

    def close(self) -> None:
        self.client.logout()

    def wait_for(self, message: EmailMessage | str, folder: str = INBOX, deadline: float = DEADLINE) -> EmailMessage:
        """The message as it was delivered to `folder`, waited for."""
        uids = wait_for(
            lambda: self.uids(message, folder),
            f"message {_id(message)} in {self.person.address}'s {folder}",
            deadline,
        )
        return self.fetch(uids[0], folder)

    def holds(self, message: EmailMessage | str, folder: str = INBOX) -> bool:
        return bool(self.uids(message, folder))

    def folders_with(self, message: EmailMessage | str) -> list[str]:
        """Every folder in which the message lies, once per copy."""
        return [folder for folder in self.folders() for _unused in self.uids(message, folder)]

    def folders(self) -> list[str]:
        return [str(name) for flags, _unused, name in self.client.list_folders() if b"\\Noselect" not in flags]

    def uids(self, message: EmailMessage | str, folder: str = INBOX) -> list[int]:
        """The message's UIDs in `folder`; none, too, while the folder does not exist."""
        if not self.client.folder_exists(folder):
            return []
        self.client.select_folder(folder, readonly=True)
        known = self._seen.setdefault(folder, {})
        first = self._highest.get(folder, 0) + 1
        arrived = [uid for uid in self.client.search(["UID", f"{first}:*"]) if uid >= first]
        for uid, data in self.client.fetch(arrived, ["BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"]).items():
            header = email.message_from_bytes(data[b"BODY[HEADER.FIELDS (MESSAGE-ID)]"])
            known.setdefault(str(header["Message-ID"]).strip(), []).append(uid)
            self._highest[folder] = max(uid, self._highest.get(folder, 0))
        return known.get(_id(message), [])

    def raw(self, uid: int, folder: str = INBOX) -> bytes:
        self.client.select_folder(folder, readonly=True)
        return bytes(self.client.fetch([uid], ["BODY.PEEK[]"])[uid][b"BODY[]"])

    def fetch(self, uid: int, folder: str = INBOX) -> EmailMessage:
        return email.message_from_bytes(self.raw(uid, folder), policy=email.policy.SMTP)

    def empty(self, folder: str = INBOX) -> None:
        """Delete everything in `folder`."""
        self.client.select_folder(folder)
        everything = self.client.search("ALL")
        if everything:
            self.client.delete_messages(everything)
            self.client.expunge()
        self._seen.pop(folder, None)

    def usage(self) -> tuple[int, int]:
        """Bytes used and allowed, as the quota extension reports them (RFC 9208), both in units of 1,024."""
        _unused, quotas = self.client.get_quota_root(INBOX)
        storage = next(quota for quota in quotas if quota.resource == "STORAGE")
        return int(storage.usage), int(storage.limit)


def _id(message: EmailMessage | str) -> str:
    return message if isinstance(message, str) else str(message["Message-ID"])
