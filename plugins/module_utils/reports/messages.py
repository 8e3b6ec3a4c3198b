# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes reports out of messages.

Strangers send them: sizes are bounded, and nothing in them is believed to be harmless.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from email.message import Message
from typing import Protocol

SIZE_LIMIT = 20 * 1024 * 1024  # octets of an unpacked report; the largest receivers' have some hundred kilobytes
READ_AT_ONCE = 65536
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"


class Unpacking(Protocol):
    """What gives out unpacked octets, some at a time."""

    def read(self, size: int, /) -> bytes: ...


class ReportError(Exception):
    """Why a report cannot be read."""


def attachments(message: Message) -> Iterator[bytes]:
    """What may be a report, unpacked: XML or JSON.

    ReportError when something is larger than any report, or cannot be unpacked.
    """
    for part in message.walk():
        if part.is_multipart() or (part.get_content_maintype() == "text" and part.get_content_subtype() != "xml"):
            continue
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            text = unpacked(content).lstrip(b"\xef\xbb\xbf \t\r\n")
            if text[:1] in (b"<", b"{"):
                yield text


def unpacked(content: bytes) -> bytes:
    try:
        if content.startswith(GZIP):
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
                return bounded(stream)
        if content.startswith(ZIP):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = archive.namelist()
                if len(names) != 1:
                    raise ReportError(f"an archive of {len(names)} files is no report")
                with archive.open(names[0]) as member:
                    return bounded(member)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ReportError(f"cannot be unpacked: {error}") from None
    return content


def bounded(stream: Unpacking) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := stream.read(READ_AT_ONCE):
        pieces.append(piece)
        size += len(piece)
        if size > SIZE_LIMIT:
            raise ReportError(f"is larger than {SIZE_LIMIT // 1024 // 1024} MB when it is unpacked")
    return b"".join(pieces)


def harmless(value: object, limit: int = 100) -> str:
    """A text for a terminal: one line of printable characters, not too long."""
    text = "".join(character if character.isprintable() else "?" for character in str(value).strip())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
