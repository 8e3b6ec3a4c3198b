# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules return, and that they publish what they change."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest
from mail_model import HASH, rows

from ansible_collections.postoffice.mail.plugins.module_utils import directory_module
from ansible_collections.postoffice.mail.plugins.module_utils.directory import reconcile, store
from ansible_collections.postoffice.mail.plugins.module_utils.directory.publishing import Settings, publish

DOMAINS: list[dict[str, Any]] = [{"name": "example.org", "mailboxes": [{"name": "a", "password": "s3cret %"}]}]


class Ended(Exception):
    """Raised where a module would end its process."""


class Module:
    """Stands in for AnsibleModule; systemctl publishes at once, or says why it cannot."""

    def __init__(self, tmp_path: Path, spec: directory_module.Spec, check_mode: bool = False, **options: Any) -> None:
        given = {"path": str(tmp_path / "d"), "published_folder": str(tmp_path / "published"), **options}
        self.params: dict[str, Any] = {name: option.get("default") for name, option in spec.items()} | given
        self.check_mode = check_mode
        self._diff = True
        self.result: dict[str, Any] = {}
        self.failed = False
        self.commands: list[list[str]] = []
        self.broken = False

    def exit_json(self, **result: Any) -> NoReturn:
        self.result = result
        raise Ended

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        self.failed = True
        self.exit_json(msg=msg, **result)

    def run_command(self, args: list[str]) -> tuple[int, str, str]:
        self.commands.append(args)
        if args[1] == "show":
            return 0, "loaded\n", ""
        if args[1] == "start" and self.broken:
            return 1, "", ""
        if args[1] == "start":
            publish(Settings(self.params["path"], self.params["published_folder"]))
        return 0, "the reason in the journal", ""


@pytest.fixture(autouse=True)
def _systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.path.isdir
    monkeypatch.setattr(directory_module.os.path, "isdir", lambda path: path == "/run/systemd/system" or real(path))


def run(tmp_path: Path, domains: Any = None, broken: bool = False, **options: Any) -> Module:
    module = Module(
        tmp_path, directory_module.DIRECTORY, domains=json.dumps(DOMAINS if domains is None else domains), **options
    )
    module.broken = broken
    with pytest.raises(Ended):
        directory_module.run_directory(module)
    return module


def test_what_is_returned(tmp_path: Path) -> None:
    result = run(tmp_path).result
    assert result["changed"]
    assert result["published"]
    assert result["changes"] == [
        {"type": "domain", "name": "example.org", "action": "create"},
        {"type": "mailbox", "name": "a@example.org", "action": "create"},
    ]
    assert result["summary"]["mailbox"]["create"] == 1
    assert "mailbox a@example.org:" in result["diff"]["after"]
    assert "s3cret" not in str(result)
    assert "argon2" not in str(result)
    again = run(tmp_path).result
    assert (again["changed"], again["published"], again["changes"]) == (False, False, [])


def test_an_unchanged_directory_asks_systemd_for_nothing(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path).commands == []


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    module = run(tmp_path, check_mode=True)
    assert module.result["changed"]
    assert module.commands == []
    assert list(tmp_path.iterdir()) == []


def test_validate_only_needs_no_database(tmp_path: Path) -> None:
    module = run(tmp_path, validate_only=True)
    assert module.result["changed"] is False
    assert list(tmp_path.iterdir()) == []
    broken = run(tmp_path, [{"name": "x"}], validate_only=True, variable="mail_domains")
    assert broken.failed
    assert broken.result["problems"][0].startswith("mail_domains[0].name: ")


def test_a_publication_that_fails_is_an_error_and_made_up_for(tmp_path: Path) -> None:
    failed = run(tmp_path, broken=True)
    assert failed.failed
    assert failed.result["changed"]
    assert "the reason in the journal" in failed.result["msg"]
    later = run(tmp_path)
    assert (later.result["changed"], later.result["published"], later.result["changes"]) == (True, True, [])


def test_a_publication_that_was_lost_is_made_up_for(tmp_path: Path) -> None:
    run(tmp_path)
    for path in (tmp_path / "published").iterdir():
        path.unlink()
    assert run(tmp_path).result["published"]


def test_trouble_with_the_file_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("no database")
    module = run(tmp_path)
    assert module.failed
    assert module.result["error"] == "NotADatabase"


def test_input_that_is_no_json(tmp_path: Path) -> None:
    module = Module(tmp_path, directory_module.DIRECTORY, domains="{s3cret")
    with pytest.raises(Ended):
        directory_module.run_directory(module)
    assert module.failed
    assert "to_json" in module.result["msg"]
    assert "s3cret" not in module.result["msg"]


def test_one_mailbox(tmp_path: Path) -> None:
    run(tmp_path)
    options = {"address": "b@example.org", "password_hash": HASH, "state": None}
    module = Module(tmp_path, directory_module.MAILBOX, **options)
    with pytest.raises(Ended):
        directory_module.run_object(module, directory_module.objects.mailbox)
    assert module.result["changes"] == [{"type": "mailbox", "name": "b@example.org", "action": "create"}]
    assert module.result["published"]
    assert rows(tmp_path / "published" / "lookup.sqlite3", "SELECT count(*) FROM postfix_mailbox") == [(2,)]
    assert not run(tmp_path).result["changed"]


def test_information(tmp_path: Path) -> None:
    run(tmp_path)
    module = Module(tmp_path, directory_module.INFO)
    with pytest.raises(Ended):
        directory_module.run_info(module)
    assert module.result["changed"] is False
    assert [row["address"] for row in module.result["mailboxes"]] == ["a@example.org"]


def test_a_long_list_of_changes_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "SHOWN_CHANGES", 2)
    domains = [{"name": "example.org", "mailboxes": [{"name": name} for name in "abcd"]}]
    result = run(tmp_path, domains).result
    assert (len(result["changes"]), result["changes_omitted"]) == (2, 3)
    assert all(f"mailbox {name}@example.org" in result["diff"]["after"] for name in "abcd")


def test_an_older_directory_is_migrated_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not run(tmp_path).failed
    for module in (store, reconcile):
        monkeypatch.setattr(module, "SCHEMA_VERSION", store.SCHEMA_VERSION + 1)
    monkeypatch.setattr(store, "MIGRATIONS", (*store.MIGRATIONS, ("UPDATE mailbox SET display_name = 'migrated'",)))
    refused = run(tmp_path)
    assert refused.failed
    assert refused.result["error"] == "OlderSchema"
    assert not run(tmp_path, migrate=True).failed
    assert not run(tmp_path).failed
