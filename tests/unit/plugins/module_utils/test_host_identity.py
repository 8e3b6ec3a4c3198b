"""A host's name has an address, and only one line says so."""

from __future__ import annotations

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.host_identity import hosts_with, zone_of

OWN = "127.0.1.1\tmail.example.org mail"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"{OWN}\n"),
        ("127.0.0.1 localhost\n::1 ip6-localhost\n", f"127.0.0.1 localhost\n{OWN}\n::1 ip6-localhost\n"),
        ("127.0.0.1 localhost\n127.0.1.1 old.example.org old\n", f"127.0.0.1 localhost\n{OWN}\n"),
        ("# mail.example.org\n", f"{OWN}\n# mail.example.org\n"),
        ("192.0.2.1 mail.example.org\n", "192.0.2.1 mail.example.org\n"),
    ],
)
def test_the_name_gets_an_address(before: str, after: str) -> None:
    assert hosts_with(before, "mail.example.org") == after
    assert hosts_with(after, "mail.example.org") == after


def test_the_zone_is_what_localtime_links_to() -> None:
    assert zone_of("/usr/share/zoneinfo/Europe/Berlin") == "Europe/Berlin"
    assert zone_of("/etc/elsewhere") == ""
