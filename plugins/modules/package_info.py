#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: package_info
short_description: Read which packages are installed, and in which versions
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Asks C(dpkg-query) for packages, and C(apt-cache policy) for the versions of those that are not installed.
  - Needs no python3-apt, so that it works on a bare host, also in check mode.
  - Installs nothing. In check mode it reports missing packages as a change with a diff, in the place of the
    installation that cannot be rehearsed on a host without python3-apt.
options:
  names:
    description: The names of the packages.
    type: list
    elements: str
    required: true
  satisfied_by:
    description: Packages that do the work of one of O(names). It counts as installed when one of them is.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Reads the same as always; missing packages are reported as a change.
  diff_mode:
    support: full
    description: In check mode, lists the packages that are missing.
  platform:
    support: full
    platforms: debian
    description: Hosts with dpkg and apt.
"""

EXAMPLES = r"""
- name: Read the versions of the packages
  postoffice.mail.package_info:
    names: [postfix, postfix-sqlite]
  register: __postfix_packages

- name: Install the packages
  ansible.builtin.apt:
    name: "{{ __postfix_packages.missing }}"
  when: __postfix_packages.missing | length > 0 and not ansible_check_mode
"""

RETURN = r"""
versions:
  description: The upstream version of each package, installed or else the candidate, without epoch and revision.
  returned: always
  type: dict
  sample: {"postfix": "3.10.13", "postfix-sqlite": "3.10.13"}
installed:
  description: The upstream version of each installed package, an empty string for the others.
  returned: always
  type: dict
  sample: {"postfix": "3.10.13", "postfix-sqlite": ""}
missing:
  description: The names that are not installed.
  returned: always
  type: list
  elements: str
  sample: ["postfix-sqlite"]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.packages import read_packages


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "satisfied_by": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    # Both programs exit with an error when they do not know a name; what they print of the others is what counts.
    module.run_command_environ_update = {"LC_ALL": "C"}
    packages = read_packages(
        module.params["names"], lambda argv: module.run_command(argv)[1], module.params["satisfied_by"]
    )
    result = {"versions": packages.versions, "installed": packages.installed, "missing": packages.missing}
    lines = "".join(f"package {name} {packages.versions[name]}\n" for name in packages.missing)
    diff = {"before": "", "after": lines, "before_header": "packages", "after_header": "packages"}
    if module.check_mode and packages.missing:
        module.exit_json(changed=True, diff=diff, **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
