# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison with the DNS, and its change, as a module: its options, and what it returns."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ..zone_text import TYPES, absolute, split_text
from . import servers
from .judge import MISSING, PRESENT, WRONG
from .report import UNKNOWN, assess, key_of

# Everything else of a record is for people.
REQUIRED = ("name", "type", "value")

ARGUMENT_SPEC: dict[str, Any] = {
    "records": {"type": "json", "required": True},
    "state": {"type": "str", "choices": ["checked", "present"], "default": "checked"},
    "ttl": {"type": "int", "default": 3600},
    "server": {"type": "str", "default": ""},
    "port": {"type": "int", "default": 53},
    "key_name": {"type": "str", "default": "", "no_log": False},
    "key_secret": {"type": "str", "default": "", "no_log": True},
    "key_algorithm": {"type": "str", "default": "hmac-sha256", "no_log": False},
}


class InputError(Exception):
    """What is wrong with the records, a line for each problem."""


def run_module(module: AnsibleModule) -> None:
    if servers.NO_LIBRARY:
        module.fail_json(msg=f"{missing_required_lib('dnspython')} On Debian that is python3-dnspython.")
    try:
        records = read_records(module.params["records"])
    except InputError as error:
        module.fail_json(msg=str(error))
    found = servers.Servers()
    states = assess(records, found.ask_all(map(key_of, records)))
    if module.params["state"] == "checked":
        module.exit_json(changed=False, **result(states))
    publish(module, found, states)


def publish(module: AnsibleModule, found: servers.Servers, states: Sequence[Mapping[str, Any]]) -> None:
    """Send what is not there to the zones' servers, each zone as one; then look whether it is there."""
    params = module.params
    if not params["key_name"] or not params["key_secret"]:
        module.fail_json(msg="key_name, key_secret: both are needed for an update; nobody takes one that is not signed")
    try:
        base64.b64decode(params["key_secret"], validate=True)
    except ValueError:
        module.fail_json(msg="key_secret: is not in base64")
    key = servers.Key(params["key_name"], params["key_secret"], params["key_algorithm"])
    due = [record for record in states if record["state"] in (MISSING, WRONG) and record["type"] != "PTR"]
    zones: dict[servers.Zone, list[Mapping[str, Any]]] = {}
    for record in due:
        zones.setdefault(found.zone_of(record["name"]), []).append(record)
    problems: list[str] = []
    for zone, changes in {} if module.check_mode else zones.items():
        try:
            send(found, zone, changes, params, key)
        except servers.ServerError as error:
            problems.append(str(error))
    diff = {"before": "".join(lines(due, "others")), "after": "".join(lines(due, "value"))}
    if problems:
        module.fail_json(msg="\n".join(problems), changed=len(problems) < len(zones), diff=diff)
    module.exit_json(changed=bool(due), diff=diff, **result(states if module.check_mode else settled(states, due)))


def send(
    found: servers.Servers,
    zone: servers.Zone,
    changes: Sequence[Mapping[str, Any]],
    params: Mapping[str, Any],
    key: servers.Key,
) -> None:
    """Update a zone at the server that takes updates, and ask that one whether it has it now."""
    name = params["server"] or zone.primary
    address = name if is_address(name) else next(iter(found.addresses(name)), "")
    if not address:
        raise servers.ServerError(f"{name} has no address; say by server who takes updates of {zone.name}")
    wanted = []
    for record in changes:
        there = servers.existing(address, record["name"], record["type"], params["port"]) if record["others"] else []
        go = tuple(data for value, data in there if value in record["others"])
        wanted.append(servers.Change(record["name"], record["type"], params["ttl"], record["value"], go))
    servers.update(zone.name, wanted, key, address, params["port"])
    for record in changes:
        said = servers.said(name, [address], record["name"], record["type"], params["port"])
        (now,) = assess([record], {key_of(record): said})
        if now["state"] != PRESENT:
            raise servers.ServerError(
                f"{name} took the update, but {record['name']} {record['type']} is {now['state']}"
            )


def is_address(text: str) -> bool:
    return ":" in text or text.replace(".", "").isdecimal()


def settled(states: Sequence[Mapping[str, Any]], due: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records after the update, which the server that took it was asked about."""
    return [{**each, "state": PRESENT, "others": [], "notes": []} if each in due else dict(each) for each in states]


def lines(records: Iterable[Mapping[str, Any]], field: str) -> list[str]:
    return [
        f"{record['name']}. {record['type']} {value}\n"
        for record in records
        for value in (record[field] if isinstance(record[field], list) else [record[field]])
    ]


def result(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is returned of the records."""
    kinds = (MISSING, WRONG, UNKNOWN)
    return {"records": list(states), "counts": {kind: sum(each["state"] == kind for each in states) for kind in kinds}}


def read_records(text: str) -> list[dict[str, Any]]:
    """Read the records from their JSON text; InputError says where each mistake is."""
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise InputError(f"records: is not JSON: {error}") from None
    if not isinstance(entries, list):
        raise InputError("records: is not a list")
    problems = [f"records[{n}]{problem}" for n, entry in enumerate(entries) for problem in mistakes(entry)]
    if problems:
        raise InputError("\n".join(problems))
    return [{"domain": "", "purpose": "", **entry} for entry in entries]


def mistakes(entry: object) -> list[str]:
    if not isinstance(entry, Mapping):
        return [": is not a mapping of name, type and value"]
    problems = [f".{field}: is missing, or no text" for field in REQUIRED if not isinstance(entry.get(field), str)]
    if not problems:
        if entry["type"] not in TYPES:
            problems.append(f".type: {entry['type']!r} is none of {', '.join(TYPES)}")
        for field, reader in {"name": absolute, "value": split_text}.items():
            try:
                reader(entry[field])
            except ValueError as error:
                problems.append(f".{field}: {error}")
    return problems
