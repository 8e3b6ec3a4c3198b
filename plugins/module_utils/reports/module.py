# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reports in a mailbox as a module: its options, what it asks Dovecot, and what it returns."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .table import SHOWN_SOURCES, Collected, by_source, table

LARGEST_MESSAGE = "10M"
AT_ONCE = 100  # messages
ASKED_AT_ONCE = 16

ARGUMENT_SPEC: dict[str, Any] = {
    "mailbox": {"type": "str", "required": True},
    "folder": {"type": "str", "default": "INBOX"},
    "days": {"type": "int", "default": 30},
    "names": {"type": "bool", "default": True},
}


def run_module(module: AnsibleModule) -> None:
    params = module.params
    if params["days"] < 1:
        module.fail_json(msg=f"days: {params['days']} is no number of days to look back")
    collected = Collected()
    count = 0
    for raw in messages(module, params["mailbox"], params["folder"], params["days"]):
        collected.add(raw)
        count += 1
    sources = by_source(collected.dmarc.values())
    names = names_of(sorted(sources, key=lambda address: -sources[address].count)) if params["names"] else {}
    module.exit_json(changed=False, lines=table(collected, names), messages=count, unreadable=len(collected.unreadable))


def messages(module: AnsibleModule, mailbox: str, folder: str, days: int) -> Iterator[bytes]:
    """The messages that have come lately, some at a time."""
    lately = ("savedsince", f"{days}d", "smaller", LARGEST_MESSAGE)
    uids = [entry["uid"] for entry in fetched(module, mailbox, "uid", ("mailbox", folder, *lately))]
    for start in range(0, len(uids), AT_ONCE):
        some = ",".join(uids[start : start + AT_ONCE])
        for entry in fetched(module, mailbox, "text", ("mailbox", folder, "uid", some)):
            yield entry["text"].encode("utf-8", "surrogateescape")


def fetched(module: AnsibleModule, mailbox: str, field: str, query: Sequence[str]) -> list[dict[str, str]]:
    """What doveadm-fetch(1) says of messages."""
    doveadm = module.get_bin_path("doveadm", required=True)
    argv = [doveadm, "-f", "json", "fetch", "-u", mailbox, field, *query]
    status, output, error = module.run_command(argv, encoding="utf-8", errors="surrogateescape")
    if status:
        module.fail_json(msg=f"{mailbox}: cannot be read: {error.strip() or output.strip()}")
    try:
        entries: list[dict[str, str]] = json.loads(output or "[]", strict=False)
    except ValueError as problem:
        module.fail_json(msg=f"{mailbox}: what doveadm says of its messages cannot be read: {problem}")
    return entries


def names_of(addresses: Iterable[str]) -> dict[str, str]:
    """The names of the addresses that are shown, as far as they have any."""

    def name_of(address: str) -> str:
        try:
            return socket.gethostbyaddr(address)[0]
        except OSError:
            return ""

    shown = list(addresses)[:SHOWN_SOURCES]
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        return {address: name for address, name in zip(shown, pool.map(name_of, shown), strict=True) if name}
