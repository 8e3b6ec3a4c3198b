# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever happens to its own resolver, the host finds names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from mailtest.deployment import Shell
from playing import Player, Target

OWN = "nameserver 127.0.0.1\n"
ROLE = ["unbound"]


def resolv_conf(host: Shell) -> str:
    return host.output("cat", "/etc/resolv.conf")


def finds_names(host: Shell) -> bool:
    return host.run("getent", "ahosts", "mx.good.example", check=False).returncode == 0


@pytest.fixture
def internet(target: Target) -> dict[str, Any]:
    return dict(target.description["internet"])


@pytest.fixture
def as_before(player: Player, host: Shell, internet: dict[str, Any]) -> Iterator[None]:
    """The host begins with a resolver elsewhere, as hosts do; in the end everything is as it was deployed."""
    assert player.roles(ROLE, {"unbound_host_resolver": False}).status == 0
    theirs = resolv_conf(host)
    assert OWN not in theirs
    host.run("sh", "-c", f"echo nameserver {internet['resolver']} >/etc/resolv.conf")
    yield
    host.run("tee", "/etc/resolv.conf", stdin=theirs)
    assert player.roles(ROLE, {}).status == 0
    assert OWN in resolv_conf(host)


@pytest.mark.usefixtures("as_before")
def test_the_host_relies_on_it_once_it_finds_names(player: Player, host: Shell, internet: dict[str, Any]) -> None:
    theirs = resolv_conf(host)
    silent = f"{internet['resolver'].rpartition('.')[0]}.250"
    deaf = player.roles(ROLE, {"unbound_root_servers": {"ns.example": [silent]}})
    assert deaf.status == 0, deaf.output
    assert "The host's own resolver finds no names; it goes on asking whom it asked before" in deaf.output
    assert resolv_conf(host) == theirs
    assert finds_names(host)

    foreseen = player.roles(ROLE, {}, "--check", "--diff")
    assert "+nameserver 127.0.0.1" in foreseen.output
    assert resolv_conf(host) == theirs
    healed = player.roles(ROLE, {})
    assert (healed.status, healed.changed) == (0, True)
    assert OWN in resolv_conf(host)
    assert finds_names(host)

    back = player.roles(ROLE, {"unbound_host_resolver": False})
    assert (back.status, back.changed) == (0, True)
    assert resolv_conf(host) == theirs


def test_what_unbound_does_not_understand_is_refused(player: Player, host: Shell) -> None:
    before = host.output("cat", "/etc/unbound/unbound.conf")
    refused = player.roles(ROLE, {"unbound_settings": {"num-thraeds": 2}})
    assert refused.status != 0
    assert "/etc/unbound/unbound.conf" in refused.output
    assert "num-thraeds" in refused.output
    assert host.output("cat", "/etc/unbound/unbound.conf") == before
    assert finds_names(host)


def test_what_does_not_answer_is_taken_back(player: Player, host: Shell) -> None:
    before = host.output("cat", "/etc/unbound/unbound.conf")
    taken_back = player.roles(ROLE, {"unbound_settings": {"access-control": "127.0.0.0/8 deny"}})
    assert taken_back.status != 0
    assert "unbound does not answer with the new configuration" in taken_back.output
    assert host.output("cat", "/etc/unbound/unbound.conf") == before
    assert finds_names(host)


def test_a_dhcp_client_is_told_to_leave_the_file_alone(player: Player, host: Shell) -> None:
    hooks = "/etc/dhcp/dhclient-enter-hooks.d"
    host.run("mkdir", "--parents", hooks)
    try:
        assert player.roles(ROLE, {}).changed
        # dhclient-script sources its hooks after it has defined the function that writes the file.
        script = f"make_resolv_conf() {{ echo it writes; }}; for each in {hooks}/*; do . $each; done; make_resolv_conf"
        assert host.output("sh", "-c", script) == ""
    finally:
        host.run("rm", "-r", hooks)
        host.run("rmdir", "--ignore-fail-on-non-empty", "/etc/dhcp")
    assert not player.roles(ROLE, {}).changed
