#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_identity
short_description: Set the name and the time zone of a host
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Sets the host name, now and for the next boot, gives it an address in C(/etc/hosts), and sets the time zone.
options:
  hostname:
    description: The fully qualified name of the host.
    type: str
    required: true
  timezone:
    description: The time zone, for example C(Europe/Berlin). Empty leaves it as it is.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Reports what would be set.
  diff_mode:
    support: full
    description: Shows names, time zone and C(/etc/hosts).
  platform:
    support: full
    platforms: debian
    description: Hosts with systemd.
"""

EXAMPLES = r"""
- name: Set the host name and the time zone
  postoffice.mail.host_identity:
    hostname: mail.example.org
    timezone: Europe/Berlin
"""

RETURN = r"""
hostname:
  description: The name that the host had before.
  returned: always
  type: str
  sample: localhost
"""

import socket
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.host_identity import ZONES, hosts_with, zone_of

FILES = {"hostname": Path("/etc/hostname"), "hosts": Path("/etc/hosts")}
LOCALTIME = Path("/etc/localtime")


def main() -> None:
    module = AnsibleModule(
        argument_spec={"hostname": {"type": "str", "required": True}, "timezone": {"type": "str", "default": ""}},
        supports_check_mode=True,
    )
    name, zone = module.params["hostname"], module.params["timezone"]
    before = {key: path.read_text(encoding="utf-8") if path.exists() else "" for key, path in FILES.items()}
    before |= {
        "name": socket.gethostname(),
        "timezone": zone_of(str(LOCALTIME.readlink())) if LOCALTIME.is_symlink() else "",
    }
    after = {"hostname": f"{name}\n", "hosts": hosts_with(before["hosts"], name), "name": name}
    after["timezone"] = zone or before["timezone"]
    changed = [key for key in before if before[key] != after[key]]
    if "timezone" in changed and not module.check_mode and not Path(ZONES, zone).is_file():
        module.fail_json(msg=f"timezone: {zone} is not among the zones below {ZONES}")
    if not module.check_mode:
        apply(module, {key: after[key] for key in changed})
    module.exit_json(
        changed=bool(changed),
        hostname=before["name"],
        diff=[diff_of(str(FILES.get(key, key)), before[key], after[key]) for key in changed],
    )


def apply(module: AnsibleModule, values: dict[str, str]) -> None:
    for key in FILES.keys() & values.keys():
        with tempfile.TemporaryDirectory(dir=FILES[key].parent) as folder:
            new = Path(folder, key)
            new.write_text(values[key], encoding="utf-8")
            # Containers have these files mounted: they cannot be replaced by a rename there.
            module.atomic_move(str(new), str(FILES[key]), unsafe_writes=True)
        FILES[key].chmod(0o644)
    if "name" in values:
        socket.sethostname(values["name"])
    if "timezone" in values:
        module.run_command(["ln", "-snf", ZONES + values["timezone"], str(LOCALTIME)], check_rc=True)


def diff_of(header: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": header, "after_header": header, "before": ended(before), "after": ended(after)}


def ended(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"


if __name__ == "__main__":
    main()
