# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generated reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.postoffice.mail.tools import references


@pytest.mark.parametrize(
    ("markup", "markdown"),
    [
        ("plain", "plain"),
        ("C(postconf -n) and V(yes)", "`postconf -n` and `yes`"),
        ("see O(names) and O(state=absent)", "see `names` and `state=absent`"),
        ("B(never) I(ever)", "**never** *ever*"),
        ("M(postoffice.mail.directory)", "`postoffice.mail.directory`"),
        ("L(the manual,https://example.org/)", "[the manual](https://example.org/)"),
    ],
)
def test_markup_becomes_markdown(markup: str, markdown: str) -> None:
    assert references.markdown(markup) == markdown


def test_entries_name_what_lies_inside_by_its_path() -> None:
    options = {"files": {"type": "list", "elements": "dict", "options": {"path": {"required": True}}}}
    first, second = references.entries(options)
    assert first.startswith("### `files`\n\n*list of dict*")
    assert second.startswith("### `files.path`\n\n*str, required*")


def test_a_role_s_variables_keep_the_order_of_its_defaults() -> None:
    spec = {
        "short_description": "A role",
        "options": {name: {"description": "Text."} for name in ("role_b", "role_a", "role_wired_c")},
    }
    page = references.role_page("role", spec, ["role_a", "role_b", "role_wired_c"])
    assert page.index("role_a") < page.index("role_b") < page.index("What a playbook connects") < page.index("wired_c")


def test_pages_that_differ_lack_or_are_left_over_are_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "REFERENCE", tmp_path)
    (tmp_path / "same.md").write_text("same")
    (tmp_path / "old.md").write_text("old")
    (tmp_path / "left.md").write_text("left")
    assert references.stale({"same.md": "same", "old.md": "new", "new.md": "new"}) == ["left.md", "new.md", "old.md"]
