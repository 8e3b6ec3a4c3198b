# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that a host makes for itself with openssl(1), until real ones are there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DAYS = 825  # the longest that Apple's clients accept from a certificate authority of one's own
RENEW_BEFORE = 30 * 86400  # seconds
ORGANIZATION = "Post Office bootstrap"  # tells ours from an operator's own, which is never touched

# Runs a program and returns its exit status and standard output.
Run = Callable[[list[str]], tuple[int, str]]


@dataclass(frozen=True)
class Wanted:
    """A certificate: where it and its key lie, and for which names it is."""

    path: Path
    key_path: Path
    names: tuple[str, ...]


def reason_to_make(path: Path, key_path: Path, names: list[str], run: Run) -> str:
    """Why a new certificate is needed, or an empty string: also when the one that is there is not of our making.

    Raises OSError when a file is there that cannot be judged.
    """
    if not path.exists() and not key_path.exists():
        return "there is none"
    status, text = run(["openssl", "x509", "-in", str(path), "-noout", "-issuer", "-ext", "subjectAltName", "-pubkey"])
    if status:
        raise OSError("this is no certificate; put the right one in its place, or remove it and its key")
    if ORGANIZATION not in text:
        return ""
    if sorted(re.findall(r"DNS:([^,\s]+)", text)) != sorted(set(names)):
        return "its names differ"
    status, public_key = run(["openssl", "pkey", "-in", str(key_path), "-pubout"])
    if status or public_key.strip() not in text:
        return "the key does not belong to it"
    if run(["openssl", "x509", "-in", str(path), "-noout", "-checkend", str(RENEW_BEFORE)])[0]:
        return "it ends in less than 30 days"
    return ""


def make(path: Path, key_path: Path, names: list[str], run: Run) -> None:
    """Write a self-signed ECDSA certificate and its key (mode 0600), each by rename.

    Raises OSError with what openssl said.
    """
    for folder in (path.parent, key_path.parent):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    with new_folder(key_path.with_name(f".{key_path.name}.new")) as fresh:
        new, new_key = fresh / "certificate", fresh / "key"
        status, output = run(request(new, new_key, names))
        if status:
            raise OSError(f"openssl could not make a certificate: {output.strip()}")
        new.chmod(0o644)
        new_key.chmod(0o600)
        for source, target in ((new_key, key_path), (new, path)):
            put(source, target)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder that only its owner can enter, always of the same name: what a killed run left goes first."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def request(path: Path, key_path: Path, names: list[str]) -> list[str]:
    """The arguments of openssl-req(1). A common name has room for 64 characters (X.520), so names go elsewhere."""
    subject = f"/O={ORGANIZATION}" + (f"/CN={names[0]}" if len(names[0]) <= 64 else "")
    alternatives = ",".join(f"DNS:{name}" for name in dict.fromkeys(names))
    arguments = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    arguments += ["-days", str(DAYS), "-subj", subject, "-addext", f"subjectAltName={alternatives}"]
    return [*arguments, "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", str(key_path), "-out", str(path)]


def put(source: Path, target: Path) -> None:
    """Flush `source` to the disk, then rename it."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(target)
