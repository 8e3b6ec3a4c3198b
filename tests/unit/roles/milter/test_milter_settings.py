# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings file, the check before a start, and that the role installs all there is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from postoffice_milter import check
from postoffice_milter.settings import Settings, SettingsError, load, parse

MINIMAL = {"socket": "/run/x/milter.sock", "directory": "/var/lib/x/lookup.sqlite3"}


def test_defaults() -> None:
    assert parse(json.dumps(MINIMAL), "x") == Settings(**MINIMAL)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"socket": ""}, "socket is missing"),
        ({"directory": None}, "directory must be str"),
        ({"directory": "relative"}, "absolute"),
        ({"quota_status": "relative"}, "absolute"),
        ({"colour": "red"}, "unknown setting colour"),
        ({"check_senders": "yes"}, "check_senders must be bool"),
        ({"check_senders": 1}, "check_senders must be bool"),
        ({"drain": "10"}, "drain must be int"),
        ({"drain": True}, "drain must be int"),
        ({"drain": 0}, "1 or more"),
        ({"usage": "relative"}, "absolute"),
        ({"limit_messages_per_hour": -1}, "0 or more"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        parse(json.dumps(MINIMAL | change), "milter.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "1"])
def test_what_is_no_object(text: str) -> None:
    with pytest.raises(SettingsError, match=r"milter\.json"):
        parse(text, "milter.json")


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="absent"):
        load(tmp_path / "absent")


def settings(tmp_path: Path, **values: object) -> Path:
    path = tmp_path / "milter.json"
    path.write_text(json.dumps(MINIMAL | values))
    return path


def test_the_check_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str], lookups: Path) -> None:
    assert check.run(settings(tmp_path, directory=str(lookups))) == 0
    assert check.run(settings(tmp_path, directory=str(tmp_path / "absent"))) == check.NOT_INSTALLED
    assert check.run(settings(tmp_path, directory=str(lookups), socket_group="no-such-group")) == check.NOT_INSTALLED
    lookups.write_bytes(b"")
    assert check.run(settings(tmp_path, directory=str(lookups))) == 1
    said = capsys.readouterr().err
    assert "absent does not exist" in said
    assert "no group no-such-group" in said
    assert "no such table" in said


def test_the_program_says_what_it_can_do(role: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "postoffice_milter", "--settings", str(tmp_path / "absent"), "check"],
        cwd=role / "files",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "absent" in ran.stderr


def test_every_module_is_installed(role: Path) -> None:
    listed = yaml.safe_load((role / "vars" / "main.yml").read_text())["_milter_modules"]
    assert listed == sorted(str(path.relative_to(role / "files")) for path in (role / "files").glob("*/*.py"))


def test_settings_and_role_agree(role: Path) -> None:
    written = yaml.safe_load((role / "vars" / "main.yml").read_text())["_milter_settings"]
    assert set(written) <= set(Settings.__dataclass_fields__)
