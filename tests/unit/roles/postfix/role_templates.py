# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the role's templates with its own defaults, as the role does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).resolve().parents[4] / "roles" / "postfix"


def render(template: str, **variables: Any) -> str:
    """Return a template of the role, rendered with its defaults, its derived variables, and the given ones on top."""
    loader = DataLoader()
    known: dict[str, Any] = {"__postfix_packages": {"versions": {"postfix": "3.10.13"}, "missing": []}}
    for room in ("defaults", "vars"):
        known |= loader.load_from_file(str(ROLE / room / "main.yml"), trusted_as_template=True)
    templar = Templar(loader, known | {"postfix_hostname": "mail.example.org"} | variables)
    text = (ROLE / "templates" / template).read_text(encoding="utf-8")
    rendered = templar.template(
        trust_as_template(text), convert_data=False, escape_backslashes=False, overrides={"trim_blocks": True}
    )
    return str(rendered)
