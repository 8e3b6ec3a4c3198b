# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds each role's defaults and argument specs against each other.

Both describe the role's variables; they must name the same ones with the same defaults, and every name must begin with
the role's own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parent.parent


class Loader(yaml.SafeLoader):
    """Reads Ansible's own tags (`!unsafe`, `!vault`) as the text they stand before."""


Loader.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_scalar(node))


def load(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    return yaml.load(path.read_text(encoding="utf-8"), Loader) or {}


def differences(role: str, defaults: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What does not agree between a role's defaults and the options of its argument spec."""
    for name, value in defaults.items():
        if name not in options:
            yield f"{name} has a default, but no argument spec"
        elif "default" not in options[name]:
            yield f"{name} has the default {value!r}, which its argument spec does not say"
        elif options[name]["default"] != value or type(options[name]["default"]) is not type(value):
            yield f"{name} has the default {value!r}, its argument spec says {options[name]['default']!r}"
    for name, option in options.items():
        if not name.startswith((f"{role}_", "mail_")):
            yield f"{name} begins neither with {role}_ nor, as what all roles are fed from, with mail_"
        if name not in defaults and not option.get("required"):
            yield f"{name} is optional in the argument spec, but has no default"
        if "_wired_" in name and defaults.get(name):
            yield f"{name} has a default that is not empty; only a playbook sets it"


def main() -> None:
    problems = []
    roles = sorted(path for path in (CHECKOUT / "roles").iterdir() if path.is_dir())
    for role in roles:
        specs = load(role / "meta" / "argument_specs.yml").get("argument_specs", {})
        if "main" not in specs:
            problems.append(f"roles/{role.name}: meta/argument_specs.yml describes no main entry point")
            continue
        defaults = load(role / "defaults" / "main.yml")
        found = differences(role.name, defaults, specs["main"].get("options") or {})
        problems += [f"roles/{role.name}: {difference}" for difference in found]
    if problems or not roles:
        sys.exit("\n".join(problems) or "there are no roles")
    print(f"{len(roles)} roles: defaults and argument specs agree")


if __name__ == "__main__":
    main()
