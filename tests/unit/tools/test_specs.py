# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defaults and argument specs that do not agree are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.postoffice.mail.tools.specs import differences, load


def test_agreement_is_no_difference() -> None:
    options = {"role_size": {"type": "int", "default": 5}, "role_name": {"required": True}}
    assert list(differences("role", {"role_size": 5}, options)) == []


@pytest.mark.parametrize(
    ("defaults", "options", "said"),
    [
        ({"role_a": 1}, {}, "no argument spec"),
        ({"role_a": 1}, {"role_a": {}}, "does not say"),
        ({"role_a": 1}, {"role_a": {"default": 2}}, "says 2"),
        ({"role_a": 1}, {"role_a": {"default": True}}, "says True"),
        ({"role_a": "1"}, {"role_a": {"default": 1}}, "says 1"),
        ({}, {"role_a": {}}, "has no default"),
        ({"other_a": 1}, {"other_a": {"default": 1}}, "begins neither with role_"),
        ({"role_wired_a": "x"}, {"role_wired_a": {"default": "x"}}, "only a playbook sets it"),
    ],
)
def test_each_kind_of_difference_is_named(defaults: dict[str, Any], options: dict[str, Any], said: str) -> None:
    (found,) = differences("role", defaults, options)
    assert said in found


def test_ansible_s_own_tags_are_text(tmp_path: Path) -> None:
    path = tmp_path / "main.yml"
    path.write_text('---\nrole_text: !unsafe "{{ braces"\n')
    assert load(path) == {"role_text": "{{ braces"}


def test_a_missing_file_is_empty(tmp_path: Path) -> None:
    assert load(tmp_path / "main.yml") == {}
