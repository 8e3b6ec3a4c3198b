# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Between Ansible and the host's own program for certificates: what is due, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

UNIT = "postoffice-letsencrypt.service"
ARGUMENT_SPEC: dict[str, Any] = {
    "settings": {"type": "json", "required": True},
    "program": {"type": "path", "default": "/usr/local/lib/postoffice/postoffice-letsencrypt"},
}

Certificate = Mapping[str, Any]


def run_module(module: AnsibleModule) -> None:
    """Have the certificates issued, and end the module."""
    if module.check_mode and not Path(module.params["program"]).exists():
        # A real run installs it first. It has never asked for anything.
        expected = [expectation(each) for each in json.loads(module.params["settings"])["certificates"]]
        module.exit_json(changed=bool(expected), certificates=expected, diff=diff(expected))
    before = ask(module)
    due = [each for each in before if each["due"]]
    after = before
    if due and not module.check_mode:
        run(module, "retry")
        # Whether a certificate is issued is another question than whether the unit does well.
        module.run_command(["systemctl", "start", UNIT])
        after = ask(module)
    for each in after:
        for line in each["warnings"]:
            module.warn(line)
    issued = {each["name"] for each in after if not each["reason"]}
    changed = [each for each in due if module.check_mode or each["name"] in issued]
    module.exit_json(changed=bool(changed), certificates=after, diff=diff(changed))


def expectation(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be said of a certificate that nothing is known of yet."""
    names = list(wanted.get("names", ()))
    said = {"name": wanted["name"], "names": names, "due": True, "reason": "there is none from the authority"}
    return {**said, "warnings": [], "left_out": {}, "ends": None}


def ask(module: AnsibleModule) -> list[Certificate]:
    """What the program says of each certificate."""
    told: list[Certificate] = json.loads(run(module, "--settings", "-", "due", "--eager"))
    return told


def run(module: AnsibleModule, *arguments: str) -> str:
    argv = [module.params["program"], *arguments]
    status, output, error = module.run_command(argv, data=module.params["settings"])
    if status:
        module.fail_json(msg=f"{argv[0]}: {error.strip() or output.strip() or f'exit status {status}'}")
    return str(output)


def diff(certificates: Sequence[Certificate]) -> dict[str, str]:
    """A line for each certificate that is asked for."""
    after = "".join(f"{each['name']}: {', '.join(each['names'])}; {each['reason']}\n" for each in certificates)
    return {"before": "", "after": after, "before_header": "certificates", "after_header": "certificates"}
