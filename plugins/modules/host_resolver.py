#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_resolver
short_description: Have a host ask a resolver of its own, once that finds names
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Asks the resolver first, by the program of O(probe). Only when it finds names, C(/etc/resolv.conf) is replaced, so that a host
    never loses its name resolution to a resolver that does not work. Otherwise there is a warning, and the host asks whom it asked before.
  - No other nameserver stays in the file. A second one would be asked whenever the first refuses an answer that is not genuine.
  - DHCP clients and NetworkManager are told to leave the file alone. Links, such as that of systemd-resolved, are replaced.
  - What was there before is kept, and comes back with O(state=absent).
options:
  nameserver:
    description: The address of the resolver.
    type: str
    required: true
  probe:
    description:
      - The program, with its arguments, that exits with status 0 when the resolver finds names.
      - It is repeated until O(timeout).
    type: list
    elements: str
    required: true
  timeout:
    description: For how many seconds the probe is repeated.
    type: int
    default: 10
  foreseen:
    description:
      - In check mode, whether an earlier task of a real run would have set the resolver up. Then it counts as one that works.
    type: bool
    default: false
  state:
    description: V(absent) has the host ask whom it asked before.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: Asks the resolver, and changes nothing.
  diff_mode:
    support: full
    description: Shows the files that are written.
  platform:
    support: full
    platforms: debian
    description: Hosts whose C library reads C(/etc/resolv.conf).
"""

EXAMPLES = r"""
- name: Have the host ask its own resolver
  postoffice.mail.host_resolver:
    nameserver: 127.0.0.1
    probe: [/usr/local/lib/postoffice/probe-unbound, 127.0.0.1, "."]
"""

RETURN = r"""
asked:
  description: Whether the host asks the resolver now, in check mode whether it would.
  returned: always
  type: bool
  sample: true
"""

import os
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.host_resolver import RESOLV_CONF, File, Plan, is_mounted, restore, switch

NETWORK_MANAGER = ["systemctl", "try-reload-or-restart", "NetworkManager.service"]
PAUSE = 0.5  # seconds between two probes


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "nameserver": {"type": "str", "required": True},
            "probe": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "int", "default": 10},
            "foreseen": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    current, wanted = read(RESOLV_CONF), module.params["state"] == "present"
    trouble = complaint(module) if wanted else ""
    if trouble:
        rest = "it goes on asking that resolver" if current.ours else "it goes on asking whom it asked before"
        module.warn(f"The host's own resolver finds no names; {rest}. {trouble}")
        module.exit_json(changed=False, asked=current.ours, diff=[])
    plan = switch(module.params["nameserver"], current, read) if wanted else restore(current, read)
    for warning in plan.warnings:
        module.warn(warning)
    diff = [difference(path, text, plan) for path, text in plan.files.items()]
    if not module.check_mode:
        apply(module, plan)
    module.exit_json(changed=bool(plan.files), asked=wanted, diff=diff)


def complaint(module: AnsibleModule) -> str:
    """Why the resolver cannot be relied on, or an empty string."""
    if module.check_mode and module.params["foreseen"]:
        return ""
    deadline = time.monotonic() + module.params["timeout"]
    while True:
        status, output, error = module.run_command(module.params["probe"])
        if status == 0 or time.monotonic() > deadline:
            return "" if status == 0 else (output + error).strip() or f"the probe ended with {status}"
        time.sleep(PAUSE)


def read(path: str) -> File:
    """What there is at a path; the text of a folder is empty."""
    there = Path(path)
    link = str(there.readlink()) if there.is_symlink() else ""
    if there.is_dir():
        return File("", link)
    return File(there.read_text(encoding="utf-8", errors="replace") if there.exists() else None, link)


def apply(module: AnsibleModule, plan: Plan) -> None:
    """The hooks first, so that nobody writes the file behind our back."""
    for path, text in sorted(plan.files.items(), key=lambda each: each[0] == RESOLV_CONF):
        target = Path(path)
        if path == RESOLV_CONF and plan.link:
            target.unlink(missing_ok=True)
            target.symlink_to(plan.link)
        elif text is None:
            target.unlink(missing_ok=True)
        else:
            write(target, text)
    if any("NetworkManager" in path for path in plan.files):
        module.run_command(NETWORK_MANAGER, check_rc=True)


def write(target: Path, text: str) -> None:
    if is_mounted(Path("/proc/self/mountinfo").read_text(encoding="utf-8"), str(target)):
        target.write_text(text, encoding="utf-8")  # what is mounted cannot be replaced by a rename
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.postoffice")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.chmod(0o644)
    new.replace(target)


def difference(path: str, text: str | None, plan: Plan) -> dict[str, str]:
    before = read(path)
    after = f"link to {plan.link}\n" if path == RESOLV_CONF and plan.link else text or ""
    shown = f"link to {before.link}\n" if before.link else before.text or ""
    return {"before_header": path, "after_header": path, "before": shown, "after": after}


if __name__ == "__main__":
    main()
