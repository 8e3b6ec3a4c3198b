# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of M(postoffice.mail.preflight): it alone sees all variables."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ..module_utils.directory.errors import InvalidInput, MissingLibrary
from ..module_utils.directory.parse import parse
from ..module_utils.directory.planning import Policy
from ..module_utils.directory.reconcile import validate as validate_domains
from ..module_utils.preflight.inventory import Options, invalid, misspelt, options_of


class ActionModule(ActionBase):
    """Checks the variables, then runs the module of the same name on the host."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        specs = read_specs(Path(arguments["roles_path"]))
        errors = misspelt(variables, specs, arguments.get("ignored_variables") or [])
        errors += self._invalid(specs, variables)
        errors += domain_errors(arguments.pop("domains", None))
        if errors:
            return {
                **result,
                "failed": True,
                "findings": errors,
                "msg": "\n".join(["The inventory needs a look:", *errors]),
            }
        arguments["now"] = time.time()
        return {**result, **self._execute_module(module_args=arguments, task_vars=variables)}

    def _invalid(self, specs: Mapping[str, Options], variables: Mapping[str, Any]) -> list[str]:
        values = {}
        errors = []
        for name in {option for options in specs.values() for option in options} & set(variables):
            try:
                values[name] = self._templar.template(variables[name])
            except AnsibleError as error:
                errors.append(f"{name}: {error.message}")
        given = {
            role: {n: o for n, o in options.items() if n in values or n not in variables}
            for role, options in specs.items()
        }
        return sorted(errors) + invalid(given, values, validate)


def read_specs(roles_path: Path) -> dict[str, Options]:
    """The options of every role below `roles_path`, by role."""
    paths = sorted(roles_path.glob("*/meta/argument_specs.yml"))
    return {path.parent.parent.name: options_of(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in paths}


def validate(options: Options, values: Mapping[str, Any]) -> list[str]:
    messages: list[str] = ArgumentSpecValidator(dict(options)).validate(dict(values)).error_messages
    return messages


def domain_errors(domains: str | None) -> list[str]:
    """What the directory library says of the domains, mailboxes and aliases."""
    try:
        validate_domains(
            parse(json.loads(domains or "[]"), "inventory"), Policy(managed_by="inventory", now=int(time.time()))
        )
    except InvalidInput as error:
        return str(error).splitlines()
    except MissingLibrary:
        return []  # the controller lacks it; the host will have it and decides
    return []
