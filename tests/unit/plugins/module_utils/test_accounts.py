# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of sysusers.d become names that a host has or lacks."""

from __future__ import annotations

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.accounts import (
    Accounts,
    InvalidAccount,
    local_names,
    parse_accounts,
)

VMAIL = 'u vmail - "Mail" /srv/mail /usr/sbin/nologin'


def test_a_user_brings_a_group_of_its_name() -> None:
    assert parse_accounts([VMAIL, "g postfix -", "  g vmail -"]) == Accounts(("vmail",), ("vmail", "postfix"))


def test_there_may_be_none() -> None:
    assert parse_accounts([]).described == []


@pytest.mark.parametrize("line", ["", "u", "g ", "m vmail postfix", "r - 500-900", "user vmail"])
def test_other_lines_are_refused_and_quoted(line: str) -> None:
    with pytest.raises(InvalidAccount, match="accounts: ") as error:
        parse_accounts([line])
    assert repr(line) in str(error.value)


def test_what_is_there_is_left_out() -> None:
    lacking = parse_accounts([VMAIL, "g postfix -"]).without({"vmail"}.__contains__, {"postfix"}.__contains__)
    assert lacking.described == ["group vmail"]


def test_names_are_read_from_tables_without_what_refers_to_other_sources() -> None:
    assert local_names("root:x:0:0:root:/root:/bin/bash\n+nis::::::\n# note\n\nvmail:x:999:999::/:/sbin/nologin\n") == [
        "root",
        "vmail",
    ]
