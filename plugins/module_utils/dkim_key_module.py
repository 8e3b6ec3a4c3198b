# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The library of DKIM keys as a module: its options, and what it returns."""

from __future__ import annotations

import grp
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .dkim_key import Attributes, DkimKeyError, Store, lines, read_keys, record, settle

ARGUMENT_SPEC: dict[str, Any] = {
    "path": {"type": "path", "default": "/etc/postoffice/dkim"},
    "group": {"type": "str", "default": "root"},
    # Names of keys, no secret.
    "keys": {"type": "json", "required": True, "no_log": False},
}


def run_module(module: AnsibleModule) -> None:
    folder = Path(module.params["path"])

    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        program = module.get_bin_path(argv[0])
        if program is None:
            raise DkimKeyError([f"{argv[0]} is not there, which makes and reads the keys; install the package openssl"])
        status, output, error = module.run_command([program, *argv[1:]], umask=0o077)
        return status, output, error

    try:
        keys = read_keys(module.params["keys"])
        store = Store(folder, Attributes(0, group_id(module)), run)
        outcomes = settle(keys, store, change=not module.check_mode)
    except DkimKeyError as error:
        module.fail_json(msg=str(error), problems=error.problems)
    except OSError as error:
        module.fail_json(msg=f"{error.filename or folder}: {error.strerror or error}", problems=[str(error)])
    before, after = lines(outcomes)
    module.exit_json(
        changed=any(outcome.actions for outcome in outcomes),
        records=[record(outcome.key, outcome.public) for outcome in outcomes if outcome.public],
        made=[outcome.path for outcome in outcomes if "make" in outcome.actions],
        diff={"before": before, "after": after, "before_header": str(folder), "after_header": str(folder)},
    )


def group_id(module: AnsibleModule) -> int | None:
    """The group's number. In check mode an earlier task may still make it."""
    try:
        return grp.getgrnam(module.params["group"]).gr_gid
    except KeyError:
        if module.check_mode:
            return None
        raise DkimKeyError([f"group: there is no group {module.params['group']}"]) from None
