# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills, at random moments, what writes the directory and what publishes it, and looks what is left. Runs on the host.

Standard input is the settings as JSON, the answer is JSON, too. What is left is looked at from outside first, by asking
Dovecot and Postfix: whoever opens the file with SQLite heals it.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from asking import Users, ask_recipient, smtp

VIEWS = ("dovecot_user", "postfix_mailbox", "postfix_alias", "postfix_refused_recipient", "postfix_sender")
PUBLISHED = VIEWS[1:]
PATIENCE = 20.0
AFTER = 1.1  # an import is also killed just after its commit
PUBLISHER = "postoffice-publish.service"


def rows(path: str, tables: tuple[str, ...], domain: str, options: str = "mode=rw") -> str:
    """What the views say of one domain, as a digest."""
    digest = hashlib.sha256()
    with closing(sqlite3.connect(f"file:{path}?{options}", uri=True, timeout=PATIENCE)) as connection:
        connection.execute("BEGIN")
        for name in tables:
            key = "user" if name == "dovecot_user" else "address"
            found = connection.execute(f"SELECT * FROM {name} WHERE {key} LIKE '%@{domain}'").fetchall()
            digest.update(repr((name, sorted(found))).encode())
        intact = connection.execute("PRAGMA integrity_check").fetchone()[0]
    return digest.hexdigest() if intact == "ok" else str(intact)


def hot(path: Path) -> bool:
    """Whether a transaction was cut off while it was written: its journal has a header."""
    try:
        with path.open("rb") as journal:
            return any(journal.read(8))
    except FileNotFoundError:
        return False


def wait_for(look: Callable[[], object], what: str) -> float:
    begin = time.monotonic()
    while not look():
        if time.monotonic() > begin + PATIENCE:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.02)
    return time.monotonic() - begin


class Host:
    """The directory, its published copy, and those who read them."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.path, self.folder, self.domain = settings["path"], Path(settings["folder"]), settings["domain"]
        self.random = random.Random(settings["seed"])
        self.settings = settings
        self.users = Users()

    def live(self) -> str:
        return rows(self.path, VIEWS, self.domain)

    def published(self) -> str:
        return rows(str(self.folder / "lookup.sqlite3"), PUBLISHED, self.domain, "mode=ro&immutable=1")

    def shows(self, copy: str) -> bool:
        return self.published() == copy

    def up_to_date(self) -> bool:
        return bool(json.loads((self.folder / "state.json").read_text()).get("counter") == self.counter())

    def ask(self) -> str:
        """What Dovecot says of a mailbox of both states, once Postfix has taken it as a recipient."""
        address = f"both@{self.domain}"
        with smtp() as session:
            ask_recipient(session, address, "250")
        return self.users.ask(address)

    def counter(self) -> int:
        """SQLite's count of the commits."""
        with open(self.path, "rb") as file:
            return int.from_bytes(file.read(28)[24:], "big")

    def run(self, state: str) -> float:
        """Run the module to its end, and return how long its work took, the publication not included."""
        before, begin, seconds = self.counter(), time.monotonic(), 0.0
        with subprocess.Popen([sys.executable, self.settings["modules"][state]], stdout=subprocess.DEVNULL) as module:
            while module.poll() is None:
                seconds = seconds or (time.monotonic() - begin if self.counter() != before else 0.0)
                time.sleep(0.002)
        if module.returncode:
            raise SystemExit(f"the module ended with {module.returncode}")
        return seconds

    def learn(self) -> tuple[dict[str, tuple[str, str, str]], float]:
        """Both states as Dovecot, the views and the published copy show them, and how long an import takes."""
        known, seconds = {}, []
        for state in ("old", "new", "old"):
            seconds.append(self.run(state))
            wait_for(self.up_to_date, "the publication")
            known[state] = (self.ask(), self.live(), self.published())
        if len({part for parts in known.values() for part in parts}) != 6:
            raise SystemExit("the states do not differ")
        return known, max(seconds[1:])


def kill_modules(host: Host) -> dict[str, Any]:
    known, usual = host.learn()
    journal = Path(f"{host.path}-journal")
    outcome: Counter[str] = Counter()
    state = "old"
    for number in range(host.settings["kills"]):
        other = "new" if state == "old" else "old"
        module = subprocess.Popen([sys.executable, host.settings["modules"][other]], stdout=subprocess.DEVNULL)
        moment = host.random.uniform(0, usual * AFTER)
        try:
            module.wait(moment)
            outcome["ended before"] += 1
        except subprocess.TimeoutExpired:
            module.kill()
            module.wait()
        outcome["hot journals"] += hot(journal)
        heard, live = host.ask(), host.live()
        found = [name for name, (said, views, _copy) in known.items() if (said, views) == (heard, live)]
        if not found:
            raise SystemExit(f"kill {number} after {moment:.3f} s: neither old nor new; Dovecot says {heard}")
        if host.published() not in {copy for _said, _views, copy in known.values()}:
            raise SystemExit(f"kill {number} after {moment:.3f} s: the published copy is neither old nor new")
        outcome["new" if found == [other] else "old"] += 1
        state = found[0]
    late = wait_for(partial(host.shows, known[state][2]), "the publication of what is stored")
    return {"outcome": outcome, "usual": usual, "published after": late}


def main_process() -> int:
    shown = subprocess.run(
        ["systemctl", "show", "--property=MainPID", "--value", PUBLISHER], check=True, capture_output=True, text=True
    )
    return int(shown.stdout)


def switch(host: Host, state: str) -> None:
    """Somebody else changes what Postfix has to know."""
    with closing(sqlite3.connect(host.path, timeout=PATIENCE, isolation_level=None)) as connection:
        connection.execute("UPDATE mailbox SET state = ? WHERE address = ?", (state, f"switched@{host.domain}"))


def kill_publishers(host: Host) -> dict[str, Any]:
    """The service that publishes is killed; nobody starts it again by hand.

    Each change follows as soon as the one before is published, when systemd may not look for changes yet.
    """
    published, usual, slowest = {}, 0.0, 0.0
    outcome: Counter[str] = Counter()
    for name in ("disabled", "active"):
        switch(host, name)
        usual = wait_for(host.up_to_date, "the publication")
        published[name] = host.published()
    for number in range(host.settings["kills"]):
        name = ("disabled", "active")[number % 2]
        switch(host, name)
        wait_for(lambda: host.up_to_date() or main_process(), "the publisher")
        if process := main_process():
            time.sleep(host.random.uniform(0, usual / 2))
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
                outcome["killed"] += 1
        found = host.published()
        if found not in published.values():
            raise SystemExit(f"kill {number}: the published copy is neither old nor new")
        outcome["new" if found == published[name] else "old"] += 1
        slowest = max(slowest, wait_for(host.up_to_date, f"the publication after kill {number}"))
        if host.published() != published[name]:
            raise SystemExit(f"kill {number}: the old copy is called the new one")
        reply = "250" if name == "active" else "550"
        wait_for(partial(heard, f"switched@{host.domain}", reply), "Postfix to hear of it")
    return {"outcome": outcome, "usual": usual, "published after": slowest}


def heard(address: str, reply: str) -> bool:
    try:
        with smtp() as session:
            ask_recipient(session, address, reply)
    except ConnectionError:
        return False
    return True


def race(host: Host) -> dict[str, Any]:
    """Two runs at once, each with a state of its own."""
    known, _usual = host.learn()
    outcome: Counter[str] = Counter()
    for _number in range(host.settings["races"]):
        both = [
            subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, text=True)
            for path in host.settings["modules"].values()
        ]
        for process in both:
            said, _unused = process.communicate()
            if process.returncode:
                raise SystemExit(f"one of two runs failed: {said}")
        heard, live = host.ask(), host.live()
        found = [name for name, (said, views, _copy) in known.items() if (said, views) == (heard, live)]
        if not found:
            raise SystemExit("after two runs at once the directory is neither the one nor the other")
        wait_for(partial(host.shows, known[found[0]][2]), "the publication")
        outcome[found[0]] += 1
    return {"outcome": outcome}


def break_off(host: Host) -> dict[str, Any]:
    """A writer dies in the middle of its commit; somebody asks."""
    writer = (
        "import os, signal, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)\n"
        "connection.execute('PRAGMA cache_size = 1')\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "connection.execute(\"UPDATE mailbox SET display_name = 'half' || hex(randomblob(400))\")\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    whole = host.live(), host.ask()
    subprocess.run([sys.executable, "-c", writer, host.path], check=False)
    left = hot(Path(f"{host.path}-journal"))
    answer = host.users.ask(f"both@{host.domain}")
    healed = not hot(Path(f"{host.path}-journal"))
    return {"left": left, "healed": healed, "same": (host.live(), answer) == whole}


TASKS = {"modules": kill_modules, "publishers": kill_publishers, "race": race, "journal": break_off}


def main() -> None:
    settings = json.load(sys.stdin)
    json.dump(TASKS[settings["task"]](Host(settings)), sys.stdout)


if __name__ == "__main__":
    main()
