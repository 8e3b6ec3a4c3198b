# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.postoffice.mail.plugins.filter.dkim_keys import FilterModule, dkim_keys
from ansible_collections.postoffice.mail.plugins.module_utils.dkim_key import read_keys


def test_the_module_takes_what_comes_out() -> None:
    keys = dkim_keys(["example.org", "bücher.example"], [{"selector": "mail"}])
    assert keys[1] == {
        "domain": "xn--bcher-kva.example",
        "selector": "mail",
        "algorithm": "rsa",
        "bits": 2048,
        "state": "signing",
    }
    assert [key.domain for key in read_keys(keys)] == ["example.org", "xn--bcher-kva.example"]


def test_an_error_names_every_place() -> None:
    with pytest.raises(AnsibleFilterError) as refused:
        dkim_keys(["example", "example.org"], [{"selector": "a b"}])
    assert "domains[0]: 'example' is not a domain" in str(refused.value)
    assert "selectors[0].selector: 'a b' cannot be a selector" in str(refused.value)


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"dkim_keys": dkim_keys}
