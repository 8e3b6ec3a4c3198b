# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run saw of a host counts for the rest of that run, as long as it is sure."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.accounts import Accounts, parse_accounts
from ansible_collections.postoffice.mail.plugins.module_utils.seen import Seen

NONE = Accounts((), ())
SEEN = Seen({"postfix": "3.10.5", "chrony": "", "systemd-timesyncd": "257"}, frozenset({"vmail"}), frozenset({"vmail"}))


def answer(missing: list[str], installed: bool = True, **versions: str) -> dict[str, Any]:
    return {"missing": missing, "installed": installed, "versions": versions, "users": ["u"], "groups": ["g"]}


def test_versions_of_packages_that_are_there_are_known() -> None:
    assert SEEN.versions_of(["postfix"], parse_accounts(["u vmail -"])) == {"postfix": "3.10.5"}


def test_one_of_several_alternatives_is_enough() -> None:
    assert SEEN.versions_of(["chrony | systemd-timesyncd"], NONE) == {"chrony": "", "systemd-timesyncd": "257"}


@pytest.mark.parametrize("names", [["chrony"], ["dovecot-core"], ["postfix", "dovecot-core"], ["postfix | exim4"]])
def test_the_host_is_asked_for_what_is_absent_or_was_not_asked_for(names: list[str]) -> None:
    assert SEEN.versions_of(names, NONE) is None


@pytest.mark.parametrize("line", ["u postfix -", "g postfix -"])
def test_the_host_is_asked_where_an_account_is_missing(line: str) -> None:
    assert SEEN.versions_of([], parse_accounts(["u vmail -"])) == {}
    assert SEEN.versions_of(["postfix"], parse_accounts([line])) is None


def test_answers_add_up() -> None:
    seen = SEEN.after(answer([], unbound="1.22"))
    assert seen.versions_of(["postfix", "unbound"], NONE) == {"postfix": "3.10.5", "unbound": "1.22"}
    assert (seen.users, seen.groups) == (frozenset({"u"}), frozenset({"g"}))


def test_what_was_installed_may_have_removed_what_was_there() -> None:
    seen = SEEN.after(answer(["exim4"], exim4="4.98"))
    assert seen.versions_of(["exim4"], NONE) == {"exim4": "4.98"}
    assert seen.versions_of(["postfix"], NONE) is None


def test_what_check_mode_would_install_is_not_there() -> None:
    assert SEEN.after(answer(["exim4"], installed=False, exim4="4.98")) == SEEN


def test_a_fact_counts_for_its_run_and_its_host_only() -> None:
    fact = SEEN.fact("run", "server")
    assert Seen.of_fact(fact, "run", "server") == SEEN
    for run, host in (("another", "server"), ("run", "another")):
        assert Seen.of_fact(fact, run, host) == Seen()
    for nothing in (None, "text", {}):
        assert Seen.of_fact(nothing, "run", "server") == Seen()
