#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Look at inventory and host before anything is touched
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - On the controller, holds the variables against the argument specs of all roles at once, refuses misspelt variables
    that have a role's prefix, and validates the domains, mailboxes and aliases.
  - On the host, checks the release, the name and its resolution, memory, disk space, ports and the clock.
  - Changes nothing. All that is wrong is reported at once.
options:
  roles_path:
    description: The folder of the roles, on the controller, whose argument specs the variables are held against.
    type: path
    required: true
  hostname:
    description: The fully qualified name of the mail server.
    type: str
    required: true
  domains:
    description:
      - The structure of domains, mailboxes and aliases, as JSON.
      - Validated on the controller and not sent to the host.
    type: json
  ignored_variables:
    description: Variables with a role's prefix that belong to something else.
    type: list
    elements: str
    default: []
  releases:
    description: The releases that are supported, as ID and VERSION_ID of os-release(5). An empty list accepts any.
    type: list
    elements: str
    default: [debian 12, debian 13]
  ports:
    description: The TCP ports that must be free or in use by O(services).
    type: list
    elements: int
    default: []
  services:
    description: The names of the processes that may hold O(ports).
    type: list
    elements: str
    default: []
  memory:
    description: The least memory, in MiB.
    type: int
    default: 0
  memory_of_roles:
    description:
      - What roles need beside O(memory), in MiB, by the names of the roles.
      - Where the host has less, the error names the variables of the role by which one does without it, or tries it anyway.
    type: dict
    default: {}
  disk:
    description: The least free space below C(/var), in MiB.
    type: int
    default: 0
  clock_skew:
    description: How far the clocks of host and controller may be apart, in seconds.
    type: int
    default: 60
  now:
    description: The controller's time in seconds since 1970. Set by the action itself.
    type: float
attributes:
  action:
    support: full
    description: Reads the variables on the controller.
  check_mode:
    support: full
    description: Does the same as always.
  diff_mode:
    support: none
    description: Nothing is ever changed.
  platform:
    support: full
    platforms: debian
    description: The hosts that the roles support.
"""

EXAMPLES = r"""
- name: Look before anything is touched
  postoffice.mail.preflight:
    roles_path: "{{ role_path | dirname }}"
    hostname: mail.example.org
    domains: "{{ mail_domains | to_json }}"
    ports: [25, 465, 587, 143, 993, 4190]
    services: [master, dovecot]
    memory: 512
"""

RETURN = r"""
findings:
  description: What is wrong, a line each.
  returned: failure
  type: list
  elements: str
  sample: ["port 25: nginx listens there; stop it or choose another host"]
"""

import shutil
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.preflight.host import Wanted, judge, read_host


def main() -> None:
    numbers = {"memory": 0, "disk": 0, "clock_skew": 60}
    module = AnsibleModule(
        argument_spec={
            "roles_path": {"type": "path", "required": True},
            "hostname": {"type": "str", "required": True},
            "domains": {"type": "json", "no_log": True},
            "ignored_variables": {"type": "list", "elements": "str", "default": []},
            "releases": {"type": "list", "elements": "str", "default": ["debian 12", "debian 13"]},
            "ports": {"type": "list", "elements": "int", "default": []},
            "services": {"type": "list", "elements": "str", "default": []},
            "now": {"type": "float"},
            "memory_of_roles": {"type": "dict", "default": {}},
            **{name: {"type": "int", "default": default} for name, default in numbers.items()},
        },
        supports_check_mode=True,
    )
    clock = time.time()
    given = {
        name: module.params[name] for name in ("hostname", "releases", "ports", "services", "memory_of_roles", *numbers)
    }
    wanted = Wanted(now=clock if module.params["now"] is None else module.params["now"], **given)
    host = read_host(
        wanted,
        run=lambda argv: module.run_command(argv)[1],
        free=lambda path: shutil.disk_usage(path).free,
        clock=clock,
    )
    findings = judge(host, wanted)
    for warning in findings.warnings:
        module.warn(warning)
    if findings.errors:
        module.fail_json(
            msg="\n".join(["This host cannot become a mail server yet:", *findings.errors]), findings=findings.errors
        )
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
