# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter catches once its users have taught it, on real mail, beside Debian's SpamAssassin taught by hand.

A user moves the first messages of the corpus into Junk, or out of it; a program does it over IMAP, as mail programs do.
The messages that follow are scored by spamd, without network tests, at the default thresholds. In the same run, on the
same host before it becomes ours, Debian's packages as they are score them, before and after sa-learn with the same
messages. No message that is scored was taught. Run by `make bench-bayes`.
"""

from __future__ import annotations

import io
import json
import re
import ssl
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imapclient

from ansible_collections.postoffice.mail.tests.bench import corpus
from ansible_collections.postoffice.mail.tests.bench.report import Row, publish

CHECKOUT = Path(__file__).resolve().parents[2]
SCENARIO = "bench-bayes"
SSH = ["ssh", "-F", str(CHECKOUT / "build/ssh_config"), f"server.{SCENARIO}"]
INVENTORIES = [CHECKOUT / "molecule/default/inventory", CHECKOUT / f"build/hosts/{SCENARIO}/inventory"]

# How many messages of each folder are taught, and how many of those that follow are scored.
SPAM, EASY, HARD = "spam-1", "easy-ham-1", "hard-ham-1"
TAUGHT = {SPAM: 250, EASY: 250, HARD: 125}
SCORED = {SPAM: 250, EASY: 400, HARD: 120}
PLACE = "/var/tmp/bench-bayes"

DEBIAN_PACKAGES = ["spamassassin", "spamd", "spamc"]
DEBIAN_SOCKET = "/run/bench-spamd.sock"
DEBIAN_BAYES = f"bayes_path {PLACE}/bayes/bayes"
OUR_SOCKET = "/run/postoffice-spamd/spamd.sock"
SHOW = ["/usr/local/lib/postoffice/postoffice-learning", "show"]
# What these users would declare. Viruses are not looked for.
DECLARED = {"spamassassin_languages": ["en"], "clamav_enabled": False}
BATCH = 25
LEARNED_WITHIN = 1800  # seconds
SCORE = """\
cd "$1" && for name in *; do echo "$name $(spamc --socket="$2" --max-size=10000000 --check <"$name")"; done
"""


def run(argv: Sequence[str], stdin: bytes = b"") -> str:
    """Runs a program and returns its output; what it said ends this program when it fails."""
    done = subprocess.run(argv, cwd=CHECKOUT, input=stdin, capture_output=True, check=False)
    if done.returncode:
        sys.exit(
            f"{' '.join(argv)} ended with {done.returncode}\n{(done.stdout + done.stderr).decode(errors='replace')}"
        )
    return done.stdout.decode(errors="replace")


def on_host(*argv: str, stdin: bytes = b"") -> str:
    return run([*SSH, *(f"'{word}'" for word in argv)], stdin)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


# The corpus


def split(folder: str) -> tuple[list[bytes], list[bytes]]:
    """What is taught of a folder, and what is scored."""
    messages = corpus.messages(folder)
    taught, scored = TAUGHT[folder], SCORED[folder]
    return messages[:taught], messages[taught : taught + scored]


def bring(messages: Sequence[bytes], folder: str) -> None:
    """Puts messages on the host, with the line ends of a Unix."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as files:
        for number, message in enumerate(messages):
            content = message.replace(b"\r\n", b"\n")
            entry = tarfile.TarInfo(f"{number:04}")
            entry.size = len(content)
            entry.mode = 0o644
            files.addfile(entry, io.BytesIO(content))
    on_host("mkdir", "-p", folder)
    on_host("tar", "-x", "-C", folder, stdin=archive.getvalue())


def called_spam(socket: str) -> dict[str, int]:
    """How many messages of each folder get so many points that they are spam."""
    found = {}
    for folder, count in SCORED.items():
        said = run([*SSH, "sh", "-s", f"{PLACE}/scored/{folder}", socket], SCORE.encode())
        scores = re.findall(r"^\d{4} (-?[\d.]+)/([\d.]+)$", said, re.MULTILINE)
        if len(scores) != count or "0.0" in {required for _points, required in scores}:
            sys.exit(f"not every message of {folder} was scored:\n{said}")
        found[folder] = sum(float(points) >= float(required) for points, required in scores)
        say(f"{folder}: {found[folder]} of {count} called spam")
    return found


# Debian's SpamAssassin as it is


def run_debian() -> None:
    """Starts Debian's spamd anew, without network tests, with a collection of its own."""
    run([*SSH, "systemctl stop bench-spamd 2>/dev/null; systemctl reset-failed bench-spamd 2>/dev/null; true"])
    spamd = ["spamd", "--local", f"--socketpath={DEBIAN_SOCKET}", "--nouser-config", f"--cf={DEBIAN_BAYES}"]
    spamd += ["--username=debian-spamd", "--max-children=1", f"--helper-home-dir={PLACE}/bayes"]
    on_host("systemd-run", "--quiet", "--unit=bench-spamd", *spamd)
    on_host("sh", "-c", f"until spamc -K --socket={DEBIAN_SOCKET} >/dev/null 2>&1; do sleep 0.2; done")


def empty_collection() -> None:
    on_host("rm", "-rf", f"{PLACE}/bayes")
    on_host("install", "-d", "-o", "debian-spamd", f"{PLACE}/bayes")


def debian() -> tuple[dict[str, int], dict[str, int]]:
    """What Debian's packages call spam, untaught and taught by hand."""
    install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y", "--no-install-recommends", "install"]
    on_host(*install, *DEBIAN_PACKAGES)
    empty_collection()
    run_debian()
    before = called_spam(DEBIAN_SOCKET)
    on_host("systemctl", "stop", "bench-spamd")
    empty_collection()
    learn = ["runuser", "-u", "debian-spamd", "--", "sa-learn", f"--cf={DEBIAN_BAYES}", "--local"]
    for folder in TAUGHT:
        on_host(*learn, "--spam" if folder == SPAM else "--ham", f"{PLACE}/taught/{folder}")
    run_debian()
    after = called_spam(DEBIAN_SOCKET)
    on_host("systemctl", "stop", "bench-spamd")
    return before, after


# Ours, taught over IMAP


def play() -> None:
    sources = [f"--inventory={inventory}/" for inventory in INVENTORIES]
    run(["ansible-playbook", *sources, "playbooks/site.yml", "--extra-vars", json.dumps(DECLARED)])


def inventory() -> dict[str, Any]:
    sources = [f"--inventory={inventory}/" for inventory in INVENTORIES]
    found: dict[str, Any] = json.loads(run(["ansible-inventory", *sources, "--host", "server"]))
    return found


def log_in() -> imapclient.IMAPClient:
    """An IMAP session of the first mailbox that the inventory declares."""
    variables = inventory()
    domain = variables["mail_domains"][0]
    mailbox = domain["mailboxes"][0]
    host, _unused, port = variables["host_ports"]["imaps"].rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = imapclient.IMAPClient(host.strip("[]"), int(port), ssl=True, ssl_context=context, timeout=60)
    client.login(f"{mailbox['name']}@{domain['name']}", mailbox["password"])
    return client


def move(client: imapclient.IMAPClient, messages: Sequence[bytes], source: str, target: str) -> None:
    """Moves messages from one folder to another, a screenful at a time."""
    client.select_folder(source)
    for begin in range(0, len(messages), BATCH):
        answers = [client.append(source, message) for message in messages[begin : begin + BATCH]]
        client.move([int(re.findall(rb"APPENDUID \d+ (\d+)", answer)[0]) for answer in answers], target)


def teach() -> None:
    """Lets a user move everything that is taught, and waits until it is learned."""
    client = log_in()
    for folder in TAUGHT:
        taught, _scored = split(folder)
        source, target = ("INBOX", "Junk") if folder == SPAM else ("Junk", "Archive")
        for each in {source, target} - {"INBOX"}:
            if not client.folder_exists(each):
                client.create_folder(each)
        move(client, taught, source, target)
        say(f"{folder}: {len(taught)} messages moved from {source} to {target}")
    client.logout()
    deadline = time.monotonic() + LEARNED_WITHIN
    while (counted := learned()) != sum(TAUGHT.values()):
        if time.monotonic() > deadline:
            sys.exit(f"only {counted} messages were learned")
        time.sleep(1)


def learned() -> int:
    """How many messages were learned, or found to be known already."""
    said = json.loads(on_host(*SHOW))
    return sum(said["learned"].get("*", {}).values())


def ours() -> dict[str, int]:
    play()
    teach()
    say(f"learned: {on_host(*SHOW).strip()}")
    return called_spam(OUR_SOCKET)


def rows(before: dict[str, int], after: dict[str, int], found: dict[str, int]) -> list[Row]:
    """The rows: what is missed of the spam, in percent, and how many good messages are called spam."""

    def missed(called: dict[str, int]) -> float:
        return 100 * (1 - called[SPAM] / SCORED[SPAM])

    easy, hard = f"easy ham called spam, of {SCORED[EASY]}", f"hard ham called spam, of {SCORED[HARD]}"
    taught = "taught over IMAP, beside Debian's by hand:"
    return [
        Row("Debian's, untaught: spam missed", missed(before), "%"),
        Row(f"Debian's, untaught: {easy}", before[EASY], "messages"),
        Row(f"Debian's, untaught: {hard}", before[HARD], "messages"),
        Row(f"{taught} spam missed", missed(found), "%", missed(after), 5, absolute=True),
        Row(f"{taught} {easy}", found[EASY], "messages", after[EASY], 0, absolute=True),
        Row(f"{taught} {hard}", found[HARD], "messages", after[HARD], 5, absolute=True),
    ]


def main() -> None:
    suite = sys.argv[1] if len(sys.argv) > 1 else "trixie"
    run([sys.executable, "tools/hosts.py", "down", SCENARIO])
    run([sys.executable, "tools/hosts.py", "up", SCENARIO, f"--suite={suite}", "--publish"])
    for folder in SCORED:
        taught, scored = split(folder)
        bring(taught, f"{PLACE}/taught/{folder}")
        bring(scored, f"{PLACE}/scored/{folder}")
    say("Debian's SpamAssassin as it is ...")
    before, after = debian()
    say("Ours ...")
    found = ours()
    run([sys.executable, "tools/hosts.py", "down", SCENARIO])
    measured = rows(before, after, found)
    publish("bayes", measured)
    sys.exit(1 if False in {row.holds for row in measured} else 0)


if __name__ == "__main__":
    main()
