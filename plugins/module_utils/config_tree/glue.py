# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Between Ansible and the library: the options in, the result out, and no secret in either direction."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .errors import ConfigTreeError
from .posix import PosixHost
from .request import parse_request
from .run import apply

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "files": {"type": "json", "required": True, "no_log": True},
    "secrets": {"type": "json", "default": "{}", "no_log": True},
    "watch": {"type": "list", "elements": "str", "default": []},
    "watch_restart": {"type": "list", "elements": "str", "default": []},
    "watch_foreseen": {"type": "list", "elements": "str", "default": []},
    "missing_packages": {"type": "list", "elements": "str", "default": []},
    "check": {"type": "list", "elements": "list", "default": []},
    "reload": {"type": "list", "elements": "str", "default": []},
    "restart": {"type": "list", "elements": "str", "default": []},
    "units": {"type": "list", "elements": "str", "default": []},
    "probe": {"type": "list", "elements": "str", "default": []},
    "probe_timeout": {"type": "int", "default": 20},
    "age": {"type": "int", "default": 0},
}

_NOT_SHOWN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


def run_module(module: AnsibleModule) -> None:
    """Apply the request and end the module."""
    options = dict(module.params)
    _hide_contents(module)
    try:
        request = parse_request(options)
        result = apply(request, PosixHost(), check_mode=module.check_mode)
    except ConfigTreeError as error:
        module.fail_json(msg=str(error))
    for warning in result.warnings:
        module.warn(warning)
    module.exit_json(
        changed=result.changed,
        pending=result.pending,
        files=list(result.files),
        diff=[{"prepared": text} for text in result.diff],
    )


def _hide_contents(module: AnsibleModule) -> None:
    """Take the contents out of what the module echoes.

    Ansible would mask every value that it finds in options marked no_log, wherever it occurs in the result: with the
    whole JSON text that masks nothing of use, with `{}` every pair of braces. The library masks the secrets itself.
    """
    for option in ("files", "secrets"):
        module.params[option] = _NOT_SHOWN
    module.no_log_values = set()
