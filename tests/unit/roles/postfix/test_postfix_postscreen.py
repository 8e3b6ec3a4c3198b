# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role writes for postscreen."""

from __future__ import annotations

from typing import Any

import pytest
from role_templates import render


def parameter(name: str, **variables: Any) -> str:
    lines = render("etc/postfix/main.cf.j2", postfix_certificate="/c", postfix_certificate_key="/k", **variables)
    (line,) = [line for line in lines.splitlines() if line.startswith(f"{name} =")]
    return line.partition(" =")[2].strip()


def test_what_counts_as_an_answer_is_always_said() -> None:
    lists = ["zen.example*3", "plain.example", "own.example=127.0.0.2*2", "zen.example*3"]
    assert parameter("postscreen_dnsbl_sites", postfix_blocklists=lists) == (
        "zen.example=127.0.0.[2..11]*3, plain.example=127.0.0.[2..11], own.example=127.0.0.2*2"
    )


def test_allow_lists_speak_for_a_client() -> None:
    lists = ["wl.example*3", "plain.example", "own.example=127.0.0.2*2"]
    assert parameter("postscreen_dnsbl_sites", postfix_allow_lists=lists) == (
        "wl.example=127.0.[0..255].[1..3]*-3, plain.example=127.0.[0..255].[1..3]*-1, own.example=127.0.0.2*-2"
    )


def test_no_list_is_asked_without_being_named() -> None:
    assert parameter("postscreen_dnsbl_sites") == ""


def test_the_first_line_that_holds_a_client_is_the_operators() -> None:
    table = render(
        "etc/postfix/tables/postscreen_access.cidr.j2",
        postfix_postscreen_access=["192.0.2.7 reject"],
        postfix_wired_own_networks=["192.0.2.0/24"],
    )
    assert [line for line in table.splitlines() if not line.startswith("#")] == [
        "192.0.2.7 reject",
        "192.0.2.0/24 permit",
    ]


@pytest.mark.parametrize(("wanted", "program"), [(True, "postscreen"), (False, "smtpd")])
def test_who_listens_on_port_25(wanted: bool, program: str) -> None:
    master = render("etc/postfix/master.cf.j2", postfix_postscreen=wanted)
    (line,) = [line for line in master.splitlines() if line.startswith("25 ")]
    assert line.split()[-1] == program
    assert ("tlsproxy" in master) is wanted
