# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

from opendmarc_config import located, problems

GOOD = "# a comment\nSPFIgnoreResults true\nSPFSelfValidate true # said twice\n"


def test_what_the_role_writes_is_good() -> None:
    assert list(problems(GOOD)) == []


def test_a_file_that_is_missing_is_named_with_its_place(tmp_path: Path) -> None:
    (found,) = problems(f"{GOOD}IgnoreHosts {tmp_path}/hosts\n")
    assert found == f"/etc/opendmarc.conf:4: IgnoreHosts: there is no file {tmp_path}/hosts"
    (tmp_path / "hosts").touch()
    assert list(problems(f"{GOOD}IgnoreHosts {tmp_path}/hosts\n")) == []


def test_results_in_headers_must_not_be_believed() -> None:
    (found,) = problems("SPFIgnoreResults false\nSPFSelfValidate true\n")
    assert "SPFIgnoreResults is false" in found


def test_the_last_value_counts_as_for_the_daemon() -> None:
    (found,) = problems(f"{GOOD}SPFSelfValidate no\n")
    assert "SPFSelfValidate is no" in found


def test_what_opendmarc_says_comes_with_the_line_that_it_means() -> None:
    said = "opendmarc: /etc/opendmarc.conf: configuration error at line 1: unrecognized parameter"
    assert located(said, "Mood sv\n") == "/etc/opendmarc.conf:1: Mood sv: unrecognized parameter"


def test_what_is_not_said_is_off() -> None:
    assert len(list(problems("Syslog true\n"))) == 2
