# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.postoffice.mail.plugins.filter.mta_sts_policy import FilterModule, mta_sts_policy


def test_the_policy_is_as_the_rfc_has_it() -> None:
    policy = mta_sts_policy("Mail.example.org", "enforce", 86400)
    assert policy["text"] == "version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmax_age: 86400\r\n"
    assert policy["id"].isalnum()
    assert len(policy["id"]) <= 32


def test_another_policy_has_another_identifier() -> None:
    one, same = mta_sts_policy("mail.example.org"), mta_sts_policy("mail.example.org")
    assert one == same
    others = [mta_sts_policy("mx.example.org"), mta_sts_policy("mail.example.org", "none")]
    assert len({one["id"], *(other["id"] for other in others)}) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mail.example.org", "strict"), "mode: 'strict' is none of testing, enforce, none"),
        (("mail.example.org", "enforce", 40000000), "max_age: 40000000 is not between 0 and 31557600"),
        (("mail",), "hostname: 'mail' is not a domain"),
    ],
)
def test_what_cannot_be_a_policy_is_refused(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=said):
        mta_sts_policy(*arguments)


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"mta_sts_policy": mta_sts_policy}
