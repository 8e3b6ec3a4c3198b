# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.postoffice.mail.plugins.filter.zone_lines import FilterModule, zone_lines


def test_a_long_value_is_split_on_one_line() -> None:
    value = "v=DKIM1; p=" + "A" * 300
    assert zone_lines([{"name": "m._domainkey.example.org", "value": value}], ttl=60) == [
        f'm._domainkey.example.org. 60 IN TXT "{value[:255]}" "{value[255:]}"'
    ]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"value": "x"}, r"records\[1\]\.name: is missing"),
        ({"name": "a.example", "value": 1}, r"records\[1\]\.value: is missing, or no text"),
        ({"name": "a b", "value": "x"}, r"records\[1\]: 'a b' is no name"),
        ({"name": "a.example", "type": "MX", "value": "x"}, r"records\[1\]\.type: 'MX' is not TXT"),
    ],
)
def test_an_error_names_the_record(record: dict[str, Any], said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=said):
        zone_lines([{"name": "good.example", "value": "x"}, record])


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"zone_lines": zone_lines}
