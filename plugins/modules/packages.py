#!/usr/bin/python
# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Install packages without starting their daemons, and create system accounts
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Installs what is missing by one call of C(apt-get), without recommended packages, and says in which versions it is there.
  - Nothing that comes with a package is started before it is configured, so that no daemon can be reached with the
    configuration of its package. Units that were active before, and those of O(start), are left to their packages.
    This is done by a C(policy-rc.d) that says no only while the installation lasts, also when that is killed.
  - Needs no python3-apt, so that it works on a bare host, also in check mode.
  - Then creates the system users and groups that are missing, by one call of C(systemd-sysusers).
  - What an earlier task of the same run saw on a host, it is not asked for again; so one task that names all packages of
    a host makes those of its roles cheap.
  - Reads the package lists again when a package is not in them, or cannot be downloaded; finishes an interrupted C(dpkg).
options:
  names:
    description:
      - The names of the packages; none when only accounts are wanted.
      - An element can be alternatives as in C(debian/control), for example C(systemd-timesyncd | chrony). When none
        of them is installed, the first that can be had is.
    type: list
    elements: str
    default: []
  accounts:
    description:
      - System users and groups, each a line as in C(sysusers.d), of the types C(u) and C(g). Those that exist stay as they are.
      - They are created after the packages, which may bring them.
    type: list
    elements: str
    default: []
  debconf:
    description:
      - Answers to what packages ask when they are installed, each a line as in C(debconf-set-selections). Only those of packages that are missing count.
    type: list
    elements: str
    default: []
  start:
    description: Names of units that may be started by their packages.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Reports what would be installed and created. What a missing package would bring counts as created.
  diff_mode:
    support: full
    description: Lists the packages and accounts that are missing.
  platform:
    support: full
    platforms: debian
    description: Hosts with dpkg, apt and systemd.
"""

EXAMPLES = r"""
- name: Install the packages
  postoffice.mail.packages:
    names:
      - postfix
      - postfix-pcre
      - dovecot-flatcurve | dovecot-fts-xapian
    debconf:
      - postfix postfix/main_mailer_type select No configuration
    accounts:
      - u postoffice-lookup - "Post Office lookups" /nonexistent /usr/sbin/nologin
"""

RETURN = r"""
versions:
  description: >-
    The upstream version of each package, without epoch and revision. Of what is not installed it is, in check mode, the
    version that would be installed, else an empty string.
  returned: always
  type: dict
  sample: {"postfix": "3.10.13", "postfix-pcre": "3.10.13"}
missing:
  description: The names of the packages that were installed or, in check mode, would be.
  returned: always
  type: list
  elements: str
  sample: ["postfix-pcre"]
accounts:
  description: The users and groups that were created or, in check mode, would be.
  returned: always
  type: list
  elements: str
  sample: ["group vmail", "user vmail"]
"""

import grp
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.accounts import Accounts, InvalidAccount, local_names, parse_accounts
from ..module_utils.packages import DEBCONF, UPDATE, InstallationError, Run, install, preseed, read_packages
from ..module_utils.policy_rc_d import only_starting

ENVIRONMENT = {
    "APT_LISTCHANGES_FRONTEND": "none",
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "LC_ALL": "C.UTF-8",
    "NEEDRESTART_SUSPEND": "1",
}
SYSUSERS = ["systemd-sysusers", "--inline"]
ACTIVE_UNITS = ["systemctl", "list-units", "--state=active", "--plain", "--no-legend"]


def main() -> None:
    elements = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec=dict.fromkeys(("names", "accounts", "debconf", "start"), elements), supports_check_mode=True
    )
    run = runner(module)
    try:
        accounts = parse_accounts(module.params["accounts"])
        packages = read_packages(module.params["names"], run)
        if packages.unknown and not module.check_mode:
            run(UPDATE)
            packages = read_packages(module.params["names"], run)
        missing = packages.missing
        lines = [f"package {name} {packages.versions[name]}" for name in missing]
        if missing and not module.check_mode:
            install_missing(module, missing)
            packages = read_packages(module.params["names"], run)
        created = lacking(accounts).described
        if created and not module.check_mode:
            create(module, accounts)
    except (InvalidAccount, InstallationError) as error:
        module.fail_json(msg=str(error))
    after = "".join(f"{line}\n" for line in [*lines, *created])
    module.exit_json(
        changed=bool(after),
        versions=packages.versions,
        missing=missing,
        accounts=created,
        # For the controller's half.
        installed=not module.check_mode,
        users=local_names(Path("/etc/passwd").read_text(encoding="utf-8", errors="surrogateescape")),
        groups=local_names(Path("/etc/group").read_text(encoding="utf-8", errors="surrogateescape")),
        **(
            {"diff": {"before": "", "after": after, "before_header": "packages", "after_header": "packages"}}
            if after
            else {}
        ),
    )


def install_missing(module: AnsibleModule, missing: list[str]) -> None:
    """Or raise InstallationError."""
    with only_starting(lambda: [*module.params["start"], *active_units(runner(module))]) as lock:
        preseed(module.params["debconf"], missing, lambda text: said(module, DEBCONF, data=text))
        install(missing, runner(module, lock))


def create(module: AnsibleModule, accounts: Accounts) -> None:
    """Create those that are missing, or raise InstallationError."""
    status, output = said(module, [*SYSUSERS, *module.params["accounts"]])
    still = lacking(accounts).described
    if status or still:
        raise InstallationError(f"systemd-sysusers did not create {', '.join(still) or 'all'}:\n{output.strip()}")


def lacking(accounts: Accounts) -> Accounts:
    return accounts.without(lambda name: exists(pwd.getpwnam, name), lambda name: exists(grp.getgrnam, name))


def exists(read: Callable[[str], object], name: str) -> bool:
    try:
        read(name)
    except KeyError:
        return False
    return True


def runner(module: AnsibleModule, *inherited: int) -> Run:
    return lambda argv: said(module, argv, pass_fds=inherited)


def said(module: AnsibleModule, argv: list[str], **more: Any) -> tuple[int, str]:
    status, output, errors = module.run_command(argv, environ_update=ENVIRONMENT, **more)
    return status, output + errors


def active_units(run: Run) -> list[str]:
    return [line.split()[0] for line in run(ACTIVE_UNITS)[1].splitlines() if line.strip()]


if __name__ == "__main__":
    main()
