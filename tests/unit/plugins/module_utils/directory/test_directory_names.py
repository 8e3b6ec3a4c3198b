# SPDX-License-Identifier: GPL-3.0-or-later
"""Names are normalised once, and what cannot be an address is refused."""

from __future__ import annotations

import builtins
import string
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.postoffice.mail.plugins.module_utils.directory import names
from ansible_collections.postoffice.mail.plugins.module_utils.directory.errors import MissingLibrary

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(lambda text: "--" not in text)
DOMAINS = st.builds(lambda labels: ".".join([*labels, "example"]), st.lists(LABELS, min_size=1, max_size=3))
LOCALS = st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,20}(\.[a-z0-9_-]{1,20})?", fullmatch=True)


@given(LOCALS, DOMAINS)
def test_a_normal_address_stays_as_it_is(local: str, domain: str) -> None:
    assert names.own_address(f"{local}@{domain}", "other.example") == f"{local}@{domain}"
    assert names.own_address(local, domain) == f"{local}@{domain}"
    assert names.mailbox_name(local) == local


@given(LOCALS, DOMAINS)
def test_normalising_twice_is_normalising_once(local: str, domain: str) -> None:
    once = names.any_address(f" {local.upper()}@{domain.upper()} ", "other.example")
    assert once == f"{local}@{domain}"
    assert names.any_address(once, "other.example") == once


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = names.own_address(text, "example.org")
    except ValueError:
        return
    local, _at, domain = address.rpartition("@")
    assert address == address.lower()
    assert address.isascii()
    assert len(local) <= 64
    assert len(address) <= 254
    assert not set(local) & set(string.whitespace + "+!%/\"'()<>@,;:\\[]") - {"'"}
    assert names.domain_name(domain) == domain


@given(st.text(max_size=80))
def test_any_text_is_a_mailbox_name_or_refused(text: str) -> None:
    try:
        name = names.mailbox_name(text)
    except ValueError:
        return
    assert names.MAILBOX_NAME.fullmatch(name)
    assert ".." not in name
    assert not name.startswith((".", "-"))


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        (" example.org ", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_domains(written: str, means: str) -> None:
    assert names.domain_name(written) == means


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("localhost", "write it in full"),
        ("a@example.org", "is an address"),
        ("192.0.2.1", "IP address"),
        ("a..example", "not a domain"),
        ("-a.example", "not a domain"),
        ("a_b.example", "not a domain"),
        ("a" * 64 + ".example", "not a domain"),
        (".".join(["a" * 60] * 5), "more than 253"),
        ("xn--999999999.example", "cannot be a domain"),
        ("a b.example", "not a domain"),
    ],
)
def test_what_cannot_be_a_domain_says_why(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        names.domain_name(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "nothing before"),
        ("ä", "not ASCII"),
        ("a" * 65, "more than 64"),
        ("a b", "cannot stand before"),
        (".a", "cannot stand before"),
        ("a..b", "cannot stand before"),
        ("a+b", "begins a tag"),
        ("a%b", "route"),
        ("a/b", "route"),
        ("-a", "hyphen"),
        ("o'neil", "as an alias"),
    ],
)
def test_what_cannot_be_a_mailbox_says_why(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        names.mailbox_name(text)


def test_an_address_has_at_most_254_characters() -> None:
    domain = ".".join(["a" * 61] * 3) + ".example"
    assert names.own_address("b" * (253 - len(domain)), domain)
    with pytest.raises(ValueError, match="more than 254"):
        names.own_address("b" * (254 - len(domain)), domain)


@pytest.mark.parametrize(
    ("value", "size"),
    [("5G", 5 << 30), ("500M", 500 << 20), ("1.5G", 3 << 29), ("2 TiB", 2 << 40), ("0", 0), (0, 0), (1 << 30, 1 << 30)],
)
def test_sizes(value: Any, size: int) -> None:
    assert names.size(value) == size


@pytest.mark.parametrize("value", ["5X", "", "-1G", 5, "5", True, None, 1.5, [], 1 << 70])
def test_what_is_no_size(value: Any) -> None:
    with pytest.raises(ValueError, match="write"):
        names.size(value)


@given(st.integers(min_value=1 << 20, max_value=1 << 50))
def test_a_size_is_shown_as_it_can_be_written(value: int) -> None:
    assert names.size(names.size_text(value)) == value


@pytest.mark.parametrize(
    ("address", "base"),
    [("a+b@example.org", "a@example.org"), ("a@example.org", "a@example.org"), ("+b@example.org", "+b@example.org")],
)
def test_tags(address: str, base: str) -> None:
    assert names.without_tag(address) == base


def test_without_the_idna_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own codec does for most names; for the few that the standards disagree about, say what to install."""
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "idna":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    names.domain_name.cache_clear()
    monkeypatch.delitem(sys.modules, "idna", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    try:
        assert names.domain_name("bücher.example") == "xn--bcher-kva.example"
        with pytest.raises(MissingLibrary, match="python3-idna"):
            names.domain_name("straße.example")
    finally:
        names.domain_name.cache_clear()
