"""What virus scanners are tried with: a virus that is none, and archives."""

from __future__ import annotations

import io
import zipfile

# The test virus of eicar.org, in pieces so that nobody's scanner takes this file for it.
EICAR = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*"


def zipped(content: bytes, name: str = "file.txt", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as written:
        written.writestr(name, content)
    return archive.getvalue()


def nested(content: bytes, depth: int) -> bytes:
    for level in range(depth):
        content = zipped(content, "file.txt" if level == 0 else f"level-{level}.zip")
    return content


def encrypted() -> bytes:
    """An archive whose header says that its content is encrypted, as nobody without the password can tell."""
    archive = bytearray(zipped(bytes(range(256)), method=zipfile.ZIP_STORED))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        archive[archive.index(mark) + offset] |= 1
    return bytes(archive)
