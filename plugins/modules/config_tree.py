#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: config_tree
short_description: Bring the whole configuration of a daemon to a host, or leave it as it was
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Writes all configuration files of one daemon in one task. The new files are staged and checked where nobody sees
    them, then swapped in; the daemon is told to reload and has to answer. Otherwise the old files return and the task
    fails with what the daemon said.
  - The staged files appear at their real paths in a private mount namespace, in which the programs of O(check) run.
  - A run that was interrupted after the swap began is finished by the next one, which reports a change.
  - Files that an earlier run wrote and that are no longer listed are removed after the reload, which is then repeated.
    Nothing else is ever removed.
  - Sees to it that the daemon runs, now and at boot.
  - A symbolic link at a listed path is replaced by a file, its target is left alone. A path below a linked folder is
    refused.
requirements:
  - Linux, and the right to mount in a namespace of its own (root on a host, C(CAP_SYS_ADMIN) in a container) when
    there is a O(check).
options:
  name:
    description:
      - The name of the tree, usually that of the daemon. What the module remembers is below
        C(/var/lib/postoffice/config_tree/) under this name.
    type: str
    required: true
  files:
    description:
      - A JSON text, a list of objects, one per path. Pass a list through the filter P(ansible.builtin.to_json#filter).
      - C(path) is the absolute path. It must not lead through symbolic links.
      - C(content) is the text of the file; it is left out when the path is listed in O(secrets), and for directories.
      - C(state) is V(file), the default, or V(directory).
      - C(owner) and C(group) are names, V(root) by default.
      - C(mode) is text in octal digits, V("0644") for files and V("0755") for directories by default. Numbers are
        refused, because YAML reads an unquoted 0644 as 420.
      - C(restart), when V(true), makes a change of this file run O(restart) instead of O(reload).
      - C(last), when V(true), has this file swapped after all others; meant for what a daemon rereads at every
        process start.
      - Missing parent directories are created as V(root:root) with mode V(0755).
    type: json
    required: true
  secrets:
    description:
      - A JSON text, an object of path and content for the files that hold secrets. Each path must be among O(files).
      - Their content is in no log, diff or return value, and it is masked in what daemons say.
    type: json
    default: '{}'
  watch:
    description:
      - Files of others, such as certificates, that the daemon has read. When one of them is not what it was at the
        last reload, the task checks, reloads and probes, and reports a change. They need not exist.
    type: list
    elements: str
    default: []
  watch_restart:
    description:
      - Like O(watch), for what needs O(restart).
    type: list
    elements: str
    default: []
  watch_foreseen:
    description:
      - Those of O(watch) and O(watch_restart) that an earlier task of the same run has changed.
      - In check mode that task left them as they were, and they count as changed here; otherwise only what is on the
        host counts.
    type: list
    elements: str
    default: []
  missing_packages:
    description:
      - Packages that an earlier task of a real run installs first. In check mode, while there are any, a failed O(check)
        is a warning.
    type: list
    elements: str
    default: []
  check:
    description:
      - Programs that judge the staged files, each a list of the program and its arguments, run without a shell.
      - The first that does not exit with status 0 fails the task before anything is changed. A program may be one
        of O(files).
      - In check mode a failure is a warning where an earlier task of a real run may have made the difference, that is,
        when the tree was never deployed, a user, group or watched file is missing, there are O(missing_packages), or
        the status is 127 (a program is not there).
    type: list
    elements: list
    default: []
  reload:
    description:
      - The program, with its arguments, that makes the daemon read its files.
      - After changes below C(/etc/systemd/system) C(systemctl daemon-reload) runs before it.
    type: list
    elements: str
    default: []
  restart:
    description:
      - The program, with its arguments, for changes that need a restart. O(reload) when empty.
    type: list
    elements: str
    default: []
  units:
    description:
      - Units of systemd, with their endings, that are to run, now and at boot. Those that were found disabled or
        stopped are enabled and started once the files are in place; when nothing but that was to do, the daemon then
        has to answer O(probe).
    type: list
    elements: str
    default: []
  probe:
    description:
      - The program, with its arguments, that exits with status 0 when the daemon answers. It is repeated until
        O(probe_timeout); after a reload once more half a second after its success, because many daemons reload a
        little later than they say. Not so when all units that O(reload), O(restart) and O(units) name with their ending
        C(.service) were stopped before.
    type: list
    elements: str
    default: []
  probe_timeout:
    description:
      - How many seconds the daemon has to answer.
    type: int
    default: 20
  age:
    description:
      - How many seconds ago the new files say that they were modified.
      - For daemons that wait until a file is some seconds old, because somebody could still be writing it. These files
        are complete from their first moment on.
    type: int
    default: 0
attributes:
  check_mode:
    support: full
    description:
      - Can run in check_mode and return changed status prediction without modifying target. Runs the O(check) too.
  diff_mode:
    support: full
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
  platform:
    support: full
    platforms: linux
    description: Target OS that can be operated against.
"""

EXAMPLES = r"""
- name: Configure the daemon
  postoffice.mail.config_tree:
    name: example
    files: "{{ files | to_json }}"
    secrets: "{{ {'/etc/example/password': example_password} | to_json }}"
    watch:
      - /etc/postoffice/tls/fullchain.pem
    check:
      - [/usr/sbin/exampled, --check]
    reload: [systemctl, reload-or-restart, example.service]
    restart: [systemctl, restart, example.service]
    units: [example.service]
    probe: [/usr/bin/example-client, ping]
  vars:
    files:
      - path: /etc/example/example.conf
        content: "{{ lookup('ansible.builtin.template', 'etc/example/example.conf.j2') }}"
        last: true
      - path: /etc/example/password
        owner: example
        group: example
        mode: "0400"
      - path: /etc/systemd/system/example.service.d/hardening.conf
        content: "{{ lookup('ansible.builtin.template', 'etc/systemd/system/example.service.d/hardening.conf.j2') }}"
        restart: true
"""

RETURN = r"""
files:
  description: The paths that were changed, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The path.
      type: str
    action:
      description: V(created), V(changed), V(attributes) when only owner, group or mode differed, or V(removed).
      type: str
  sample:
    - path: /etc/example/example.conf
      action: changed
pending:
  description: Whether this run finished what an interrupted one had begun.
  returned: success
  type: bool
  sample: false
diff:
  description: One prepared text per path, and per unit that is enabled or started. Secret files show that they changed, never their content.
  returned: success
  type: list
  elements: dict
  contains:
    prepared:
      description: The text.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.glue import ARGUMENT_SPEC, run_module


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    run_module(module)


if __name__ == "__main__":
    main()
