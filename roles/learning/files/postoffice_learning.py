# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Teach SpamAssassin what people say about their mail: postoffice-learning learn|check|show.

Whoever moves a message into Junk, or out of it, has a copy dropped into the spool: a line ``CLASS USER``, then the
message. Clients wait for nothing else. This program teaches in the order of arrival, by the SPAMC protocol (TELL), and
counts. A message that cannot be taught now stays in the spool.

learn    teach what lies in the spool, and end
check    whether the settings can be read and spool and counters are where they belong
show     print what was learned, by user
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SETTINGS = Path("/etc/postoffice/learning.json")
HEAD = re.compile(rb"(spam|ham) ([!-~]{1,320})\n")
ANSWER = re.compile(r"SPAMD/\d+\.\d+ (\d+) (\S+)")
ANSWER_LIMIT = 16 * 1024
STALE = 3600  # seconds after which an unfinished drop is nobody's any more
SITE = "*"


class LearningError(Exception):
    """Something that keeps messages from being taught now."""


@dataclass(frozen=True)
class Settings:
    """Where spool, counters and spamd are, how long spamd may take, and what is too large to be of use."""

    spool: Path
    counters: Path
    spamd: str
    timeout: float
    size_limit: int

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Raises ``OSError``, ``ValueError`` and ``KeyError``."""
        given = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            Path(given["spool"]),
            Path(given["counters"]),
            str(given["spamd"]),
            float(given["timeout"]),
            int(given["size_limit"]),
        )


@dataclass(frozen=True)
class Drop:
    """A message and what its reader says about it."""

    kind: str
    user: str
    message: bytes


def parse(content: bytes) -> Drop | None:
    """Return what a file of the spool says; None when it says nothing."""
    head = HEAD.match(content)
    if head is None:
        return None
    return Drop(head[1].decode(), head[2].decode().lower(), content[head.end() :])


def waiting(spool: Path) -> list[Path]:
    """Return the files of the spool, the oldest first."""
    found = []
    for entry in (spool / "new").iterdir():
        try:
            found.append((entry.stat().st_mtime_ns, entry))
        except FileNotFoundError:
            continue
    return [entry for _when, entry in sorted(found)]


def tell(settings: Settings, drop: Drop) -> bool:
    """Teach one message; return whether it was new. Raises :class:`LearningError` when spamd cannot be asked."""
    kind = b"spam" if drop.kind == "spam" else b"ham"
    question = b"TELL SPAMC/1.5\r\nMessage-class: %b\r\nSet: local\r\nContent-length: %d\r\n\r\n" % (
        kind,
        len(drop.message),
    )
    deadline = time.monotonic() + settings.timeout
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(settings.timeout)
            connection.connect(settings.spamd)
            connection.sendall(question + drop.message)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(received(connection, deadline)).decode("ascii", "replace")
    except OSError as error:
        raise LearningError(f"{settings.spamd}: {error}") from error
    status = ANSWER.match(answer)
    if not status or status[1] != "0":
        raise LearningError(f"{settings.spamd}: answered {answer[:80]!r}")
    return "didset:" in answer.lower()


def received(connection: socket.socket, deadline: float) -> Iterator[bytes]:
    """Yield what comes until the other side ends; raises ``OSError``."""
    size = 0
    while chunk := connection.recv(ANSWER_LIMIT):
        size += len(chunk)
        if size > ANSWER_LIMIT or time.monotonic() > deadline:
            raise OSError("the answer has no end")
        yield chunk


Counters = dict[str, dict[str, int]]


def read_counters(path: Path) -> Counters:
    """Return the counters by user; ``*`` is everybody. Damaged ones begin anew."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def count(counters: Mapping[str, Mapping[str, int]], drop: Drop, new: bool) -> Counters:
    """Return the counters with one more; what was known already is counted apart."""
    name = drop.kind if new else "known"
    changed = {user: dict(values) for user, values in counters.items()}
    for user in (drop.user, SITE):
        values = changed.setdefault(user, {"spam": 0, "ham": 0, "known": 0})
        values[name] = values.get(name, 0) + 1
    return changed


def write_counters(path: Path, counters: Counters) -> None:
    """Replace the file in one step."""
    new = path.with_suffix(".new")
    with new.open("w", encoding="utf-8") as file:
        json.dump(counters, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def learn(settings: Settings) -> int:
    """Teach everything that waits; return the exit status. Ends at the first message that cannot be taught now."""
    remove_leftovers(settings.spool)
    while paths := waiting(settings.spool):
        for path in paths:
            try:
                teach(settings, path)
            except LearningError as error:
                print(f"<4>learning waits: {error}", file=sys.stderr)
                return 1
    return 0


def teach(settings: Settings, path: Path) -> None:
    """Teach one file of the spool and remove it."""
    drop = parse(path.read_bytes())
    if drop is None:
        print(f"<4>{path}: not a message to learn from, removed", file=sys.stderr)
    elif len(drop.message) > settings.size_limit:
        print(f"<6>too large to learn from, {len(drop.message)} octets, user {drop.user}", file=sys.stderr)
    else:
        new = tell(settings, drop)
        write_counters(settings.counters, count(read_counters(settings.counters), drop, new))
        print(f"<6>learned {drop.kind}, user {drop.user}{'' if new else ', known already'}", file=sys.stderr)
    path.unlink()


def remove_leftovers(spool: Path) -> None:
    """Remove drops that were never finished."""
    for entry in (spool / "tmp").iterdir():
        try:
            if time.time() - entry.stat().st_mtime > STALE:
                entry.unlink()
        except FileNotFoundError:
            continue


def show(settings: Settings) -> int:
    """Print the counters, everybody first."""
    counters = read_counters(settings.counters)
    print(json.dumps({"waiting": len(waiting(settings.spool)), "learned": counters}, sort_keys=True))
    return 0


def check(settings: Settings) -> int:
    """Say what is wrong; return the exit status."""
    bad = [path for path in (Path(settings.spamd), settings.counters) if not path.is_absolute()]
    for path in bad:
        print(f"{SETTINGS}: {path} is not an absolute path", file=sys.stderr)
    return 1 if bad or settings.timeout <= 0 or settings.size_limit <= 0 else 0


def main(arguments: list[str]) -> int:
    actions = {"learn": learn, "check": check, "show": show}
    if len(arguments) != 1 or arguments[0] not in actions:
        print("usage: postoffice-learning learn|check|show", file=sys.stderr)
        return 2
    try:
        settings = Settings.read(SETTINGS)
    except (OSError, ValueError, KeyError) as error:
        print(f"{SETTINGS}: {error!r}", file=sys.stderr)
        return 1
    return actions[arguments[0]](settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
