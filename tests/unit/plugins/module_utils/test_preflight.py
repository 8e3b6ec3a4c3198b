"""Inventory and host are looked at before anything is touched."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.postoffice.mail.plugins.module_utils.preflight.host import (
    Host,
    Wanted,
    hostname_errors,
    judge,
    parse_ahosts,
    parse_listening,
    parse_meminfo,
    parse_os_release,
    read_listeners,
)
from ansible_collections.postoffice.mail.plugins.module_utils.preflight.inventory import (
    Options,
    invalid,
    misspelt,
    options_of,
)

SPECS: dict[str, Options] = {
    "preflight": {"mail_domains": {"type": "raw"}},
    "postfix": {"postfix_milters": {"type": "list"}, "postfix_password": {"type": "int", "no_log": True}},
}
WANTED = Wanted(
    hostname="mail.example.org",
    releases=["debian 12", "debian 13"],
    ports=[25, 993],
    services=["master", "dovecot"],
    memory=480,
    disk=1024,
    clock_skew=60,
    now=1_000_000.0,
)
HOST = Host(
    os_release={"ID": "debian", "VERSION_ID": "13"},
    init="systemd",
    memory=2000,
    disk=9000,
    clock=1_000_001.0,
    addresses={"192.0.2.1"},
    resolved={"192.0.2.1"},
    listeners={25: ["smtpd", "master"]},
)


def validate(options: Options, values: Any) -> list[str]:
    messages: list[str] = ArgumentSpecValidator(dict(options)).validate(dict(values)).error_messages
    return messages


def test_a_misspelt_variable_is_named_with_the_nearest_one() -> None:
    assert misspelt(["postfix_milter", "mail_domains"], SPECS) == [
        "postfix_milter: no such variable; did you mean postfix_milters?"
    ]


def test_variables_without_a_roles_prefix_are_somebody_elses() -> None:
    assert misspelt(["ansible_host", "web_port", "__postfix_packages", "_postfix_files"], SPECS) == []


def test_ignored_variables_are_left_alone() -> None:
    assert misspelt(["postfix_exporter_port"], SPECS, ignored=["postfix_exporter_port"]) == []


def test_a_wrong_type_is_named() -> None:
    (error,) = invalid(SPECS, {"postfix_milters": {"a": 1}}, validate)
    assert error.startswith("postfix_milters: ")


def test_a_wrong_secret_is_not_quoted() -> None:
    (error,) = invalid(SPECS, {"postfix_password": "s3cret-value"}, validate)
    assert "postfix_password" in error
    assert "s3cret-value" not in error


def test_a_required_variable_that_is_absent_is_named() -> None:
    (error,) = invalid({"preflight": {"mail_hostname": {"type": "str", "required": True}}}, {}, validate)
    assert "mail_hostname" in error


def test_the_entry_point_main_holds_the_options() -> None:
    assert options_of({"argument_specs": {"main": {"options": {"a": {"type": "str"}}}}}) == {"a": {"type": "str"}}
    assert options_of({}) == {}


def test_a_good_host_has_no_findings() -> None:
    findings = judge(HOST, WANTED)
    assert (findings.errors, findings.warnings) == ([], [])


@pytest.mark.parametrize(
    ("change", "begins"),
    [
        ({"os_release": {"ID": "ubuntu", "VERSION_ID": "24.04"}}, "release: ubuntu 24.04"),
        ({"os_release": {}}, "release: unknown"),
        ({"init": "sh"}, "init: "),
        ({"memory": 479}, "memory: 479 MiB"),
        ({"disk": 1023}, "disk: 1023 MiB"),
        ({"clock": 1_000_061.0}, "time: the host's clock is 61 seconds"),
        ({"listeners": {993: ["nginx"]}}, "port 993: nginx"),
    ],
)
def test_what_would_break_the_host_is_an_error(change: dict[str, Any], begins: str) -> None:
    (error,) = judge(dataclasses.replace(HOST, **change), WANTED).errors
    assert error.startswith(begins)


def test_memory_that_a_role_lacks_is_an_error_with_the_choices() -> None:
    wanted = dataclasses.replace(WANTED, memory_of_roles={"spamd": 200, "clamav": 1600})
    (error,) = judge(HOST, wanted).errors
    assert error.startswith("memory: 2000 MiB, at least 2280 MiB are needed, 1600 of them for clamav")
    assert "clamav_enabled: false" in error
    assert "clamav_memory: 0" in error


def test_memory_that_is_enough_for_all_roles_is_no_error() -> None:
    assert judge(HOST, dataclasses.replace(WANTED, memory_of_roles={"clamav": 1520})).errors == []


@pytest.mark.parametrize(
    ("change", "begins"),
    [
        ({"resolved": set()}, "name: mail.example.org has no address"),
        ({"resolved": {"198.51.100.9"}}, "name: mail.example.org resolves to 198.51.100.9"),
        ({"listeners": {25: ["exim4"]}}, "port 25: exim4"),
    ],
)
def test_what_the_operator_should_know_is_a_warning(change: dict[str, Any], begins: str) -> None:
    findings = judge(dataclasses.replace(HOST, **change), WANTED)
    assert findings.errors == []
    assert [warning.startswith(begins) for warning in findings.warnings] == [True]


def test_everything_wrong_is_reported_at_once() -> None:
    host = dataclasses.replace(HOST, memory=1, disk=1, init="sh")
    assert len(judge(host, WANTED).errors) == 3


@pytest.mark.parametrize("name", ["mail.example.org", "mx1.xn--mnchen-3ya.example"])
def test_fully_qualified_names_are_accepted(name: str) -> None:
    assert hostname_errors(name) == []


@pytest.mark.parametrize(
    "name", ["mail", "Mail.example.org", "192.0.2.1", "2001:db8::1", "mail.-x.org", "mail..org", "a." * 130 + "org", ""]
)
def test_other_names_are_refused(name: str) -> None:
    assert len(hostname_errors(name)) == 1


def test_files_of_the_host_are_read() -> None:
    assert parse_os_release('NAME="Debian"\nVERSION_ID="13"\n#x=y\n') == {"NAME": "Debian", "VERSION_ID": "13"}
    assert parse_meminfo("MemFree:  1 kB\n") == 0
    assert parse_meminfo("MemTotal:       2048000 kB\nMemFree: 1 kB\n") == 2000
    assert parse_ahosts("192.0.2.1   STREAM mail\n192.0.2.1   DGRAM\n127.0.1.1 STREAM\n") == {"192.0.2.1"}


def test_listeners_are_found_by_their_sockets(tmp_path: Path) -> None:
    table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    table += "   0: 00000000:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n"
    table += "   1: 0100007F:0019 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n"
    assert parse_listening([table]) == {"4711": 25}
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(table)
    descriptors = tmp_path / "77/fd"
    descriptors.mkdir(parents=True)
    (tmp_path / "77/comm").write_text("exim4\n")
    (descriptors / "3").symlink_to("socket:[4711]")
    (tmp_path / "78/fd").mkdir(parents=True)
    (tmp_path / "78/comm").write_text("child\n")
    (tmp_path / "78/fd/7").symlink_to("socket:[4711]")
    assert read_listeners(tmp_path, [25, 993]) == {25: {"exim4", "child"}}
    (tmp_path / "78/fd/7").unlink()
    (descriptors / "3").unlink()
    assert read_listeners(tmp_path, [25, 993]) == {25: {"an unknown process"}}
    assert read_listeners(tmp_path, [993]) == {}
