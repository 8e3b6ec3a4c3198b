# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates, keys and requests, by openssl(1)."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

OWN = "Post Office bootstrap"  # the organization in certificates that a host has made for itself
LONGEST = 200_000  # octets of a chain
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class PemError(Exception):
    """What openssl does not like."""


@dataclass(frozen=True)
class Certificate:
    """What is to be known of one; times are seconds since the epoch."""

    names: tuple[str, ...]
    begins: float
    ends: float
    issuer: str
    is_own: bool
    fits_key: bool


def openssl(*arguments: str, stdin: str = "") -> str:
    """Its output; raises PemError with what it said."""
    done = subprocess.run(
        ["openssl", *arguments], input=stdin, capture_output=True, text=True, errors="replace", check=False, umask=0o077
    )
    if done.returncode:
        raise PemError((done.stderr or done.stdout).strip().splitlines()[0])
    return done.stdout


def read(path: Path) -> str:
    """A file that may be somebody else's: no link is followed, and no more than a chain is read. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(LONGEST).decode("ascii", "replace")


def look(text: str, key: Path) -> Certificate:
    """The first certificate of a chain, beside its key. Raises PemError."""
    if _BEGIN not in text:
        raise PemError("there is no certificate in it")
    arguments = ("-noout", "-startdate", "-enddate", "-issuer", "-nameopt", "RFC2253", "-ext", "subjectAltName")
    said = openssl("x509", *arguments, "-pubkey", stdin=text)
    dates = dict(re.findall(r"^(notBefore|notAfter)=(.+)$", said, re.MULTILINE))
    issuer = re.search(r"^issuer=\s*(.*)$", said, re.MULTILINE)
    return Certificate(
        names=tuple(re.findall(r"DNS:([^,\s]+)", said)),
        begins=ssl.cert_time_to_seconds(dates["notBefore"]),
        ends=ssl.cert_time_to_seconds(dates["notAfter"]),
        issuer=issuer[1] if issuer else "",
        is_own=bool(issuer and OWN in issuer[1]),
        fits_key=key.exists() and openssl("pkey", "-in", str(key), "-pubout").strip() in said,
    )


def chain(text: str) -> str:
    """The certificates of a text and nothing else."""
    return "".join(f"{_BEGIN}{block.split(_END)[0]}{_END}\n" for block in text.split(_BEGIN)[1:] if _END in block)


def make_key(path: Path) -> None:
    """A new ECDSA key, readable by nobody else, put into place whole; its folder is there."""
    new = path.with_name(f".{path.name}.letsencrypt")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(new))
    new.replace(path)


def request(key: Path, names: tuple[str, ...]) -> str:
    """A signing request (RFC 2986). The names go where there is room for them, the subject is empty."""
    alternatives = ",".join(f"DNS:{name}" for name in names)
    return openssl("req", "-new", "-key", str(key), "-subj", "/", "-addext", f"subjectAltName={alternatives}")
