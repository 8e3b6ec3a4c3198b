# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes as both Dovecots verify them, and the reasons for which others are refused."""

from __future__ import annotations

import base64
import hashlib

import pytest
from mail_model import HASH

from ansible_collections.postoffice.mail.plugins.module_utils.directory import passwords

AWKWARD = "%u {{ x }} 'quoted\" $1 \\ äöü€ " + "x" * 170
SALTED = base64.b64encode(hashlib.sha512(b"secret" + b"salt").digest() + b"salt").decode()
# RFC 7677 gives this example for the password "pencil".
SCRAM = (
    "4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


@pytest.mark.parametrize("scheme", ["ARGON2ID", "ARGON2I", "SHA512-CRYPT", "SHA256-CRYPT"])
def test_what_is_hashed_is_verified(scheme: str) -> None:
    made = passwords.hash_password(AWKWARD, scheme)
    assert made.startswith(f"{{{scheme}}}$")
    assert passwords.normal_hash(made) == made
    assert passwords.verify(AWKWARD, made)
    assert not passwords.verify(AWKWARD + "x", made)
    assert passwords.hash_password(AWKWARD, scheme) != made


def test_bcrypt_refuses_what_it_would_ignore() -> None:
    made = passwords.hash_password("ä" * 36, "BLF-CRYPT")
    assert passwords.verify("ä" * 36, made)
    assert passwords.normal_hash(made) == made
    with pytest.raises(ValueError, match="72 bytes"):
        passwords.hash_password("ä" * 36 + "x", "BLF-CRYPT")
    with pytest.raises(ValueError, match="72 bytes"):
        passwords.hash_all({"a": "x" * 73}, "BLF-CRYPT")


@pytest.mark.parametrize(
    ("stored", "password"),
    [
        (f"{{SSHA512}}{SALTED}", "secret"),
        (f"{{ssha512.b64}}{SALTED}", "secret"),
        (f"{{SSHA512.HEX}}{base64.b64decode(SALTED).hex()}", "secret"),
        ("{SHA256}" + base64.b64encode(hashlib.sha256(b"secret").digest()).decode(), "secret"),
        ("{PBKDF2}$1$salt$1000$" + hashlib.pbkdf2_hmac("sha1", b"secret", b"salt", 1000).hex(), "secret"),
        (f"{{SCRAM-SHA-256}}{SCRAM}", "pencil"),
        ("{CRYPT}$6$rounds=1000$salt$" + "x" * 86, None),
        ("{CRYPT}$y$j9T$qxhqNidt9HkDOoRsa63sa1$W8spQjyda6wRnFi/9KN3S6KlHzAc.DsmY9veEoU5ML.", None),
    ],
)
def test_hashes_of_other_servers(stored: str, password: str | None) -> None:
    normal = passwords.normal_hash(stored)
    assert normal[1:].partition("}")[0].isupper()
    assert not passwords.verify("another", normal)
    if password is not None:
        assert passwords.verify(password, normal)


@pytest.mark.parametrize("scheme", ["MD5-CRYPT", "PLAIN-MD5", "SMD5", "LDAP-MD5", "DES-CRYPT", "HMAC-MD5", "md5-crypt"])
def test_schemes_that_dovecot_gave_up_are_refused_with_the_reason(scheme: str) -> None:
    with pytest.raises(ValueError, match=r"2\.4 no longer verifies it"):
        passwords.normal_hash(f"{{{scheme}}}whatever")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{PLAIN}secret", "is the password itself"),
        ("{CRYPT}abJnggxhB/yWI", "DES-CRYPT"),
        ("{CRYPT}$1$abc$def", "MD5-CRYPT"),
        ("{CRAM-MD5}abc", "so it is not a hash"),
        ("{WHATEVER}abc", "unknown scheme WHATEVER"),
        ("$6$salt$abc", r"write \{SHA512-CRYPT\} in front"),
        ("abc", "has no scheme"),
        ("{SHA512-CRYPT}$6$salt$tooshort", "copied whole"),
        ("{ARGON2ID}$argon2id$v=19", "copied whole"),
        ("{SSHA512}!!!", "copied whole"),
        ("{SSHA256}c2hvcnQ=", "copied whole"),
        ("{SHA256}" + SALTED, "copied whole"),
        (HASH + "\n", "copied whole"),
    ],
)
def test_what_is_no_hash_says_why_and_is_not_shown(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        passwords.normal_hash(text)
    assert "secret" not in str(caught.value)
    assert "tooshort" not in str(caught.value)


def test_many_at_once() -> None:
    wanted = {f"user{n}": f"password {n}" for n in range(5)}
    made = passwords.hash_all(wanted)
    assert made.keys() == wanted.keys()
    assert passwords.verified(wanted, made) == wanted.keys()
    assert passwords.verified(wanted, {**made, "user0": made["user1"], "user2": ""}) == {"user1", "user3", "user4"}
    assert passwords.hash_all({}) == {}
