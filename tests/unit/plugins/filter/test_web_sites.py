# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.postoffice.mail.plugins.filter.web_sites import FilterModule, web_sites

HOST = "mail.example.org"
PARTS = [
    {"labels": ["mail"], "locations": "page"},
    {"labels": ["autoconfig"], "locations": "config", "plain": True},
    {"labels": [], "locations": "policy"},
    {"labels": ["www"], "locations": ""},
]
CERTIFICATE = {"name": "example.net", "names": ["mail.example.net"], "certificate": "/c.pem", "key": "/k.pem"}


def test_each_domain_has_its_sites_without_the_name_of_the_host() -> None:
    assert web_sites(["example.org", "Example.net"], HOST, PARTS, [CERTIFICATE]) == [
        {"names": ["autoconfig.example.org"], "locations": "config", "plain": True},
        {"names": ["mail.example.net"], "locations": "page", "plain": False, "certificate": "/c.pem", "key": "/k.pem"},
        {"names": ["autoconfig.example.net"], "locations": "config", "plain": True},
    ]


def test_an_error_names_the_domain() -> None:
    with pytest.raises(AnsibleFilterError, match=r"domains\[0\]: 'example' is not a domain"):
        web_sites(["example"], HOST, PARTS)


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"web_sites": web_sites}
