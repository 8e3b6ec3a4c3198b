# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much mail a host takes in: real messages through port 25, more and more at a time until it is full.

With everything on, beside the rate at which spamd alone scans the same messages for spamc on the same host. Without the
filters, beside Debian's Postfix and Dovecot as they come, joined by LMTP; and Debian's Postfix alone, which writes to
/var/mail. Who begins alternates. Run by `make bench-mail`; with `--keep`, hosts that are up are used, and left up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from ansible_collections.postoffice.mail.tests.bench import corpus, plot
from ansible_collections.postoffice.mail.tests.bench.load import (
    CHECKOUT,
    Burst,
    Target,
    burst,
    peak_memory,
    scan_alone,
)
from ansible_collections.postoffice.mail.tests.bench.report import FOLDER, Row, publish

SCENARIO, PLAIN = "bench-mail", "bench-mail-plain"
SUITE = "trixie"
USERS = 20
FILTERED, FILTERED_LEVELS = 60, (1, 2, 4, 8)
BARE, BARE_LEVELS = 200, (1, 4, 8, 16)
WITH_FILTERS, WITHOUT_FILTERS = 1 / 0.9, 1.0  # seconds per message beside the baseline's
SCANNED = "/root/bench-mail"
HASH = "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$N0YopbRWCoGQUmoNQWhtzQ$awUj5jz6jY5YkDwoD8BWIg"
OFF = dict.fromkeys(
    (
        *("clamav_enabled", "opendkim_enabled", "opendmarc_enabled", "postgrey_enabled", "spamassassin_enabled"),
        *("fail2ban_enabled", "mta_sts_enabled", "postfix_postscreen", "postsrsd_enabled"),
    ),
    False,
)
# The client's name is in /etc/hosts, as it would be in the cache of a resolver: Debian's Postfix looks it up for each
# message, and whoever answers here stops doing so for 5 s after some dozens.
DEBIAN = f"""\
set -e
export DEBIAN_FRONTEND=noninteractive
echo "$CLIENT mx.outside.example" >> /etc/hosts
debconf-set-selections <<END
postfix postfix/main_mailer_type select Internet Site
postfix postfix/mailname string example.org
END
apt-get -qq -y --no-install-recommends install postfix dovecot-imapd dovecot-lmtpd > /dev/null
for number in $(seq 0 {USERS - 1}); do id user$number > /dev/null 2>&1 || useradd --create-home user$number; done
cat > /etc/dovecot/conf.d/10-joined.conf <<END
auth_username_format = %{{user | username | lower}}
service lmtp {{
  unix_listener /var/spool/postfix/private/dovecot-lmtp {{
    mode = 0600
    user = postfix
    group = postfix
  }}
}}
END
systemctl restart dovecot
"""
# How they are joined, which Debian leaves to its users; without it Postfix delivers by itself. Postfix waits until the
# file of its settings is two seconds old.
JOINED = "postconf -e mailbox_transport=lmtp:unix:private/dovecot-lmtp && sleep 3 && postfix reload"
ALONE = "postconf -X mailbox_transport && sleep 3 && postfix reload"


def run(argv: Sequence[str]) -> str:
    """Runs a program and returns its output; what it said ends this program when it fails."""
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def sample(count: int) -> list[bytes]:
    """So many messages, of each folder alike."""
    folders = [corpus.messages(folder)[:count] for folder in corpus.FOLDERS]
    mixed = [message for message in chain.from_iterable(zip_longest(*folders)) if message is not None]
    return mixed[:count]


def deploy(**variables: Any) -> None:
    """Bring `site.yml` to our host."""
    boxes = [{"name": f"user{number}", "password_hash": HASH} for number in range(USERS)]
    domains = [{"name": "example.org", "mailboxes": boxes}]
    chosen = FOLDER / "mail-variables.json"
    chosen.parent.mkdir(parents=True, exist_ok=True)
    chosen.write_text(json.dumps({"mail_domains": domains, **variables}), "utf-8")
    inventories = ["--inventory=molecule/default/inventory/", f"--inventory=build/hosts/{SCENARIO}/inventory/"]
    run(["ansible-playbook", *inventories, "playbooks/site.yml", f"--extra-vars=@{chosen}"])


def described(scenario: str) -> dict[str, Any]:
    """A host's variables."""
    inventory = f"build/hosts/{scenario}/inventory/"
    variables: dict[str, Any] = json.loads(run(["ansible-inventory", f"--inventory={inventory}", "--host=server"]))
    return variables


def target(scenario: str) -> Target:
    """A host, booted where it is not up."""
    run([sys.executable, "tools/hosts.py", "up", scenario, f"--suite={SUITE}", "--publish"])
    recipients = [f"user{number}@example.org" for number in range(USERS)]
    return Target(f"server.{scenario}", described(scenario)["host_address"], 25, recipients)


def told(name: str, done: Burst) -> Burst:
    print(
        f"{name}, {done.concurrency} at a time: {done.rate:.2f} messages a second, in the mailbox after"
        f" {done.percentile(50):.2f} s (50 %), {done.percentile(99):.2f} s (99 %), {done.refused} refused",
        flush=True,
    )
    return done


def with_filters(ours: Target) -> tuple[list[Row], plot.Panel]:
    messages = sample(FILTERED)
    ours.upload(messages, SCANNED)
    socket = ours.shell("ls /run/*spamd/*.sock").strip()
    ours.shell("command -v spamc > /dev/null || apt-get -qq -y --no-install-recommends install spamc > /dev/null")
    # Once beforehand: whatever Bayes learns by itself from these messages it has learned then.
    scan_alone(ours, SCANNED, socket, len(messages), 4)
    bursts, scans = [], []
    for number, level in enumerate(FILTERED_LEVELS):
        for scanning in (number % 2 == 0, number % 2 == 1):
            if scanning:
                scans.append(scan_alone(ours, SCANNED, socket, len(messages), level))
                print(f"spamd alone, {level} at a time: {scans[-1].rate:.2f} messages a second", flush=True)
            else:
                bursts.append(told("with filters", burst(ours, messages, level)))
    best, alone = max(bursts, key=lambda each: each.rate), max(scans, key=lambda each: each.rate)
    memory = peak_memory(ours, messages, best.concurrency)
    lines = {
        "everything on": [(each.concurrency, each.rate) for each in bursts],
        "spamd alone": [(each.concurrency, each.rate) for each in scans],
    }
    rows = [
        *levels("with filters", bursts),
        Row("with filters: per message at best, beside spamd alone", 1 / best.rate, "s", 1 / alone.rate, WITH_FILTERS),
        Row(
            "with filters: processor time per message, beside spamd alone",
            sum(best.spent.values()) * 1000,
            "ms",
            alone.spent * 1000,
        ),
        *processors("with filters", best),
        Row("with filters: memory of all processes at most", memory, "MiB"),
    ]
    return rows, plot.Panel("With filters", lines)


def without_filters(ours: Target, debian: Target) -> tuple[list[Row], plot.Panel]:
    messages = sample(BARE)
    names = ("without filters", "Debian's Postfix and Dovecot", "Debian's Postfix alone")
    bursts: dict[str, list[Burst]] = {name: [] for name in names}
    debian.shell(JOINED)
    for number, level in enumerate(BARE_LEVELS):
        pair = [(names[0], ours), (names[1], debian)]
        for name, each in pair if number % 2 else reversed(pair):
            bursts[name].append(told(name, burst(each, messages, level)))
    debian.shell(ALONE)
    for level in BARE_LEVELS:
        bursts[names[2]].append(told(names[2], burst(debian, messages, level)))
    best, joined, alone = (max(bursts[name], key=lambda each: each.rate) for name in names)
    at_best = "without filters: per message at best, beside"
    rows = [
        *levels(names[0], bursts[names[0]], bursts[names[1]]),
        Row(f"{at_best} {names[1]}", 1 / best.rate, "s", 1 / joined.rate, WITHOUT_FILTERS),
        Row(f"{at_best} {names[2]}", 1 / best.rate, "s", 1 / alone.rate),
        *processors(names[0], best),
        *processors(names[1], joined),
    ]
    lines = {name: [(each.concurrency, each.rate) for each in done] for name, done in bursts.items()}
    return rows, plot.Panel("Without filters", lines)


def levels(name: str, bursts: Sequence[Burst], baselines: Sequence[Burst] = ()) -> list[Row]:
    """What each level costs."""
    rows = []
    for done, beside in zip_longest(bursts, baselines):
        at = f"{name}, {done.concurrency} at a time"
        rows.append(Row(f"{at}: per message", 1 / done.rate, "s", 1 / beside.rate if beside else None))
        for percent in (50, 99):
            baseline = beside.percentile(percent) if beside else None
            rows.append(Row(f"{at}: in the mailbox, {percent} %", done.percentile(percent), "s", baseline))
    return rows


def processors(name: str, done: Burst) -> list[Row]:
    """Where the processor time of a message goes, down to a hundredth of it."""
    whole = sum(done.spent.values())
    units = sorted(done.spent.items(), key=lambda pair: -pair[1])
    return [Row(f"{name}: processor time per message", whole * 1000, "ms")] + [
        Row(f"{name}: processor time per message, {unit.removesuffix('.service')}", seconds * 1000, "ms")
        for unit, seconds in units
        if seconds > whole / 100
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-mail", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="use hosts that are up, and leave them up")
    keep = parser.parse_args().keep
    if not keep:
        for scenario in (SCENARIO, PLAIN):
            run([sys.executable, "tools/hosts.py", "down", scenario])
    print("Booting and deploying ...", flush=True)
    ours, debian = target(SCENARIO), target(PLAIN)
    deploy()
    debian.shell(f"CLIENT={described(PLAIN)['controller']['address']}\n{DEBIAN}")
    rows, filtered = with_filters(ours)
    print("Switching the filters off ...", flush=True)
    deploy(**OFF)
    more, bare = without_filters(ours, debian)
    (FOLDER / "mail.svg").write_text(plot.svg([filtered, bare], "messages at a time", "messages a second"))
    publish("mail", rows + more)
    if not keep:
        for scenario in (SCENARIO, PLAIN):
            run([sys.executable, "tools/hosts.py", "down", scenario])
    sys.exit(0 if all(row.holds is not False for row in rows + more) else 1)


if __name__ == "__main__":
    main()
