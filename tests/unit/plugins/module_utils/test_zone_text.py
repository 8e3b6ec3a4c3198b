# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A name server that reads the lines has the values that went in."""

from __future__ import annotations

import dns.rdatatype
import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.postoffice.mail.plugins.module_utils.zone_text import absolute, line, split_text

NAME = "mail._domainkey.example.org"


def parsed(line: str) -> tuple[str, int, tuple[bytes, ...]]:
    """Owner, TTL and strings, as dnspython reads them from a zone."""
    zone = dns.zone.from_text(f"{line}\n", origin="example.org.", relativize=False, check_origin=False)
    ((name, found),) = zone.iterate_rdatasets(dns.rdatatype.TXT)
    (data,) = found
    return name.to_text(), found.ttl, data.strings


@given(st.text(max_size=2000))
def test_a_value_comes_back_as_it_was(value: str) -> None:
    owner, ttl, strings = parsed(line(NAME, "TXT", value, 300))
    assert (owner, ttl) == (f"{NAME}.", 300)
    assert b"".join(strings) == value.encode()
    assert all(len(string) <= 255 for string in strings)


@given(st.text(max_size=2000))
def test_a_line_is_one_line_of_printable_ascii(value: str) -> None:
    assert all(" " <= character <= "~" for character in line(NAME, "TXT", value, 300))


@given(st.text(max_size=2000))
def test_there_are_no_more_strings_than_needed(value: str) -> None:
    strings = split_text(value)
    assert len(strings) == max(1, -(-len(value.encode()) // 255))
    assert all(len(string) == 255 for string in strings[:-1])


@pytest.mark.parametrize(("length", "strings"), [(0, 1), (255, 1), (256, 2), (510, 2), (511, 3)])
def test_strings_are_as_long_as_they_may_be(length: int, strings: int) -> None:
    assert len(split_text("x" * length)) == strings


def test_a_record_has_an_end() -> None:
    split_text("x" * 65279)
    with pytest.raises(ValueError, match="more than a record can hold"):
        split_text("x" * 65280)


@pytest.mark.parametrize("name", ["", ".", "a..b", "a b", "a\nb", 'a"b', "-a.example", f"{'a' * 64}.example", "a;b"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a record"):
        absolute(name)


def test_a_name_has_an_end() -> None:
    with pytest.raises(ValueError, match="more than 253 characters"):
        absolute("a." * 127 + "a")


def test_a_name_ends_with_one_dot() -> None:
    assert absolute("a.example") == absolute("a.example.") == "a.example."
