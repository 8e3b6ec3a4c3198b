# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what every task did as a line of JSON to the file that POSTOFFICE_EVENTS names."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: events
type: notification
short_description: Writes what every task did as a line of JSON
description:
  - Each line has the role, the task, its host, whether it was skipped, changed or failed, its diff, and its seconds.
  - The file is named by the environment variable E(POSTOFFICE_EVENTS).
"""

KEPT = ("changed", "diff", "skipped", "failed", "unreachable", "msg", "missing", "accounts", "warnings")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "events"

    def __init__(self) -> None:
        super().__init__()
        self.started: dict[Any, float] = {}

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self.started[host.name, task._uuid] = time.monotonic()

    def record(self, outcome: Any, **more: bool) -> None:
        task, host, result = outcome.task, outcome.host.name, outcome.result
        event = {name: result[name] for name in KEPT if name in result}
        event |= {
            "role": task._role.get_name(include_role_fqcn=False) if task._role else "",
            "task": task.get_name(include_role_fqcn=False).rpartition(" : ")[2],
            "action": task.action,
            "host": host,
            "seconds": time.monotonic() - self.started[host, task._uuid],
            **more,
        }
        with open(os.environ["POSTOFFICE_EVENTS"], "a", encoding="utf-8") as sink:
            sink.write(json.dumps(event, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        self.record(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self.record(result, skipped=True)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self.record(result, failed=True)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self.record(result, unreachable=True)
