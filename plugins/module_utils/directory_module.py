# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Between Ansible and the directory library: options in, results out, and the publication after a change."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

from .directory import objects
from .directory.describe import changes, diff, summary
from .directory.errors import DirectoryError, InvalidInput, StoreError
from .directory.information import information
from .directory.parse import parse
from .directory.passwords import SCHEMES
from .directory.planning import Plan, Policy
from .directory.publishing import read_state
from .directory.reconcile import Declare, reconcile, validate
from .directory.store import change_counter

Spec = dict[str, dict[str, Any]]
Options = Mapping[str, Any]

DAY = 86400
SHOWN_CHANGES = 1000
PUBLISH_ATTEMPTS = 3

COMMON: Spec = {"path": {"type": "path", "default": "/var/lib/postoffice/directory.sqlite3"}}
WRITING: Spec = {
    **COMMON,
    "managed_by": {"type": "str", "default": "playbook"},
    "adopt": {"type": "bool", "default": False},
    "migrate": {"type": "bool", "default": False},
    "publish_unit": {"type": "str", "default": "postoffice-publish.service"},
    "published_folder": {"type": "path", "default": "/var/lib/postoffice/published"},
}
PASSWORDS: Spec = {
    "update_password": {"type": "str", "choices": ["on_create", "always"], "default": "on_create", "no_log": False},
    "password_scheme": {"type": "str", "choices": list(SCHEMES), "default": "ARGON2ID", "no_log": False},
}
DIRECTORY: Spec = {
    **WRITING,
    **PASSWORDS,
    "domains": {"type": "json", "required": True, "no_log": True},
    "variable": {"type": "str", "default": "domains"},
    "managed_by": {"type": "str", "default": "inventory"},
    "absent": {"type": "str", "choices": ["disable", "delete"], "default": "disable"},
    "retention_days": {"type": "int", "default": 30},
    "validate_only": {"type": "bool", "default": False},
}
SENDING_LIMITS: dict[str, Any] = {
    "type": "dict",
    "options": {
        "messages_per_hour": {"type": "int"},
        "messages_per_day": {"type": "int"},
        "recipients_per_hour": {"type": "int"},
        "recipients_per_day": {"type": "int"},
        "new_recipients_per_day": {"type": "int"},
    },
}
MAILBOX: Spec = {
    **WRITING,
    **PASSWORDS,
    "address": {"type": "str", "required": True},
    "password": {"type": "str", "no_log": True},
    "password_hash": {"type": "str", "no_log": True},
    "display_name": {"type": "str"},
    "quota": {"type": "str"},
    "may_send_as": {"type": "list", "elements": "str"},
    "sending_limits": SENDING_LIMITS,
    "state": {"type": "str", "choices": ["active", "disabled", "send-only", "receive-only", "absent"]},
}
ALIAS: Spec = {
    **WRITING,
    "address": {"type": "str", "required": True},
    "destinations": {"type": "list", "elements": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
DOMAIN: Spec = {
    **WRITING,
    "name": {"type": "str", "required": True},
    "alias_of": {"type": "str"},
    "relay_to": {
        "type": "dict",
        "options": {
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 25},
            "recipients": {"type": "list", "elements": "str"},
        },
    },
    "catch_all": {"type": "list", "elements": "str"},
    "expressions": {
        "type": "list",
        "elements": "dict",
        "options": {
            "pattern": {"type": "str", "required": True},
            "destinations": {"type": "list", "elements": "str", "required": True},
        },
    },
    "defaults": {"type": "dict", "options": {"quota": {"type": "str"}, "sending_limits": SENDING_LIMITS}},
    "limits": {
        "type": "dict",
        "options": {
            "max_mailboxes": {"type": "int"},
            "max_aliases": {"type": "int"},
            "max_quota": {"type": "str"},
            "max_total_quota": {"type": "str"},
        },
    },
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
INFO: Spec = {**COMMON, "domain": {"type": "str"}}


class Module(Protocol):
    """What is used of ``AnsibleModule``."""

    params: dict[str, Any]
    check_mode: bool
    _diff: bool

    def exit_json(self, **result: Any) -> NoReturn: ...
    def fail_json(self, msg: str, **result: Any) -> NoReturn: ...
    def run_command(self, args: list[str]) -> tuple[int, str, str]: ...


def run_directory(module: Module) -> None:
    """Bring the whole directory to what ``domains`` declares."""

    def work() -> dict[str, Any]:
        options = module.params
        declared = parse(_loaded(options["domains"], options["variable"]), options["managed_by"], options["variable"])
        policy = _policy(options)._replace(
            delete=options["absent"] == "delete",
            retention=options["retention_days"] * DAY,
        )
        if options["validate_only"]:
            validate(declared, policy)
            return {"changed": False, "changes": [], "changes_omitted": 0, "published": False}
        return _reconciled(module, lambda _current: declared, policy)

    _finish(module, work)


def run_object(module: Module, declare: Callable[[objects.Options, Policy], tuple[Declare, Policy]]) -> None:
    """Bring one object to what the options declare."""
    _finish(module, lambda: _reconciled(module, *declare(module.params, _policy(module.params))))


def run_info(module: Module) -> None:
    """Return what the directory holds."""
    _finish(module, lambda: {"changed": False, **information(module.params["path"], module.params["domain"])})


def _finish(module: Module, work: Callable[[], dict[str, Any]]) -> None:
    try:
        result = work()
    except InvalidInput as error:
        heading = "The directory is not touched, because of:"
        module.fail_json(msg="\n".join([heading, str(error)]), problems=error.problems)
    except StoreError as error:
        module.fail_json(msg=str(error), error=type(error).__name__)
    except DirectoryError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


def _loaded(text: str, variable: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise InvalidInput([f"{variable}: is not JSON; pass the list through the filter to_json"]) from None


def _policy(options: Options) -> Policy:
    return Policy(
        managed_by=options["managed_by"],
        now=int(time.time()),
        adopt=options["adopt"],
        always=options.get("update_password") == "always",
    )


def _reconciled(module: Module, declare: Declare, policy: Policy) -> dict[str, Any]:
    options = module.params
    plan = reconcile(
        options["path"],
        declare,
        policy,
        scheme=options.get("password_scheme", "ARGON2ID"),
        dry_run=module.check_mode,
        migrate=options["migrate"],
    )
    published = False if module.check_mode else _publish(module, plan)
    result = {"changed": plan.changed or published, "published": published, **_described(plan)}
    if module._diff:
        result["diff"] = diff(plan, options["path"])
    return result


def _described(plan: Plan) -> dict[str, Any]:
    listed: list[dict[str, str]] = []
    count = 0
    for change in changes(plan):
        count += 1
        if count <= SHOWN_CHANGES:
            listed.append({"type": change.type, "name": change.name, "action": change.action})
    return {"changes": listed, "changes_omitted": count - len(listed), "summary": summary(plan)}


def _publish(module: Module, plan: Plan) -> bool:
    """Start the publishing service when there is something to publish, and tell whether it published."""
    options = module.params
    folder, path, unit = options["published_folder"], options["path"], options["publish_unit"]
    before = read_state(folder)
    if before.get("counter") == change_counter(path) or not _has_unit(module, unit):
        return False
    for _attempt in range(PUBLISH_ATTEMPTS):
        code, _out, _err = module.run_command(["systemctl", "start", unit])
        if code:
            said = module.run_command(["journalctl", f"--unit={unit}", "--lines=5", "--output=cat", "--no-pager"])[1]
            changed = "the directory was changed" if plan.changed else "the directory is unchanged"
            module.fail_json(msg=f"{changed}, but {unit} could not publish it:\n{said}", changed=plan.changed)
        after = read_state(folder)
        if after.get("counter") == change_counter(path):
            break
    return before.get("stamp") != after.get("stamp")


def _has_unit(module: Module, unit: str) -> bool:
    if not os.path.isdir("/run/systemd/system"):
        return False
    _code, out, _err = module.run_command(["systemctl", "show", "--property=LoadState", "--value", unit])
    return out.strip() == "loaded"
