# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.host import Outcome
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.report import failure, pinpoint, shorten, told
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.request import parse_items

ITEMS = parse_items(
    [
        {"path": "/etc/postfix/main.cf", "content": "# first\nsmtpd_bogus\nthird = 3\n"},
        {"path": "/etc/postfix/main.cf.d", "content": "x\n"},
        {"path": "/etc/secret"},
    ],
    {"/etc/secret": "hunter2\n"},
)


@pytest.mark.parametrize(
    "said",
    [
        "postconf: fatal: /etc/postfix/main.cf, line 2: missing '=' after attribute name",
        "doveconf: Error in configuration file /etc/postfix/main.cf line 2: Unknown setting",
        "/etc/postfix/main.cf:2: error",
        "/etc/postfix/main.cf(2): error",
    ],
)
def test_the_line_that_a_daemon_names_comes_with_its_text(said: str) -> None:
    assert pinpoint(f"something else\n{said}\nand more", ITEMS) == [
        f"{said}\n    /etc/postfix/main.cf, line 2: smtpd_bogus"
    ]


def test_a_file_without_a_line_is_named_as_it_is() -> None:
    assert pinpoint("open /etc/postfix/main.cf: no such file", ITEMS) == ["open /etc/postfix/main.cf: no such file"]


def test_a_longer_path_is_not_mistaken_for_a_shorter_one() -> None:
    assert pinpoint("/etc/postfix/main.cf.orig:2: error", ITEMS) == []
    assert pinpoint("/etc/postfix/main.cf.d:1: error", ITEMS) == [
        "/etc/postfix/main.cf.d:1: error\n    /etc/postfix/main.cf.d, line 1: x"
    ]


def test_a_name_without_its_folder_is_understood_when_only_one_file_has_it() -> None:
    said = "main.cf:2: unknown setting"
    assert pinpoint(said, ITEMS) == [f"{said}\n    /etc/postfix/main.cf, line 2: smtpd_bogus"]
    twice = parse_items([{"path": f"/etc/{name}/main.cf", "content": "a\nb\n"} for name in "xy"], {})
    assert pinpoint(said, twice) == []
    assert pinpoint("/somewhere/else/main.cf:2: unknown setting", ITEMS) == []


def test_a_line_of_a_secret_file_is_not_quoted() -> None:
    assert pinpoint("/etc/secret:1: error", ITEMS) == ["/etc/secret:1: error"]


def test_a_line_beyond_the_end_is_not_quoted() -> None:
    assert pinpoint("/etc/postfix/main.cf:99: error", ITEMS) == ["/etc/postfix/main.cf:99: error"]


def test_what_the_daemon_says_about_a_line_comes_first() -> None:
    message = failure("Failed", Outcome(("x",), 1, "noise\n/etc/postfix/main.cf:1: bad"), ITEMS, ["/a"])
    assert message.splitlines()[0] == "/etc/postfix/main.cf:1: bad"


def test_the_changed_files_are_named_when_the_daemon_names_none() -> None:
    message = failure("Failed", Outcome(("x",), 1, "bad"), ITEMS, ["/etc/a", "/etc/b"])
    assert message.splitlines()[0] == "The changes were in /etc/a, /etc/b."


def test_the_program_that_complains_is_not_what_it_complains_about() -> None:
    message = failure("Failed", Outcome(("/etc/postfix/main.cf",), 1, "/etc/postfix/main.cf: bad"), ITEMS, ["/etc/a"])
    assert message.splitlines() == [
        "The changes were in /etc/a.",
        "Failed: /etc/postfix/main.cf ended with status 1",
        "It said:",
        "/etc/postfix/main.cf: bad",
    ]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome(("x", "y"), 3, ""), "x y ended with status 3"),
        (Outcome(("x",), 124, ""), "x did not end in time"),
        (Outcome(("x",), -9, ""), "x was ended by signal 9"),
        (Outcome(("x",), 127, "x: there is no such program on the host"), "x: there is no such program on the host"),
    ],
)
def test_endings_in_words(outcome: Outcome, said: str) -> None:
    assert told(outcome) == said


def test_a_long_text_keeps_both_ends() -> None:
    text = shorten("a" * 5000 + "b" * 5000)
    assert text.startswith("aaa")
    assert text.endswith("bbb")
    assert len(text) < 7000
