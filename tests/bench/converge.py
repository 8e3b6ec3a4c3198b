# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of `site.yml` costs: the first beside apt-get alone, the second, unchanged, beside a ping.

Boots two identical bare hosts. On one it runs the playbook; on the other apt-get installs exactly the packages that the
playbook had brought. Run by `make bench-converge`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.postoffice.mail.tests.bench.report import Row, publish

CHECKOUT = Path(__file__).resolve().parents[2]
SSH = ["ssh", "-F", str(CHECKOUT / "build/ssh_config")]
REPEATS = 5
MANUAL = ["apt-mark", "showmanual"]
PING = "- hosts: mail\n  gather_facts: false\n  tasks:\n    - ansible.builtin.ping:\n"


def run(argv: Sequence[str]) -> str:
    """Runs a program and returns its output; what it said ends this program when it fails."""
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def seconds(argv: Sequence[str]) -> tuple[float, str]:
    start = time.monotonic()
    output = run(argv)
    return time.monotonic() - start, output


def playbook(scenario: str, path: str) -> list[str]:
    inventories = ["--inventory=molecule/default/inventory/", f"--inventory=build/hosts/{scenario}/inventory/"]
    return ["ansible-playbook", *inventories, path]


def unchanged(argv: Sequence[str]) -> float:
    """The median of several runs, none of which changed anything."""
    times = []
    for _unused in range(REPEATS):
        spent, output = seconds(argv)
        if "changed=0 " not in output:
            sys.exit(f"this was to change nothing:\n{output}")
        times.append(spent)
    return statistics.median(times)


def on(scenario: str, *argv: str) -> list[str]:
    return [*SSH, f"server.{scenario}", *argv]


def measure(suite: str, ping: str) -> list[Row]:
    ours, plain = f"bench-{suite}", f"bench-plain-{suite}"
    for scenario in (ours, plain):
        run([sys.executable, "tools/hosts.py", "up", scenario, f"--suite={suite}"])
    before = set(run(on(ours, *MANUAL)).split())
    first, _unused = seconds(playbook(ours, "playbooks/site.yml"))
    packages = sorted(set(run(on(ours, *MANUAL)).split()) - before)
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "--no-install-recommends", "install", *packages]
    apt_only, _unused = seconds(on(plain, *apt))
    second = unchanged(playbook(ours, "playbooks/site.yml"))
    pinged = unchanged(playbook(ours, ping))
    for scenario in (ours, plain):
        run([sys.executable, "tools/hosts.py", "down", scenario])
    return [
        Row(f"{suite}: first run, beside apt-get of its {len(packages)} packages", first, "s", apt_only, 2.0),
        Row(f"{suite}: unchanged run, beside a ping", second, "s", pinged, 20.0),
    ]


def main() -> None:
    ping = CHECKOUT / "build/bench/ping.yml"
    ping.parent.mkdir(parents=True, exist_ok=True)
    ping.write_text(PING, encoding="utf-8")
    rows = [row for suite in ("bookworm", "trixie") for row in measure(suite, str(ping))]
    publish("converge", rows)
    sys.exit(0 if all(row.holds for row in rows) else 1)


if __name__ == "__main__":
    main()
