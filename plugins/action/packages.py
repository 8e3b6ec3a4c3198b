# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of M(postoffice.mail.packages): it remembers for the rest of a run what the host has."""

from __future__ import annotations

import uuid
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.accounts import InvalidAccount, parse_accounts
from ..module_utils.seen import Seen

FACT = "postoffice_installed"
OPTIONS = {"names", "accounts", "debconf", "start"}
# Of this run: the strategy loads this file before it forks the processes that carry out tasks. Where it does not,
# each has another, and the host is asked again each time.
RUN = uuid.uuid4().hex


class ActionModule(ActionBase):
    """Answers from what an earlier task of the same run saw, else runs the module of the same name on the host."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        host = str(variables.get("inventory_hostname", ""))
        # The facts of a delegated task would be those of another host.
        own = not self._task.delegate_to and not self._task.run_once
        seen = Seen.of_fact(variables.get("ansible_facts", {}).get(FACT), RUN, host) if own else Seen()
        known = self._known(seen)
        if known is not None:
            return {**result, "changed": False, "versions": known, "missing": [], "accounts": []}
        answer = self._execute_module(task_vars=variables)
        if own and not answer.get("failed") and "versions" in answer:
            answer["ansible_facts"] = {FACT: seen.after(answer).fact(RUN, host)}
        for name in ("users", "groups", "installed"):
            answer.pop(name, None)
        return {**result, **answer}

    def _known(self, seen: Seen) -> dict[str, str] | None:
        """What the arguments ask for, where it was seen; what is wrong with them the module says."""
        arguments = self._task.args
        names, lines = arguments.get("names") or [], arguments.get("accounts") or []
        if not (set(arguments) <= OPTIONS and isinstance(names, list) and isinstance(lines, list)):
            return None
        try:
            return seen.versions_of(names, parse_accounts(lines))
        except InvalidAccount:
            return None
