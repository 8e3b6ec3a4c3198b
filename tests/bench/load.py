# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many mail servers at once that bring one message each, and what became of it."""

from __future__ import annotations

import io
import json
import re
import smtplib
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SSH = ["ssh", "-F", str(CHECKOUT / "build/ssh_config")]
SENDER = "sender@outside.example"
QUEUED = re.compile(rb"queued as (\S+)")
TIMEOUT = 300.0
# What a daemon and all its processes, those that have ended included, have spent so far, by unit of systemd; and, for
# as long as somebody listens, what all processes of the host take together at most.
SPENT = """
import collections, json, os, re
spent = collections.Counter()
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        units = re.findall(r"/([^/\\n]+[.]service)", open(f"/proc/{pid}/cgroup").read())
        fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    except OSError:
        continue
    if units[-1:] == ["ssh.service"]:
        continue  # whoever measures
    spent[units[-1] if units else "other"] += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
print(json.dumps(spent))
"""
PEAK = """
import glob, re, select, sys
peak = 0
while True:
    now = 0
    for path in glob.glob("/proc/[0-9]*/smaps_rollup"):
        try:
            now += int(re.search(r"^Pss: +([0-9]+)", open(path).read(), re.M)[1])
        except (OSError, TypeError):
            pass
    peak = max(peak, now)
    if select.select([sys.stdin], [], [], 1)[0]:
        break
print(peak / 1024)
"""


@dataclass(frozen=True)
class Target:
    """A host that takes mail: its name for SSH, where it listens, and for whom."""

    name: str
    host: str
    port: int
    recipients: Sequence[str]

    def shell(self, command: str, stdin: str | None = None) -> str:
        """Run a command there as root; what it said ends this program when it fails."""
        done = subprocess.run([*SSH, self.name, command], capture_output=True, text=True, input=stdin, check=False)
        if done.returncode:
            sys.exit(f"{self.name}: {command} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def upload(self, messages: Sequence[bytes], folder: str) -> None:
        """Put each message into a file of a new folder there."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for number, message in enumerate(messages):
                member = tarfile.TarInfo(f"{number:04}")
                member.size = len(message)
                archive.addfile(member, io.BytesIO(message))
        command = f"rm -rf {folder} && mkdir {folder} && tar -x -C {folder}"
        subprocess.run([*SSH, self.name, command], input=packed.getvalue(), check=True)


@dataclass(frozen=True)
class Sent:
    """A message that was brought: when that began and ended, and as what it was queued ('' when it was refused)."""

    begin: float
    end: float
    queued: str


@dataclass(frozen=True)
class Burst:
    """So many messages, ``concurrency`` at a time: messages per second, and seconds until each was in its mailbox."""

    concurrency: int
    rate: float
    delays: Sequence[float]
    refused: int
    spent: Mapping[str, float]
    """seconds of processor time per message, by unit"""

    def percentile(self, percent: float) -> float:
        """The delay that so many of the messages do not exceed."""
        return self.delays[min(len(self.delays) - 1, int(len(self.delays) * percent / 100))]


def burst(target: Target, messages: Sequence[bytes], concurrency: int) -> Burst:
    """Bring the messages, wait until all are delivered, and measure."""
    before = spent(target)
    began = time.time()
    with ThreadPoolExecutor(concurrency) as pool:
        sent = list(pool.map(lambda pair: bring(target, *pair), zip(messages, cycle(target.recipients), strict=False)))
    target.shell('until [ -z "$(postqueue -j)" ]; do sleep 0.2; done')
    arrived = dict(deliveries(target, began))
    after = spent(target)
    queued = [each for each in sent if each.queued]
    if lost := [each.queued for each in queued if each.queued not in arrived]:
        sys.exit(f"{target.name}: the journal does not say what became of {', '.join(lost[:5])} and others")
    end = max([*(each.end for each in sent), *(arrived[each.queued] for each in queued)])
    return Burst(
        concurrency,
        len(sent) / (end - began),
        sorted(arrived[each.queued] - each.begin for each in queued),
        len(sent) - len(queued),
        {unit: (seconds - before.get(unit, 0.0)) / len(sent) for unit, seconds in after.items()},
    )


def bring(target: Target, message: bytes, recipient: str) -> Sent:
    """Deliver one message over a connection of its own; a deferral ends this program: it would be no measurement."""
    begin = time.time()
    with smtplib.SMTP(target.host, target.port, "mx.outside.example", TIMEOUT) as client:
        client.ehlo()
        client.mail(SENDER)
        code, said = client.rcpt(recipient)
        if code == 250:
            code, said = client.data(message)
    if code != 250 and code < 500:
        raise SystemExit(f"{target.name} answers {code} {said.decode(errors='replace')}")
    found = QUEUED.search(said)
    return Sent(begin, time.time(), found[1].decode() if found else "")


def deliveries(target: Target, since: float) -> Iterator[tuple[str, float]]:
    """When each message came into a mailbox, by the name that it had in the queue."""
    said = target.shell(
        f"journalctl --output=json --since=@{int(since)} --identifier=postfix/lmtp --identifier=postfix/local"
        " --identifier=postfix/virtual --no-pager"
    )
    for line in said.splitlines():
        entry = json.loads(line)
        queued, _colon, message = entry["MESSAGE"].partition(": ")
        if "status=sent" in message:
            yield queued, int(entry["__REALTIME_TIMESTAMP"]) / 1e6


def spent(target: Target) -> Counter[str]:
    """Seconds of processor time by unit, since each began."""
    return Counter(json.loads(target.shell("python3 -", SPENT)))


def peak_memory(target: Target, messages: Sequence[bytes], concurrency: int) -> float:
    """Mebibytes that all processes of the host take together at most while it is busy with the messages."""
    with subprocess.Popen(
        [*SSH, target.name, f"python3 -c '{PEAK}'"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as watch:
        burst(target, messages, concurrency)
        said, _nothing = watch.communicate("enough\n")
    return float(said)


@dataclass(frozen=True)
class Scans:
    """What spamd scanned for spamc, ``concurrency`` at a time: messages, and seconds of processor time for each."""

    concurrency: int
    rate: float
    spent: float


def scan_alone(target: Target, folder: str, socket: str, count: int, concurrency: int) -> Scans:
    """Have spamd scan the messages of a folder there."""
    each = f"spamc -U {socket} -x -t 300 -s 50000000 -c < $0 > /dev/null; test $? -le 1"
    before = spent(target)
    said = target.shell(
        f"cd {folder} && began=$(date +%s.%N) && ls | xargs -P {concurrency} -n 1 sh -c '{each}'"
        " && echo $began $(date +%s.%N)"
    )
    began, ended = map(float, said.split())
    used = sum(seconds - before.get(unit, 0.0) for unit, seconds in spent(target).items() if unit.startswith("spam"))
    return Scans(concurrency, count / (ended - began), used / count)
