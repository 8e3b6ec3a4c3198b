# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of `site.yml` costs: the first beside apt-get alone, the second, unchanged, beside a ping.

A first run counts beside apt-get, which installs the same packages on an identical bare host right before or after it;
both download them. Who begins alternates, and the pair in the middle of several is told, so that neither a mirror that
has the files ready by now nor other work on the machine decides. Run by `make bench-converge`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from ansible_collections.postoffice.mail.tests.bench.report import Row, publish

CHECKOUT = Path(__file__).resolve().parents[2]
SSH = ["ssh", "-F", str(CHECKOUT / "build/ssh_config")]
FIRST_RUNS = 3
UNCHANGED_RUNS = 7
SITE = "playbooks/site.yml"
APT_GET = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "--no-install-recommends", "install"]
PINGS = 20.0  # that an unchanged run may cost
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


def playbook(scenario: str, path: str, *options: str) -> list[str]:
    inventories = ["--inventory=molecule/default/inventory/", f"--inventory=build/hosts/{scenario}/inventory/"]
    return ["ansible-playbook", *inventories, path, *options]


def unchanged(argv: Sequence[str]) -> float:
    """The seconds of a run that changes nothing."""
    spent, output = seconds(argv)
    if "changed=0 " not in output:
        sys.exit(f"this was to change nothing:\n{output}")
    return spent


def middle(pairs: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The pair of value and baseline whose ratio is the median."""
    ordered = sorted(pairs, key=lambda pair: pair[0] / pair[1])
    return ordered[len(ordered) // 2]


def boot(scenario: str, suite: str) -> None:
    """A new bare host that nothing was done to."""
    run([sys.executable, "tools/hosts.py", "down", scenario])
    run([sys.executable, "tools/hosts.py", "up", scenario, f"--suite={suite}", "--publish"])


def packages(scenario: str) -> list[str]:
    """What a first run would install on this bare host."""
    return re.findall(r"^\+package (\S+) ", run(playbook(scenario, SITE, "--check", "--diff")), re.MULTILINE)


def first_run(ours: str, plain: str, suite: str, names: Sequence[str], begin_with_apt: bool) -> tuple[float, float]:
    """Seconds of the playbook on one bare host and of apt-get on another."""
    for scenario in (ours, plain):
        boot(scenario, suite)
    measurements = [playbook(ours, SITE), [*SSH, f"server.{plain}", *APT_GET, *names]]
    order = reversed(measurements) if begin_with_apt else iter(measurements)
    spent = [seconds(argv)[0] for argv in order]
    value, baseline = reversed(spent) if begin_with_apt else spent
    print(f"{suite}: first run {value:.1f} s, apt-get {baseline:.1f} s", flush=True)
    return value, baseline


def unchanged_runs(scenario: str, ping: str) -> tuple[float, float]:
    """Seconds of the playbook, and of a ping beside it."""
    return middle(
        (unchanged(playbook(scenario, SITE)), unchanged(playbook(scenario, ping))) for _unused in range(UNCHANGED_RUNS)
    )


def measure(suite: str, ping: str) -> list[Row]:
    ours, plain = f"bench-{suite}", f"bench-plain-{suite}"
    boot(plain, suite)
    names = list(dict.fromkeys(packages(plain)))
    first = middle(first_run(ours, plain, suite, names, bool(number % 2)) for number in range(FIRST_RUNS))
    run([sys.executable, "tools/hosts.py", "down", plain])
    again = unchanged_runs(ours, ping)
    run([sys.executable, "tools/hosts.py", "down", ours])
    return [
        Row(f"{suite}: first run, beside apt-get of its {len(names)} packages", first[0], "s", first[1], 2.0),
        Row(f"{suite}: unchanged run, beside a ping", again[0], "s", again[1], PINGS),
    ]


def main() -> None:
    ping = CHECKOUT / "build/bench/ping.yml"
    ping.parent.mkdir(parents=True, exist_ok=True)
    ping.write_text(PING, encoding="utf-8")
    rows = [row for suite in sys.argv[1:] or ("bookworm", "trixie") for row in measure(suite, str(ping))]
    publish("converge", rows)
    sys.exit(0 if all(row.holds for row in rows) else 1)


if __name__ == "__main__":
    main()
