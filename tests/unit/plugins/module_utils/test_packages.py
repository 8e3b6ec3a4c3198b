"""What dpkg and apt print is read into versions that roles can compare."""

from __future__ import annotations

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.packages import (
    parse_apt_cache_policy,
    parse_dpkg_query,
    read_packages,
    upstream_version,
)

POLICY = """postfix-sqlite:
  Installed: (none)
  Candidate: 3.10.13-0+deb13u1
  Version table:
     3.10.13-0+deb13u1 500
spamd:
  Installed: (none)
  Candidate: (none)
  Version table:
"""


@pytest.mark.parametrize(
    ("version", "upstream"),
    [
        ("1:2.4.1+dfsg1-6+deb13u6", "2.4.1"),
        ("1:2.3.19.1+dfsg1-2.1", "2.3.19.1"),
        ("3.7.11-0+deb12u1", "3.7.11"),
        ("1.0~rc2-1", "1.0"),
        ("20230311", "20230311"),
    ],
)
def test_epoch_and_revision_are_cut_off(version: str, upstream: str) -> None:
    assert upstream_version(version) == upstream


def test_removed_packages_whose_configuration_stays_are_not_installed() -> None:
    output = "postfix\tinstalled\t3.10.13-0+deb13u1\nexim4\tconfig-files\t4.98-1\n"
    assert parse_dpkg_query(output) == {"postfix": "3.10.13"}


def test_packages_without_a_candidate_have_no_version() -> None:
    assert parse_apt_cache_policy(POLICY) == {"postfix-sqlite": "3.10.13"}


def test_apt_is_asked_for_missing_packages_only() -> None:
    calls: list[list[str]] = []

    def run(argv: list[str]) -> str:
        calls.append(argv)
        return "postfix\tinstalled\t3.10.13-0+deb13u1\n" if argv[0] == "dpkg-query" else POLICY

    packages = read_packages(["postfix", "postfix-sqlite", "spamd", "postfix"], run)
    assert packages.missing == ["postfix-sqlite", "spamd"]
    assert packages.versions == {"postfix": "3.10.13", "postfix-sqlite": "3.10.13", "spamd": ""}
    assert calls[1] == ["apt-cache", "policy", "postfix-sqlite", "spamd"]


def test_nothing_wanted_asks_nobody() -> None:
    def run(argv: list[str]) -> str:
        raise AssertionError(argv)

    assert read_packages([], run).missing == []


def test_a_package_counts_as_installed_when_another_does_its_work() -> None:
    packages = read_packages(
        ["systemd-timesyncd"], lambda argv: "chrony\tinstalled\t4.3-2\n", {"systemd-timesyncd": ["chrony", "ntpsec"]}
    )
    assert packages.missing == []
    assert packages.installed == {"systemd-timesyncd": "4.3"}
