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


def test_other_types_are_written_as_they_are() -> None:
    records = [
        {"name": "example.org", "type": "MX", "value": "10 mail.example.org."},
        {"name": "mail.example.org", "type": "CAA", "value": '0 issue "ca.example; accounturi=https://ca.example/1"'},
    ]
    assert zone_lines(records, ttl=60) == [
        "example.org. 60 IN MX 10 mail.example.org.",
        'mail.example.org. 60 IN CAA 0 issue "ca.example; accounturi=https://ca.example/1"',
    ]


def test_records_of_a_domain_have_a_heading() -> None:
    records = [
        {"domain": domain, "name": f"{number}.example", "type": "A", "value": "192.0.2.1"}
        for number, domain in enumerate(["a.example", "a.example", ""])
    ]
    assert zone_lines(records, headings=True) == [
        "; a.example",
        "0.example. 3600 IN A 192.0.2.1",
        "1.example. 3600 IN A 192.0.2.1",
        "",
        "; names of addresses, for whoever gave you the addresses",
        "2.example. 3600 IN A 192.0.2.1",
    ]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"value": "x"}, r"records\[1\]\.name: is missing"),
        ({"name": "a.example", "value": 1}, r"records\[1\]\.value: is missing, or no text"),
        ({"name": "a b", "value": "x"}, r"records\[1\]: 'a b' is no name"),
        ({"name": "a.example", "type": "HINFO", "value": "x"}, r"records\[1\]\.type: 'HINFO' is none of A, AAAA"),
        (
            {"name": "a.example", "type": "MX", "value": "10 b.example.\n"},
            r"records\[1\]: '10 b.example.\\n' is not the data",
        ),
        ({"name": "a.example", "type": "MX", "value": "10 b. ; c"}, r"records\[1\]: '10 b. ; c' is not the data"),
    ],
)
def test_an_error_names_the_record(record: dict[str, Any], said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=said):
        zone_lines([{"name": "good.example", "value": "x"}, record])


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"zone_lines": zone_lines}
