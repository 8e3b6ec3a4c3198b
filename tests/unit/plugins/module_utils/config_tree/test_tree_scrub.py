# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.request import Item, parse_items
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.scrub import Scrubber


def items(secret: str, public: str = "") -> tuple[Item, ...]:
    return parse_items([{"path": "/etc/s"}, {"path": "/etc/p", "content": public}], {"/etc/s": secret})


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("hunter2\n", "cannot read 'hunter2' here"),
        ("password = hunter2\nuser = x\n", "bad value hunter2"),
        ('password = "hun ter2"\n', "bad value hun ter2"),
        ("[192.0.2.1]:587 alice:hunter2\n", "auth alice:hunter2 failed: hunter2"),
        ("hun\\ter2\n", json.dumps("hun\\ter2")),
        ('hun"ter2\n', 'parse error: hun\\"ter2'),
        ("{{ hunter2 }}\n", "unknown {{ hunter2 }}"),
        ("-----BEGIN\nhunter2AAAA\nBBBBhunter2\n-----END\n", "bad key: hunter2AAAA BBBBhunter2"),
    ],
)
def test_secrets_are_masked_in_what_a_program_says(secret: str, said: str) -> None:
    cleaned = Scrubber(items(secret)).clean(said)
    assert "hunter2" not in cleaned
    assert "ter2" not in cleaned
    assert "****" in cleaned


def test_words_that_also_stand_in_public_files_stay_readable() -> None:
    scrubber = Scrubber(
        items("password = hunter2\nhost = mx.example.org\n", "relayhost = mx.example.org\npassword = x\n")
    )
    assert scrubber.clean("/etc/s line 1: password hunter2 for mx.example.org") == (
        "/etc/s line 1: password ******** for mx.example.org"
    )


def test_without_secrets_nothing_is_masked() -> None:
    assert Scrubber(()).clean("any text") == "any text"


@given(st.text(min_size=4).filter(lambda text: len(text.strip()) >= 4), st.text(), st.text())
def test_a_secret_is_never_said_as_it_is(secret: str, before: str, after: str) -> None:
    cleaned = Scrubber(items(secret)).clean(f"{before}{secret}{after}")
    assert cleaned != f"{before}{secret}{after}"
