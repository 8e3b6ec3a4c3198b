# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import getpass
from dataclasses import dataclass
from pathlib import Path

import pytest
from opendkim_config import Instance, check_tables, key_problems, located, resolvers, with_resolvers

KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
ME = getpass.getuser()


@dataclass(frozen=True)
class Here(Instance):
    """An instance whose tables are below a folder of the test."""

    folder: Path = Path()

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def senders(self) -> Path:
        return self.folder / "senders"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "mail.private"
    path.write_text(KEY)
    path.chmod(0o640)
    return path


def instance(folder: Path, keys: str, senders: str) -> Here:
    (folder / "keys").write_text(f"# comment\n{keys}\n")
    (folder / "senders").write_text(f"# comment\n{senders}\n")
    return Here("opendkim", "rsa", "sv", "/run/opendkim/milter.sock", folder)


def test_a_key_that_the_signer_can_read_is_good(tmp_path: Path, key: Path) -> None:
    tables = instance(tmp_path, f"example.org example.org:mail:{key}", "*@example.org example.org")
    assert list(check_tables(tables, ME, [])) == []


def test_a_missing_key_is_named_with_its_place(tmp_path: Path) -> None:
    tables = instance(tmp_path, f"example.org example.org:mail:{tmp_path}/none", "*@example.org example.org")
    assert list(check_tables(tables, ME, [])) == [
        f"{tmp_path}/keys:2: {tmp_path}/none cannot be read: No such file or directory"
    ]


def test_a_key_that_is_yet_to_be_made_is_not_missed(tmp_path: Path) -> None:
    tables = instance(tmp_path, f"example.org example.org:mail:{tmp_path}/none", "*@example.org example.org")
    assert list(check_tables(tables, ME, [f"{tmp_path}/none"])) == []


def test_a_sender_without_a_key_is_named(tmp_path: Path) -> None:
    tables = instance(tmp_path, "", "*@example.org example.org")
    assert list(check_tables(tables, ME, [])) == [f"{tmp_path}/senders:2: there is no key example.org"]


def test_a_key_that_everybody_can_read_is_refused(key: Path) -> None:
    key.chmod(0o644)
    assert list(key_problems(key, ME)) == ["may be read by everybody"]


def test_a_key_that_the_signer_cannot_read_is_refused(key: Path) -> None:
    key.chmod(0o000)
    found = list(key_problems(key, ME))
    assert [each for each in found if each.startswith("cannot be read")]


def test_what_is_no_key_is_refused(key: Path) -> None:
    key.write_text("nonsense")
    assert list(key_problems(key, ME)) == ["is no private key"]


def test_the_resolvers_are_those_of_the_host() -> None:
    text = "# nameserver 192.0.2.9\nsearch example.org\nnameserver 127.0.0.1\nnameserver\t2001:db8::1\noptions edns0\n"
    assert resolvers(text) == ["127.0.0.1", "2001:db8::1"]


def test_the_configuration_says_whom_to_ask() -> None:
    assert with_resolvers("Mode sv\n", ["127.0.0.1", "2001:db8::1"]) == "Mode sv\nNameservers 127.0.0.1,2001:db8::1\n"


@pytest.mark.parametrize("text", ["Mode sv\nNameservers 192.0.2.1\n", "Mode sv\nnameservers\t192.0.2.1\n"])
def test_an_operator_s_choice_of_resolvers_stays(text: str) -> None:
    assert with_resolvers(text, ["127.0.0.1"]) == text


def test_what_opendkim_says_comes_with_the_line_that_it_means() -> None:
    said = "opendkim: /etc/opendkim.conf: configuration error at line 2: unrecognized parameter"
    assert located(said, "Mode sv\nMood sv\n") == "/etc/opendkim.conf:2: Mood sv: unrecognized parameter"


def test_without_resolvers_nothing_is_said() -> None:
    assert with_resolvers("Mode sv\n", []) == "Mode sv\n"
