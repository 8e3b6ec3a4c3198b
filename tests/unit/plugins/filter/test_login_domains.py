# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.postoffice.mail.plugins.filter.login_domains import FilterModule, login_domains


def test_people_of_an_alias_domain_log_in_with_that_of_the_mailbox() -> None:
    domains = [
        {"name": "Example.ORG", "mailboxes": []},
        {"name": "example.net", "alias_of": "example.org"},
        {"name": "relayed.example", "relay_to": "mx.elsewhere.example"},
        {"name": "bücher.example"},
    ]
    assert login_domains(domains) == {
        "example.org": "example.org",
        "example.net": "example.org",
        "xn--bcher-kva.example": "xn--bcher-kva.example",
    }


def test_an_error_names_the_place() -> None:
    with pytest.raises(AnsibleFilterError, match=r"mail_domains\[0\]: 'example' is not a domain"):
        login_domains([{"name": "example"}])


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"login_domains": login_domains}
