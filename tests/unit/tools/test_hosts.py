# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the test hosts are made of, and how they are described."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from ansible_collections.postoffice.mail.tools import hosts
from ansible_collections.postoffice.mail.tools.hosts import Host, Running, Source

MIRROR = "http://mirror.example/debian/"
SECURITY = "http://mirror.example/debian-security/"


def test_sources_are_read_once_each_and_only_main() -> None:
    lines = [f"{MIRROR} bookworm {component}" for component in ("main", "contrib", "main")]
    assert hosts.parse_index_targets("\n".join([*lines, "", f"{SECURITY} bookworm-security main"])) == [
        Source(MIRROR, "bookworm", "main"),
        Source(SECURITY, "bookworm-security", "main"),
    ]


@pytest.mark.parametrize(
    ("suite", "translated"),
    [
        ("bookworm", "trixie"),
        ("bookworm-updates", "trixie-updates"),
        ("bookworm-security", "trixie-security"),
        ("bookworm/updates", "trixie/updates"),
    ],
)
def test_a_suite_becomes_that_of_the_other_release(suite: str, translated: str) -> None:
    assert hosts.sources_for("trixie", [Source(MIRROR, suite, "main")], "bookworm") == [
        Source(MIRROR, translated, "main")
    ]


@pytest.mark.parametrize("suite", ["stable", "bookwormish", "sid"])
def test_a_suite_that_does_not_name_the_release_is_left_out(suite: str) -> None:
    assert hosts.sources_for("trixie", [Source(MIRROR, suite, "main")], "bookworm") == []


def test_an_image_is_named_by_what_goes_in() -> None:
    plain = hosts.image_recipe("trixie", [], [Source(MIRROR, "trixie", "main")])
    more = hosts.image_recipe("trixie", ["postfix"], [Source(MIRROR, "trixie", "main")])
    assert f"deb {MIRROR} trixie main" in plain
    assert hosts.image_name("trixie", plain) == hosts.image_name("trixie", list(plain))
    assert hosts.image_name("trixie", plain) != hosts.image_name("trixie", more)


def test_podman_s_own_defaults_are_tried_first() -> None:
    first, *others = hosts.candidate_options(20000, 96365)
    assert first == []
    assert ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=96365:96365"] in others
    assert any("runc" in options for options in others)


def test_a_host_starts_with_its_key_and_its_user_s(tmp_path: Path) -> None:
    key = tmp_path / "server.hostkey"
    key.write_text("private")
    Path(f"{key}.pub").write_text("public")
    with tarfile.open(fileobj=io.BytesIO(hosts.seed("server", key, "ssh-ed25519 AAAA"))) as tar:
        assert tar.getmember("etc/ssh/ssh_host_ed25519_key").mode == 0o600
        assert tar.getmember("root/.ssh").mode == 0o700
        authorized = tar.extractfile("root/.ssh/authorized_keys")
        assert authorized is not None
        assert authorized.read() == b"ssh-ed25519 AAAA\n"


@pytest.fixture
def running() -> list[Running]:
    ports = {"smtp": "192.0.2.2:25"}
    return [
        Running(Host("server", "mail", "trixie"), "0123456789abcdef", "192.0.2.2", "2001:db8::2", ports),
        Running(Host("elsewhere", "outside", "trixie"), "fedcba9876543210", "192.0.2.3", "2001:db8::3", ports),
    ]


def test_the_inventory_has_each_host_in_its_group(running: list[Running]) -> None:
    written = hosts.inventory("full", running, "secret")["all"]
    server = written["children"]["mail"]["hosts"]["server"]
    assert server["ansible_host"] == "server.full.0123456789ab"
    assert server["host_address6"] == "2001:db8::2"
    assert list(written["children"]["outside"]["hosts"]) == ["elsewhere"]
    assert written["vars"]["elsewhere"]["address"] == "192.0.2.3"


def test_without_a_host_elsewhere_nobody_knows_of_one(running: list[Running]) -> None:
    running[0].gateways = ("192.0.2.1", "2001:db8::1")
    assert hosts.inventory("demo", running[:1], "secret")["all"]["vars"] == {
        "host_scenario": "demo",
        "controller": {"address": "192.0.2.1", "address6": "2001:db8::1"},
    }


def test_ssh_reaches_a_host_by_its_name_and_by_one_that_no_other_has(running: list[Running]) -> None:
    text = hosts.ssh_config("full", running)
    assert "Host server.full server.full.0123456789ab\n  HostName 192.0.2.2\n" in text
    assert "HostKeyAlias server.full.0123456789ab\n" in text
    assert "StrictHostKeyChecking yes" in text


def test_a_private_file_is_private_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "password"
    hosts.write_private(path, "secret")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == "secret"


def test_the_demo_has_no_host_elsewhere() -> None:
    assert [host.name for host in hosts.planned("trixie", publish=True)] == ["server"]
    assert [host.name for host in hosts.planned("bookworm", publish=False)] == ["server", "elsewhere"]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins, found before the real ones; a checkout whose two hosts were booted earlier."""
    described = tmp_path / "hosts" / "some" / "inventory" / "hosts.yml"
    described.parent.mkdir(parents=True)
    for path in (described, *(tmp_path / "hosts" / "some" / f"{name}.booted" for name in ("server", "elsewhere"))):
        path.touch()
    monkeypatch.setattr(hosts, "HOSTS", tmp_path / "hosts")
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    for name in ("podman", "sudo"):
        write_program(folder / name, "echo not needed >&2; exit 9")
    return folder


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_hosts_that_answer_are_kept_without_root(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_program(programs / "ssh", "exit 0")
    hosts.up("some", "trixie", publish=False)
    assert capsys.readouterr().out == "server.some is already there\nelsewhere.some is already there\n"


@pytest.mark.parametrize("missing", ["an answer", "a host", "a description of today"])
def test_hosts_that_do_not_answer_are_looked_after(programs: Path, missing: str) -> None:
    write_program(programs / "ssh", 'case "$*" in *elsewhere*) exit 255;; esac' if missing == "an answer" else "exit 0")
    if missing == "a host":
        (hosts.HOSTS / "some" / "elsewhere.booted").unlink()
    if missing == "a description of today":
        os.utime(hosts.HOSTS / "some" / "inventory" / "hosts.yml", (0, 0))
    with pytest.raises(SystemExit, match="not needed"):
        hosts.up("some", "trixie", publish=False)


def test_the_resolver_that_podman_gave_is_the_first() -> None:
    text = "search dns.podman\nnameserver 192.0.2.1\nnameserver 192.0.2.53\n"
    assert hosts.first_nameserver(text) == "192.0.2.1"


def test_a_host_without_the_small_internet_asks_podman_s_resolver(
    running: list[Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "archive_names", lambda: ["mirror.example"])
    server = Running(Host("server", "mail", "trixie", published=("smtp",)), "01", "192.0.2.2", "", {}, "192.0.2.1")
    written = hosts.inventory("demo", [server], "secret")["all"]["vars"]
    assert written["unbound_forward_zones"] == {".": ["192.0.2.1"]}
    assert written["unbound_probe_name"] == "mirror.example"
    others = hosts.inventory("full", running, "secret")["all"]["vars"]
    assert not [name for name in others if name.startswith("unbound_")]


def test_names_that_the_machine_does_not_know_are_left_out() -> None:
    assert hosts.resolved(["postoffice.invalid"]) == ""
    assert "127.0.0.1 localhost\n" in hosts.resolved(["localhost"])


def test_daemons_of_the_host_elsewhere_wait_until_they_are_configured() -> None:
    def disabling(packages: tuple[str, ...]) -> list[str]:
        return [word for word in hosts.image_recipe("trixie", packages, []) if "systemctl" in word]

    assert "unbound" in disabling(hosts.ELSEWHERE_PACKAGES)[0]
    assert disabling(()) == []
