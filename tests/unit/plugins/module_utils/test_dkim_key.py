# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key is made once, is never replaced, and what is published for it verifies what it signs; with the real openssl."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.postoffice.mail.plugins.module_utils.dkim_key import (
    Attributes,
    DkimKeyError,
    Key,
    Outcome,
    Store,
    expand,
    lines,
    read_keys,
    record,
    settle,
)

RSA = Key("example.org", "mail")
EDWARDS = Key("example.org", "ed", algorithm="ed25519")
MESSAGE = b"From: alice@example.org\r\nTo: bob@example.net\r\nSubject: hello\r\n\r\nHello.\r\n"


class OpenSSL:
    """The real one; remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        self.calls.append(argv)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def openssl() -> OpenSSL:
    return OpenSSL()


@pytest.fixture
def store(tmp_path: Path, openssl: OpenSSL) -> Store:
    return Store(tmp_path / "keys", Attributes(os.getuid(), os.getgid()), openssl)


def run(store: Store, *keys: Key, change: bool = True) -> list[Outcome]:
    return settle(keys, store, change=change)


def published_value(outcome: Outcome) -> str:
    assert outcome.public
    return record(outcome.key, outcome.public)["value"]


def value(store: Store, key: Key) -> str:
    (outcome,) = run(store, key)
    return published_value(outcome)


def problems(store: Store, *keys: Key) -> list[str]:
    with pytest.raises(DkimKeyError) as refused:
        run(store, *keys)
    return refused.value.problems


def contents(store: Store) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}


def test_what_is_published_verifies_what_the_key_signs(store: Store) -> None:
    published = value(store, RSA)
    assert published.startswith("v=DKIM1; h=sha256; k=rsa; p=")
    signature = dkim.sign(MESSAGE, b"mail", b"example.org", store.private(RSA).read_bytes())
    asked: list[bytes] = []

    def look_up(name: bytes, timeout: int = 5) -> bytes:
        asked.append(name)
        return published.encode()

    assert dkim.verify(signature + MESSAGE, dnsfunc=look_up)
    assert asked == [f"{RSA.name}.".encode()]
    assert not dkim.verify(signature + MESSAGE.replace(b"Hello", b"Hallo"), dnsfunc=look_up)


def test_an_edwards_key_is_published_as_its_bare_32_octets(store: Store) -> None:
    """RFC 8463, section 4.2: not the structure around them."""
    published = re.fullmatch(r"v=DKIM1; h=sha256; k=ed25519; p=(\S+)", value(store, EDWARDS))
    assert published
    private = serialization.load_pem_private_key(store.private(EDWARDS).read_bytes(), password=None)
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    assert base64.b64decode(published[1]) == private.public_key().public_bytes_raw()


@pytest.mark.parametrize("bits", [2048, 3072])
def test_an_rsa_key_has_the_size_that_is_asked_for(store: Store, bits: int) -> None:
    (outcome,) = run(store, replace(RSA, bits=bits))
    assert outcome.public
    assert outcome.public.bits == bits


def test_a_key_is_made_once(store: Store, openssl: OpenSSL) -> None:
    first = run(store, RSA, EDWARDS)
    assert [outcome.actions for outcome in first] == [("make",), ("make",)]
    kept = contents(store)
    openssl.calls.clear()
    second = run(store, RSA, EDWARDS)
    assert [outcome.actions for outcome in second] == [(), ()]
    assert [outcome.public for outcome in second] == [outcome.public for outcome in first]
    assert contents(store) == kept
    assert openssl.calls == []


def test_check_mode_changes_nothing(store: Store) -> None:
    (outcome,) = run(store, RSA, change=False)
    assert (outcome.actions, outcome.public) == (("make",), None)
    assert not store.folder.exists()


def test_only_root_and_the_group_can_read_a_key(store: Store) -> None:
    run(store, RSA)
    assert store.private(RSA).stat().st_mode & 0o7777 == 0o640
    assert store.private(RSA).parent.stat().st_mode & 0o7777 == 0o750
    assert store.folder.stat().st_mode & 0o7777 == 0o750
    store.private(RSA).chmod(0o644)
    assert [outcome.actions for outcome in run(store, RSA)] == [("attributes",)]
    assert store.private(RSA).stat().st_mode & 0o7777 == 0o640
    assert [outcome.actions for outcome in run(store, RSA)] == [()]


def test_no_key_is_in_arguments_results_or_diffs(store: Store, openssl: OpenSSL) -> None:
    outcomes = run(store, RSA, EDWARDS)
    shown = repr(openssl.calls) + repr([published_value(outcome) for outcome in outcomes]) + repr(lines(outcomes))
    shown += store.public(RSA).read_text() + store.public(EDWARDS).read_text()
    for key in (RSA, EDWARDS):
        secret = store.private(key).read_text().split("-----")[2].split()
        assert secret
        assert not [line for line in secret if line in shown]


def test_nothing_but_the_key_and_what_is_public_is_left(store: Store) -> None:
    left = store.folder / "example.org" / ".mail.private.new" / "key"
    left.parent.mkdir(parents=True)
    left.write_text("half a key")
    run(store, RSA)
    assert sorted(path.name for path in store.private(RSA).parent.iterdir()) == ["mail.json", "mail.private"]


def test_a_run_that_was_killed_is_finished_with_the_same_key(store: Store) -> None:
    published = value(store, RSA)
    store.public(RSA).unlink()
    (outcome,) = run(store, RSA)
    assert outcome.actions == ("describe",)
    assert published_value(outcome) == published


def test_rotation_in_stages(store: Store) -> None:
    """Each stage may be repeated."""
    new = Key("example.org", "next")
    stages = [
        ([RSA], ["make"]),
        ([RSA, replace(new, state="published")], ["", "make"]),
        ([replace(RSA, state="published"), new], ["", ""]),
        ([replace(RSA, state="retired"), new], ["retire", ""]),
        ([new], [""]),
    ]
    for keys, actions in stages:
        assert [" ".join(outcome.actions) for outcome in run(store, *keys)] == actions
        before = contents(store)
        assert [outcome.actions for outcome in run(store, *keys)] == [()] * len(keys)
        assert contents(store) == before
    assert sorted(path.name for path in store.private(new).parent.iterdir()) == [
        "mail.json",
        "next.json",
        "next.private",
    ]


def test_a_retired_key_is_published_and_gone(store: Store) -> None:
    published = value(store, RSA)
    assert value(store, replace(RSA, state="retired")) == published
    assert not store.private(RSA).exists()
    (problem,) = problems(store, RSA)
    assert problem.startswith("keys[0]: mail._domainkey.example.org was retired")


def test_retiring_that_was_interrupted_is_finished(store: Store) -> None:
    run(store, RSA)
    kept = store.private(RSA).read_bytes()
    run(store, replace(RSA, state="retired"))
    store.private(RSA).write_bytes(kept)
    assert [outcome.actions for outcome in run(store, replace(RSA, state="retired"))] == [("retire",)]
    assert not store.private(RSA).exists()


def test_there_may_be_nothing_to_retire(store: Store) -> None:
    (outcome,) = run(store, replace(RSA, state="retired"))
    assert (outcome.actions, outcome.public) == ((), None)


def test_a_lost_key_is_not_replaced(store: Store) -> None:
    run(store, RSA)
    store.private(RSA).unlink()
    (problem,) = problems(store, EDWARDS, RSA)
    assert problem.startswith(f"keys[1]: {store.private(RSA)} is gone")
    assert not store.private(EDWARDS).exists(), "one problem stops everything"


def test_another_key_in_its_place_is_refused(store: Store) -> None:
    run(store, RSA, Key("example.net", "mail"))
    store.private(RSA).write_bytes(store.private(Key("example.net", "mail")).read_bytes())
    (problem,) = problems(store, RSA)
    assert problem.startswith(f"keys[0]: {store.private(RSA)} is another key than the one that was published")


def test_the_same_key_in_another_encoding_is_the_same(store: Store) -> None:
    published = value(store, RSA)
    path = store.private(RSA)
    subprocess.run(["openssl", "rsa", "-traditional", "-in", path, "-out", path], check=True, capture_output=True)
    assert b"BEGIN RSA PRIVATE KEY" in path.read_bytes()
    assert value(store, RSA) == published


@pytest.mark.parametrize(
    ("wanted", "said"),
    [(replace(RSA, bits=4096), "wanted is rsa of 4096 bits"), (replace(RSA, algorithm="ed25519"), "wanted is ed25519")],
)
def test_other_properties_do_not_replace_a_key(store: Store, wanted: Key, said: str) -> None:
    run(store, RSA)
    kept = contents(store)
    (problem,) = problems(store, wanted)
    assert said in problem
    assert "never replaced" in problem
    assert contents(store) == kept


def test_an_older_and_smaller_key_is_adopted_but_none_is_made(store: Store) -> None:
    old = replace(RSA, bits=1024)
    (problem,) = problems(store, old)
    assert problem.startswith("keys[0].bits: 1024 is too few")
    store.private(RSA).parent.mkdir(parents=True)
    subprocess.run(["openssl", "genrsa", "-out", store.private(RSA), "1024"], check=True, capture_output=True)
    (outcome,) = run(store, old)
    assert "describe" in outcome.actions
    assert published_value(outcome).startswith("v=DKIM1; h=sha256; k=rsa; p=MIGf")


@pytest.mark.parametrize(
    "arguments", [["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], ["rand", "-hex", "64"]]
)
def test_what_is_no_key_is_left_alone(store: Store, arguments: list[str]) -> None:
    made = subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    store.private(RSA).parent.mkdir(parents=True)
    store.private(RSA).write_bytes(made.stdout)
    kept = contents(store)
    (problem,) = problems(store, RSA)
    assert problem.startswith(f"keys[0]: {store.private(RSA)} is ")
    assert contents(store) == kept


def test_damage_to_what_is_remembered_is_named(store: Store) -> None:
    run(store, RSA)
    store.public(RSA).write_text("{")
    (problem,) = problems(store, RSA)
    assert str(store.public(RSA)) in problem


def test_what_openssl_says_is_passed_on(tmp_path: Path) -> None:
    store = Store(tmp_path, Attributes(os.getuid(), os.getgid()), lambda _argv: (1, "", "no entropy\n"))
    assert problems(store, RSA) == ["keys[0]: openssl could not make a key: no entropy"]
    assert contents(store) == {}


WRONG: list[tuple[Any, str]] = [
    ("{", "keys: is not JSON"),
    ({}, "keys: is not a list"),
    (["example.org"], "keys[0]: is not a mapping"),
    ([{"selector": "mail"}], "keys[0].domain: is missing"),
    ([{"domain": "example.org"}], "keys[0].selector: is missing"),
    ([{"domain": "example", "selector": "mail"}], "keys[0].domain: 'example' is not a domain"),
    ([{"domain": "../etc", "selector": "mail"}], "keys[0].domain: "),
    ([{"domain": "example.org", "selector": "../x"}], "keys[0].selector: '../x' cannot be a selector"),
    ([{"domain": "example.org", "selector": 2026}], "keys[0].selector: is not text"),
    ([{"domain": "example.org", "selector": "s" * 64}], "keys[0].selector: "),
    ([{"domain": f"{'d' * 60}." * 3 + "example.org", "selector": "s" * 60}], "keys[0]: "),
    ([{"domain": "example.org", "selector": "mail", "bits": 512}], "keys[0].bits: 512"),
    ([{"domain": "example.org", "selector": "mail", "bits": True}], "keys[0].bits: True"),
    ([{"domain": "example.org", "selector": "mail", "algorithm": "dsa"}], "keys[0].algorithm: 'dsa'"),
    ([{"domain": "example.org", "selector": "mail", "state": "absent"}], "keys[0].state: 'absent'"),
    ([{"domain": "example.org", "selector": "mail", "sate": "retired"}], "keys[0].sate: no such field"),
    ([{"domain": "example.org", "selector": "mail"}] * 2, "keys[1]: mail._domainkey.example.org is keys[0] already"),
    (
        [{"domain": "example.org", "selector": "a"}, {"domain": "Example.ORG", "selector": "b"}],
        "keys[1].state: a (keys[0]) signs for example.org with rsa already",
    ),
]


@pytest.mark.parametrize(("given_keys", "said"), WRONG)
def test_the_error_says_where_and_what(given_keys: Any, said: str) -> None:
    with pytest.raises(DkimKeyError) as refused:
        read_keys(given_keys if isinstance(given_keys, str) else json.dumps(given_keys))
    (problem,) = refused.value.problems
    assert problem.startswith(said)


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(DkimKeyError) as refused:
        read_keys([{"domain": "example", "bits": 1}, {"domain": "example.org", "selector": "mail", "state": "x"}])
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "keys[0].domain",
        "keys[0].selector",
        "keys[0].bits",
        "keys[1].state",
    ]


def test_two_algorithms_sign_side_by_side() -> None:
    rsa = {"domain": "example.org", "selector": "a"}
    assert len(read_keys([rsa, {**rsa, "selector": "b", "algorithm": "ed25519"}])) == 2


@given(st.text(max_size=80))
def test_a_selector_is_refused_or_a_name_below_the_folder(text: str) -> None:
    try:
        (key,) = read_keys([{"domain": "example.org", "selector": text}])
    except DkimKeyError:
        return
    assert re.fullmatch(r"[a-z0-9._-]+", key.selector)
    assert not key.selector.startswith(".")
    assert "/" not in key.selector
    assert ".." not in key.selector


def test_domains_get_the_selectors_of_all_or_their_own() -> None:
    keys = expand(
        ["example.org", "Bücher.example", "example.org"],
        [{"selector": "mail"}, {"selector": "next", "state": "published"}],
        {"bücher.example": [{"selector": "own"}]},
    )
    assert [(key.domain, key.selector, key.state) for key in keys] == [
        ("example.org", "mail", "signing"),
        ("example.org", "next", "published"),
        ("xn--bcher-kva.example", "own", "signing"),
    ]


@pytest.mark.parametrize(
    ("domains", "selectors", "own", "said"),
    [
        (["example"], [{"selector": "a"}], {}, ["domains[0]: 'example' is not a domain"]),
        (["a.example", "b.example"], [{"selector": "_"}], {}, ["selectors[0].selector: '_'"]),
        (["a.example"], [{"selector": "a"}], {"a.example": [{}]}, ["own[a.example][0].selector: is missing"]),
        (["a.example"], [{"selector": "a"}], {"c.example": []}, ["own[c.example]: c.example is not among"]),
        (["a.example"], ["a"], {}, ["selectors[0]: is not a mapping"]),
    ],
)
def test_mistakes_in_what_domains_get_are_named_once(
    domains: list[str], selectors: list[Any], own: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(DkimKeyError) as refused:
        expand(domains, selectors, own)
    assert len(refused.value.problems) == len(said)
    for problem, beginning in zip(refused.value.problems, said, strict=True):
        assert problem.startswith(beginning)
