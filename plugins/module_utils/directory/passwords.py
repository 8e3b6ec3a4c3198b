# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Passwords and their hashes, as Dovecot 2.3 and 2.4 verify them.

A stored hash is text: ``{SCHEME}`` and what follows.  Hashing needs passlib, which is imported only then; checking
the form of a hash needs nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from .errors import MissingLibrary

DEFAULT_SCHEME = "ARGON2ID"
SCHEMES = ("ARGON2ID", "ARGON2I", "BLF-CRYPT", "SHA512-CRYPT", "SHA256-CRYPT")
"""What a password may be hashed with here, strongest first."""

LONGEST_PASSWORD = 512
BCRYPT_LIMIT = 72

_CRYPT64 = "[./A-Za-z0-9]"
_ARGON2 = r"\$v=19\$m=\d{1,8},t=\d{1,4},p=\d{1,3}\$[A-Za-z0-9+/]{11,128}\$[A-Za-z0-9+/]{16,172}"
_BCRYPT = rf"\$2[aby]\$\d\d\${_CRYPT64}{{53}}"
_SHA_CRYPT = r"(?:rounds=\d{4,9}\$)?[^$:\n\x00-\x20]{0,16}\$"
_SHA512_CRYPT = rf"\$6\${_SHA_CRYPT}{_CRYPT64}{{86}}"
_SHA256_CRYPT = rf"\$5\${_SHA_CRYPT}{_CRYPT64}{{43}}"
_YESCRYPT = r"\$(?:y|gy|7)\$[./A-Za-z0-9$]{20,200}"
_BASE64 = r"[A-Za-z0-9+/]+={0,2}"
_SCRAM = rf"\d{{4,8}},{_BASE64},{_BASE64},{_BASE64}"

_FORMS = {
    "ARGON2ID": re.compile(r"\$argon2id" + _ARGON2),
    "ARGON2I": re.compile(r"\$argon2i" + _ARGON2),
    "BLF-CRYPT": re.compile(_BCRYPT),
    "SHA512-CRYPT": re.compile(_SHA512_CRYPT),
    "SHA256-CRYPT": re.compile(_SHA256_CRYPT),
    "CRYPT": re.compile("|".join((_BCRYPT, _SHA512_CRYPT, _SHA256_CRYPT, _YESCRYPT))),
    "PBKDF2": re.compile(r"\$1\$[^$\n\x00-\x20]{1,64}\$\d{1,9}\$[0-9a-f]{40}"),
    "SCRAM-SHA-1": re.compile(_SCRAM),
    "SCRAM-SHA-256": re.compile(_SCRAM),
}
COMMON_HASH = re.compile("|".join(rf"\{{{scheme}\}}(?:{_FORMS[scheme].pattern})" for scheme in SCHEMES))
"""Hashes that are already what ``normal_hash`` returns."""

_DIGESTS = {
    "SHA": "sha1",
    "SHA1": "sha1",
    "SHA256": "sha256",
    "SHA512": "sha512",
    "SSHA": "sha1",
    "SSHA256": "sha256",
    "SSHA512": "sha512",
}
_ENCODINGS = ("", ".B64", ".BASE64", ".HEX")

_GONE = "Dovecot 2.4 no longer verifies it because it is broken; set a new password"
_SHARED_SECRET = "what is stored logs in as it is, so it is not a hash; set a new password"
_CLEAR = "it is the password itself; give it as `password`, it is then hashed"
_REFUSED = {
    **dict.fromkeys(("MD5-CRYPT", "PLAIN-MD5", "SMD5", "LDAP-MD5", "DES-CRYPT", "HMAC-MD5", "MD5"), _GONE),
    **dict.fromkeys(("PLAIN-MD4", "LANMAN", "LM", "NTLM", "SKEY", "OTP"), _GONE),
    **dict.fromkeys(("CRAM-MD5", "DIGEST-MD5", "RPA"), _SHARED_SECRET),
    **dict.fromkeys(("PLAIN", "CLEAR", "CLEARTEXT", "PLAIN-TRUNC"), _CLEAR),
}
_SCHEME = re.compile(r"\{([A-Za-z0-9._-]+)\}(.*)", re.DOTALL)
_PREFIXES = (
    ("$argon2id$", "ARGON2ID"),
    ("$argon2i$", "ARGON2I"),
    ("$2", "BLF-CRYPT"),
    ("$6$", "SHA512-CRYPT"),
    ("$5$", "SHA256-CRYPT"),
    ("$1$", "MD5-CRYPT"),
    ("$y$", "CRYPT"),
)


def check_password(text: str) -> None:
    """Raise ``ValueError`` when no client could send this password; the text never shows it."""
    if not text:
        raise ValueError("is empty; leave it out for a mailbox that nobody logs in to")
    if len(text.encode("utf-8", "surrogatepass")) > LONGEST_PASSWORD:
        raise ValueError(f"has more than {LONGEST_PASSWORD} bytes; use a shorter one")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise ValueError("contains a control character or a line break, which mail programs cannot send")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise ValueError("is not valid Unicode text")


def check_length_for(scheme: str, text: str) -> None:
    """bcrypt ignores what follows the 72nd byte: better to be told than to believe in a long password."""
    if scheme == "BLF-CRYPT" and len(text.encode()) > BCRYPT_LIMIT:
        raise ValueError(
            f"has more than {BCRYPT_LIMIT} bytes, of which BLF-CRYPT ignores the rest; use a shorter one or ARGON2ID"
        )


def normal_hash(text: str) -> str:
    """Return a hash of another server with its scheme in capitals; ``ValueError`` says why it is refused.

    The text of the error never shows the hash.
    """
    match = _SCHEME.fullmatch(text)
    if match is None:
        raise ValueError(_advice_without_scheme(text))
    scheme, value = match[1].upper(), match[2]
    form = _FORMS.get(scheme)
    if form is not None:
        if form.fullmatch(value) is None:
            raise ValueError(_malformed(scheme, value))
        return f"{{{scheme}}}{value}"
    base, dot, encoding = scheme.partition(".")
    if base in _DIGESTS and dot + encoding in _ENCODINGS:
        _decoded(base, dot + encoding, value)
        return f"{{{scheme}}}{value}"
    if base in _REFUSED:
        raise ValueError(f"is of the scheme {base}: {_REFUSED[base]}")
    raise ValueError(f"is of the unknown scheme {scheme}; known are " + ", ".join((*_FORMS, *_DIGESTS)))


def _advice_without_scheme(text: str) -> str:
    for prefix, scheme in _PREFIXES:
        if text.startswith(prefix):
            return f"has no scheme; write {{{scheme}}} in front of it"
    return "has no scheme; it begins with one in braces, such as {SHA512-CRYPT}"


def _malformed(scheme: str, value: str) -> str:
    if scheme == "CRYPT" and not value.startswith("$"):
        return "is of the scheme DES-CRYPT: " + _GONE
    if scheme == "CRYPT" and value.startswith("$1$"):
        return "is of the scheme MD5-CRYPT: " + _GONE
    return f"is not what {scheme} looks like; was it copied whole, and is it quoted so that $ survives?"


def _decoded(scheme: str, encoding: str, value: str) -> tuple[bytes, bytes]:
    """Return digest and salt of an LDAP-style hash."""
    size = hashlib.new(_DIGESTS[scheme]).digest_size
    try:
        raw = bytes.fromhex(value) if encoding == ".HEX" else base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError(_malformed(scheme, value)) from None
    salted = scheme.startswith("SSHA")
    if len(raw) < size or (len(raw) > size) != salted:
        raise ValueError(_malformed(scheme, value))
    return raw[:size], raw[size:]


def hash_password(text: str, scheme: str = DEFAULT_SCHEME) -> str:
    """Return ``{SCHEME}hash`` with a fresh salt."""
    check_length_for(scheme, text)
    return f"{{{scheme}}}" + _hashers()[scheme](text)


def _hashers() -> Mapping[str, Callable[[str], str]]:
    """Costs after OWASP's recommendations: some 30 ms and 19 MiB each, so that a burst of logins fits a small host."""
    try:
        from passlib.hash import argon2, bcrypt, sha256_crypt, sha512_crypt
    except ImportError:
        raise MissingLibrary("hashing passwords needs passlib: install the package python3-passlib") from None
    return {
        "ARGON2ID": lambda text: _passlib(argon2.using(type="ID", time_cost=2, memory_cost=19456, parallelism=1), text),
        "ARGON2I": lambda text: _passlib(argon2.using(type="I", time_cost=3, memory_cost=19456, parallelism=1), text),
        "BLF-CRYPT": lambda text: _passlib(bcrypt.using(rounds=11, ident="2b"), text),
        "SHA512-CRYPT": lambda text: _passlib(sha512_crypt.using(rounds=100_000), text),
        "SHA256-CRYPT": lambda text: _passlib(sha256_crypt.using(rounds=150_000), text),
    }


def _passlib(handler: object, text: str) -> str:
    from passlib.exc import MissingBackendError

    try:
        return str(handler.hash(text))  # type: ignore[attr-defined]
    except MissingBackendError:
        raise MissingLibrary(
            "hashing passwords needs a library that is not installed: the packages python3-argon2 and python3-bcrypt"
        ) from None


def verify(text: str, stored: str) -> bool:
    """Tell whether ``text`` is the password that ``stored`` was made from."""
    match = _SCHEME.fullmatch(stored)
    if match is None:
        return False
    scheme, value = match[1].upper(), match[2]
    base, dot, encoding = scheme.partition(".")
    if base in _DIGESTS:
        digest, salt = _decoded(base, dot + encoding, value)
        return hmac.compare_digest(hashlib.new(_DIGESTS[base], text.encode() + salt).digest(), digest)
    if scheme == "PBKDF2":
        _empty, _version, salt_text, rounds, digest_hex = value.split("$")
        made = hashlib.pbkdf2_hmac("sha1", text.encode(), salt_text.encode(), int(rounds))
        return hmac.compare_digest(made.hex(), digest_hex)
    if scheme.startswith("SCRAM-"):
        return _verify_scram(text, "sha256" if scheme.endswith("256") else "sha1", value)
    return _verify_crypt(text, value)


def _verify_scram(text: str, digest: str, value: str) -> bool:
    """RFC 5802: the stored key is the hash of a key derived from the salted password."""
    rounds, salt, stored_key, _server_key = value.split(",")
    salted = hashlib.pbkdf2_hmac(digest, text.encode(), base64.b64decode(salt), int(rounds))
    client_key = hmac.digest(salted, b"Client Key", digest)
    return hmac.compare_digest(hashlib.new(digest, client_key).digest(), base64.b64decode(stored_key))


def _verify_crypt(text: str, value: str) -> bool:
    try:
        from passlib.context import CryptContext
        from passlib.exc import MissingBackendError
    except ImportError:
        raise MissingLibrary("verifying passwords needs passlib: install the package python3-passlib") from None
    context = CryptContext(schemes=["argon2", "bcrypt", "sha512_crypt", "sha256_crypt"])
    if context.identify(value) is None:
        return False
    if value.startswith("$2"):
        text = text.encode()[:BCRYPT_LIMIT].decode(errors="ignore") if len(text.encode()) > BCRYPT_LIMIT else text
    try:
        return bool(context.verify(text, value))
    except MissingBackendError:
        raise MissingLibrary(
            "verifying passwords needs a library that is not installed: the packages python3-argon2 and python3-bcrypt"
        ) from None


def hash_all(passwords: Mapping[str, str], scheme: str = DEFAULT_SCHEME) -> dict[str, str]:
    """Hash many passwords, on every processor: the C libraries release Python's lock meanwhile."""
    if not passwords:
        return {}
    hasher = _hashers()[scheme]
    for text in passwords.values():
        check_length_for(scheme, text)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {
            name: f"{{{scheme}}}{made}"
            for name, made in zip(passwords, pool.map(hasher, passwords.values()), strict=True)
        }


def verified(passwords: Mapping[str, str], stored: Mapping[str, str]) -> frozenset[str]:
    """Return the names whose stored hash was made from the password that is wanted for them."""
    names = [name for name in passwords if stored.get(name)]
    if not names:
        return frozenset()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        matches = list(pool.map(lambda name: verify(passwords[name], stored[name]), names))
    return frozenset(name for name, match in zip(names, matches, strict=True) if match)
