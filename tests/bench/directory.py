# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the directory costs with 1,000 to 100,000 mailboxes, beside the least that SQLite and Ansible can do.

The library's work, from the user's structure to the committed transaction and back to "nothing to do", is measured
beside one transaction that inserts the same rows, and one full read and compare. The whole `playbooks/mailboxes.yml` is
measured on a host beside a play that writes the same accounts to a passwd-file with one template. Run by
`make bench-directory`.
"""

from __future__ import annotations

import gc
import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.postoffice.mail.plugins.module_utils.directory.parse import parse
from ansible_collections.postoffice.mail.plugins.module_utils.directory.planning import Policy
from ansible_collections.postoffice.mail.plugins.module_utils.directory.reconcile import reconcile
from ansible_collections.postoffice.mail.tests.bench.report import Row, publish

CHECKOUT = Path(__file__).resolve().parents[2]
# How often each is measured: what takes milliseconds is disturbed by everything else that the machine does.
SIZES = {1_000: 25, 10_000: 9, 100_000: 5}
PLAYED = 10_000
REPEATS = 5
LIBRARY_BOUND = 3.0
PLAYBOOK_BOUND = 1.25
CONTROLLER_MEBIBYTES = 300.0
SCENARIO = "bench-directory"
HASH = "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$N0YopbRWCoGQUmoNQWhtzQ$awUj5jz6jY5YkDwoD8BWIg"
OWNER = Policy("inventory", 1_750_000_000)
COLUMNS = "address, password, display_name, quota, state, managed_by, removed_at"

TEMPLATE = """\
{% for domain in mail_domains %}
{% for mailbox in domain.mailboxes %}
{{ mailbox.name }}@{{ domain.name }}:{{ mailbox.password_hash }}::::::userdb_quota_rule=*:storage={{ mailbox.quota }}
{% endfor %}
{% endfor %}
"""
PLAIN = """\
- hosts: mail
  gather_facts: false
  tasks:
    - ansible.builtin.template:
        src: users.j2
        dest: /root/bench-users
        mode: "0600"
"""
PREPARE = """\
- hosts: mail
  gather_facts: false
  roles:
    - role: postoffice.mail.directory
"""


def structure(size: int) -> list[dict[str, Any]]:
    """A hundred mailboxes in each domain."""
    return [
        {
            "name": f"d{domain:04}.example.org",
            "mailboxes": [
                {"name": f"user{index:02}", "password_hash": HASH, "display_name": f"User {index}", "quota": "5G"}
                for index in range(100)
            ],
        }
        for domain in range(size // 100)
    ]


def rows(size: int) -> list[tuple[Any, ...]]:
    """What the directory stores for that structure."""
    return [
        (f"{box['name']}@{domain['name']}", HASH, box["display_name"], 5 << 30, "active", "inventory", None)
        for domain in structure(size)
        for box in domain["mailboxes"]
    ]


# One measurement each, in a process of its own: seconds, and the memory of the process.


def floor_insert(path: Path, size: int) -> Callable[[], object]:
    wanted = rows(size)

    def work() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("CREATE TABLE mailbox (address TEXT PRIMARY KEY, " + COLUMNS.partition(", ")[2] + ")")
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO mailbox VALUES (?, ?, ?, ?, ?, ?, ?)", wanted)
            connection.execute("COMMIT")

    return work


def floor_compare(path: Path, size: int) -> Callable[[], object]:
    wanted = rows(size)

    def work() -> None:
        with closing(sqlite3.connect(path)) as connection:
            found = {row[0]: row for row in connection.execute(f"SELECT {COLUMNS} FROM mailbox")}
        if any(found.get(row[0]) != row for row in wanted):
            sys.exit("the floor compares the wrong rows")

    return work


def library(path: Path, size: int, changed: bool, quota: str = "5G") -> Callable[[], object]:
    wanted = structure(size)
    wanted[-1]["mailboxes"][-1]["quota"] = quota

    def work() -> None:
        if reconcile(str(path), lambda _stored: parse(wanted, OWNER.managed_by), OWNER).changed is not changed:
            sys.exit("the library did not do what was to be measured")

    return work


CASES: dict[str, Callable[[Path, int], Callable[[], object]]] = {
    "floor-insert": floor_insert,
    "floor-compare": floor_compare,
    "import": lambda path, size: library(path, size, True),
    "unchanged": lambda path, size: library(path, size, False),
    "one-changed": lambda path, size: library(path, size, True, "6G"),
}


def case(name: str, path: str, size: str) -> None:
    """Print what one case cost: seconds, and mebibytes."""
    work = CASES[name](Path(path), int(size))
    gc.collect()
    start = time.perf_counter()
    work()
    spent = time.perf_counter() - start
    print(json.dumps([spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def measured(name: str, path: Path, size: int) -> tuple[float, float]:
    argv = [
        sys.executable,
        "-m",
        "ansible_collections.postoffice.mail.tests.bench.directory",
        name,
        str(path),
        str(size),
    ]
    spent, memory = json.loads(run(argv))
    return spent, memory


def measure_library(folder: Path, size: int) -> list[Row]:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for attempt in range(SIZES[size]):
        floor, ours = folder / f"floor-{size}-{attempt}", folder / f"ours-{size}-{attempt}"
        for name in CASES:
            found[name].append(measured(name, floor if name.startswith("floor") else ours, size))
        floor.unlink()
        ours.unlink()
    seconds = {name: statistics.median(spent for spent, _memory in values) for name, values in found.items()}
    memory = {name: max(used for _spent, used in values) for name, values in found.items()}
    return [
        Row(f"{size} library: import", seconds["import"], "s", seconds["floor-insert"], LIBRARY_BOUND),
        Row(f"{size} library: unchanged", seconds["unchanged"], "s", seconds["floor-compare"], LIBRARY_BOUND),
        Row(f"{size} library: one changed", seconds["one-changed"], "s", seconds["floor-compare"]),
        Row(f"{size} library: memory of an import", memory["import"], "MiB", memory["floor-insert"]),
        Row(f"{size} library: memory unchanged", memory["unchanged"], "MiB", memory["floor-compare"]),
    ]


# The whole playbook


def run(argv: Sequence[str]) -> str:
    """Runs a program and returns its output; what it said ends this program when it fails."""
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def controller(playbook: Path, variables: Path, changed: bool) -> tuple[float, float]:
    """Run a playbook; return the seconds, and the mebibytes of its largest process."""
    watch = (
        "import json, resource, subprocess, sys, time; start = time.perf_counter();"
        " done = subprocess.run(sys.argv[1:], capture_output=True, text=True);"
        " used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024;"
        " print(json.dumps([time.perf_counter() - start, used, done.returncode, done.stdout + done.stderr]))"
    )
    inventory = f"--inventory=build/hosts/{SCENARIO}/inventory/"
    play = ["ansible-playbook", inventory, str(playbook), f"--extra-vars=@{variables}"]
    spent, used, code, said = json.loads(run([sys.executable, "-c", watch, *play]))
    if code or ("changed=0 " in said) is changed:
        sys.exit(f"{playbook} did not do what was to be measured:\n{said}")
    return spent, used


def measure_playbook(folder: Path, size: int) -> list[Row]:
    """The first run is not repeated; the unchanged ones are."""
    variables, plain, prepare = folder / "domains.yml", folder / "plain.yml", folder / "prepare.yml"
    domains = structure(size)
    variables.write_text(yaml.dump({"mail_domains": domains}), encoding="utf-8")
    plain.write_text(PLAIN, encoding="utf-8")
    prepare.write_text(PREPARE, encoding="utf-8")
    (folder / "users.j2").write_text(TEMPLATE, encoding="utf-8")
    ours = CHECKOUT / "playbooks" / "mailboxes.yml"
    controller(prepare, variables, True)
    first, first_plain = controller(ours, variables, True), controller(plain, variables, True)
    unchanged, unchanged_plain = [], []
    for _attempt in range(REPEATS):
        unchanged.append(controller(ours, variables, False))
        unchanged_plain.append(controller(plain, variables, False))
    domains[-1]["mailboxes"][-1]["quota"] = "6G"
    variables.write_text(yaml.dump({"mail_domains": domains}), encoding="utf-8")
    changed = controller(ours, variables, True)
    baseline = statistics.median(spent for spent, _used in unchanged_plain)
    memory = max(used for _spent, used in (first, changed, *unchanged))
    return [
        Row(f"{size} playbook: import", first[0], "s", first_plain[0]),
        Row(f"{size} playbook: unchanged", statistics.median(spent for spent, _used in unchanged), "s", baseline,
            PLAYBOOK_BOUND),
        Row(f"{size} playbook: one changed", changed[0], "s", baseline),
        Row(f"{size} playbook: memory of the controller, of {CONTROLLER_MEBIBYTES:.0f}", memory, "MiB",
            CONTROLLER_MEBIBYTES, 1.0),
    ]  # fmt: skip


def main() -> None:
    if len(sys.argv) == 4:
        case(*sys.argv[1:])
        return
    measured_rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        for size in SIZES:
            print(f"The library with {size} mailboxes ...", flush=True)
            measured_rows += measure_library(Path(name), size)
        print(f"Booting a host for the playbook with {PLAYED} mailboxes ...", flush=True)
        run([sys.executable, "tools/hosts.py", "up", SCENARIO, "--suite=trixie"])
        measured_rows += measure_playbook(Path(name), PLAYED)
        run([sys.executable, "tools/hosts.py", "down", SCENARIO])
    publish("directory", measured_rows)


if __name__ == "__main__":
    main()
