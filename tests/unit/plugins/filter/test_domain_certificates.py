# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.postoffice.mail.plugins.filter.domain_certificates import FilterModule, domain_certificates

HOST, FOLDER = "mail.example.org", "/etc/postoffice/tls"


def test_each_domain_has_its_own_without_the_name_of_the_host() -> None:
    found = domain_certificates(["example.org", "Bücher.example"], HOST, ["mail", "imap"], FOLDER)
    assert found == [
        {
            "name": "example.org",
            "names": ["imap.example.org"],
            "certificate": "/etc/postoffice/tls/example.org/fullchain.pem",
            "key": "/etc/postoffice/tls/example.org/privkey.pem",
        },
        {
            "name": "xn--bcher-kva.example",
            "names": ["mail.xn--bcher-kva.example", "imap.xn--bcher-kva.example"],
            "certificate": "/etc/postoffice/tls/xn--bcher-kva.example/fullchain.pem",
            "key": "/etc/postoffice/tls/xn--bcher-kva.example/privkey.pem",
        },
    ]


def test_a_domain_without_further_names_needs_none() -> None:
    assert domain_certificates(["example.org"], HOST, ["mail"], FOLDER) == []
    assert domain_certificates(["example.org"], HOST, [], FOLDER) == []


def test_an_error_names_the_domain() -> None:
    with pytest.raises(AnsibleFilterError, match=r"domains\[1\]: 'example' is not a domain"):
        domain_certificates(["example.org", "example"], HOST, ["mail"], FOLDER)


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"domain_certificates": domain_certificates}
