# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.dns.host import any_public, key_digest, steady_addresses


def link(name: str, *addresses: str, **flags: bool) -> dict[str, object]:
    return {"ifname": name, "addr_info": [{"local": each, "scope": "global", **flags} for each in addresses]}


def test_public_addresses_come_before_private_ones() -> None:
    links = [link("eth0", "2a01:db8::25", "8.8.4.4"), link("eth1", "10.0.0.5"), link("lo", "127.0.0.1")]
    assert steady_addresses(json.dumps(links)) == ["8.8.4.4", "2a01:db8::25"]


def test_a_host_behind_another_has_private_ones_only() -> None:
    addresses = steady_addresses(json.dumps([link("eth0", "10.0.0.5", "fd00::5")]))
    assert addresses == ["10.0.0.5", "fd00::5"]
    assert not any_public(addresses)


def test_bridges_of_the_host_and_addresses_that_change_are_left_out() -> None:
    links = [link("docker0", "172.17.0.1"), link("eth0", "10.0.0.5"), link("eth0", "10.0.0.6", temporary=True)]
    links += [link("eth0", "10.0.0.7", deprecated=True), {"ifname": "eth2"}]
    links += [{"ifname": "eth0", "addr_info": [{"local": "fe80::1", "scope": "link"}]}]
    assert steady_addresses(json.dumps(links)) == ["10.0.0.5"]


def test_a_key_is_known_by_the_digest_that_dane_compares(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    openssl = ("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key))
    subprocess.run(openssl, check=True, capture_output=True)
    public = subprocess.run(("openssl", "pkey", "-in", str(key), "-pubout"), check=True, capture_output=True)
    der = subprocess.run(
        ("openssl", "pkey", "-in", str(key), "-pubout", "-outform", "DER"), check=True, capture_output=True
    )
    assert key_digest(public.stdout.decode()) == hashlib.sha256(der.stdout).hexdigest()


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(ValueError, match="no public key"):
        key_digest("")
