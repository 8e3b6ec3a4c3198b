# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.postoffice.mail.plugins.filter.sieve_scripts import FilterModule, sieve_scripts


def test_scripts_are_found_by_normalised_name() -> None:
    domains = [
        {
            "name": "Bücher.Example",
            "sieve": "keep;",
            "mailboxes": [{"name": "Alice", "sieve": "discard;"}, {"name": "bob"}],
        },
        {"name": "example.org", "mailboxes": [{"name": "carol", "sieve": "stop;"}]},
    ]
    assert sieve_scripts(domains) == {
        "site": [],
        "domains": {"xn--bcher-kva.example": "keep;"},
        "mailboxes": {"alice@xn--bcher-kva.example": "discard;", "carol@example.org": "stop;"},
    }


def test_site_scripts_are_passed_on_in_their_order() -> None:
    assert sieve_scripts([], site=["keep;", "stop;"])["site"] == ["keep;", "stop;"]


@pytest.mark.parametrize(
    "domains",
    [
        None,
        "example.org",
        [None, 5, "x"],
        [{"name": 5, "sieve": "keep;"}],
        [{"name": "no domain", "sieve": "keep;"}],
        [{"name": "example.org", "sieve": "  \n", "mailboxes": {"alice": {"sieve": "keep;"}}}],
        [{"name": "example.org", "sieve": ["keep;"], "mailboxes": [{"sieve": "keep;"}, {"name": "a b", "sieve": "x"}]}],
        [{"name": "example.org", "mailboxes": "alice"}],
    ],
)
def test_malformed_input_is_left_to_the_directory(domains: object) -> None:
    assert sieve_scripts(domains) == {"site": [], "domains": {}, "mailboxes": {}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["name", "sieve", "mailboxes"]), inner),
    max_leaves=20,
)


@given(JSON)
def test_no_input_is_an_error(domains: Any) -> None:
    found = sieve_scripts(domains)
    assert all(isinstance(script, str) and script.strip() for script in found["domains"].values())
    assert all("@" in address for address in found["mailboxes"])


def test_ansible_finds_the_filter() -> None:
    assert FilterModule().filters()["sieve_scripts"] is sieve_scripts
