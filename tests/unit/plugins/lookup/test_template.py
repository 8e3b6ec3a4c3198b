# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same text as ansible.builtin.template, and no copies of what the variables hold."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader, lookup_loader
from ansible.template import Templar, trust_as_template

from ansible_collections.postoffice.mail.plugins.lookup.template import LookupModule

TEXT = """\
#jinja2: lstrip_blocks: True
# {{ template_path | basename }}
{% for name in names %}
    {% if name %}
- {{ greeting }} {{ name }}
    {% endif %}
{% endfor %}
{% set names = [] %}
"""


@pytest.fixture(autouse=True, scope="module")
def names_of_collections() -> None:
    """As ansible-playbook begins."""
    init_plugin_loader()


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "letter.j2").write_text(TEXT, encoding="utf-8")
    return {
        "ansible_search_path": [str(tmp_path)],
        "names": ["Alice", "", "Bob"],
        "greeting": trust_as_template("{{ word | capitalize }},"),
        "word": "hello",
    }


def rendered(template: str, variables: dict[str, Any], lookup: Callable[..., Any] = LookupModule) -> list[str]:
    loader = DataLoader()
    found: list[str] = lookup(loader=loader, templar=Templar(loader, variables)).run([template], variables)
    return found


def test_it_renders_what_the_builtin_lookup_does(variables: dict[str, Any]) -> None:
    before = deepcopy(variables)
    expected = ["# letter.j2\n- Hello, Alice\n- Hello, Bob\n"]
    assert rendered("letter.j2", dict(variables), partial(lookup_loader.get, "ansible.builtin.template")) == expected
    assert rendered("letter.j2", variables) == expected
    assert variables == before


def test_it_copies_no_value(variables: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[dict[str, Any]] = []

    def copying(given: dict[str, Any]) -> dict[str, Any]:
        copies.append(deepcopy(given))
        return copies[-1]

    builtin = lookup_loader.get("ansible.builtin.template", class_only=True)
    monkeypatch.setitem(builtin.run.__globals__, "deepcopy", copying)
    rendered("letter.j2", variables)
    assert [copied["names"] is variables["names"] for copied in copies] == [True]
    assert "template_path" not in variables


def test_a_template_that_is_missing_is_named(variables: dict[str, Any]) -> None:
    with pytest.raises(AnsibleError, match=r"absent\.j2"):
        rendered("absent.j2", variables)
