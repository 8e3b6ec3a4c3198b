# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.postoffice.mail.plugins.filter.spam_sieve import FilterModule, spam_sieve

SITE = ["keep;"]


def script(**spam: Any) -> str:
    domains = [{"name": "Example.Org", "mailboxes": [{"name": "Alice", "spam": spam}]}]
    (found,) = spam_sieve(domains, SITE)
    return found


def test_who_declares_nothing_has_the_script_of_the_site() -> None:
    domains = [{"name": "example.org", "mailboxes": [{"name": "alice"}]}]
    assert spam_sieve(domains, SITE) == SITE


def test_nothing_is_filed_without_a_filter() -> None:
    domains = [{"name": "example.org", "mailboxes": [{"name": "alice", "spam": {"junk_from": 3}}]}]
    assert spam_sieve(domains, []) == []


def test_recipients_are_told_by_their_normalised_address_with_and_without_a_tag() -> None:
    assert 'envelope :all :matches "to" ["alice@example.org", "alice+*@example.org"]' in script(junk_from=3)


@pytest.mark.parametrize(
    ("points", "whole", "tenths"), [(3, "3", "0"), (3.5, "3", "5"), (0.1, "0", "1"), (10.04, "10", "0")]
)
def test_points_are_compared_in_tenths(points: float, whole: str, tenths: str) -> None:
    found = script(junk_from=points)
    assert f'"gt" :comparator "i;ascii-numeric" "${{points}}" "{whole}"' in found
    assert f'"ge" :comparator "i;ascii-numeric" "${{tenths}}" "{tenths}"' in found


def test_zero_is_never() -> None:
    assert "if false {" in script(junk_from=0)


def test_wanted_comes_before_unwanted_and_the_mailbox_before_its_domain() -> None:
    domains = [
        {
            "name": "example.org",
            "spam": {"junk_from": 8, "block": ["@b.example"]},
            "mailboxes": [{"name": "alice", "spam": {"allow": ["friend@b.example"], "block": "x@c.example"}}],
        }
    ]
    (found,) = spam_sieve(domains, SITE, folder="Spam")
    alice, domain = found.split("# alice@example.org\n")[1].split("# example.org\n")
    parts = ['"From" ["friend@b.example"]', '"From" ["x@c.example"]', ':domain :is "From" ["b.example"]', '"8"']
    places = [alice.index(part) for part in parts]
    assert places == sorted(places)
    assert 'fileinto :create "Spam"; stop;' in alice
    assert "friend@b.example" not in domain


def test_no_address_becomes_a_variable() -> None:
    assert '"we${dollar}{x}@b.example"' in script(allow=["we${x}@b.example"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["name", "spam", "mailboxes", "allow", "block", "junk_from"]), inner)
    ),
    max_leaves=20,
)


@given(JSON)
def test_no_input_is_an_error(domains: Any) -> None:
    assert len(spam_sieve(domains, SITE)) == 1


def test_ansible_finds_the_filter() -> None:
    assert FilterModule().filters()["spam_sieve"] is spam_sieve
