# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Teach SpamAssassin what people say about their mail: postoffice-learning learn|check|show|self-check.

Whoever moves a message into Junk, or out of it, has a copy dropped into the spool: a line ``CLASS USER``, then the
message. Clients wait for nothing else. This program teaches in the order of arrival, by the SPAMC protocol (TELL), and
counts. A message that cannot be taught now stays in the spool.

learn       teach what lies in the spool, and end
check       whether the settings can be read and spool and counters are where they belong
show        print what was learned, by user, how many messages wait, and for how many seconds the oldest one does
self-check  move a message into Junk and out of it, and fail when it is not learned both times; nothing of it remains
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SETTINGS = Path("/etc/postoffice/learning.json")
HEAD = re.compile(rb"(spam|ham) ([!-~]{1,320})\n")
ANSWER = re.compile(r"SPAMD/\d+\.\d+ (\d+) (\S+)")
ANSWER_LIMIT = 16 * 1024
STALE = 3600  # seconds after which an unfinished drop is nobody's any more
SITE = "*"
MAILBOX_FIELD = "X-Postoffice-Mailbox"
SELF_CHECK = "self-check"  # no address: who is no user, and whose messages are forgotten at once
SELF_CHECK_WITHIN = 120.0  # seconds; others may be first
DIALOGUE_STEPS = 6
SENDMAIL = "/usr/sbin/sendmail"
SELF_CHECK_MESSAGE = """\
From: <>\r
To: {user}\r
Subject: Post Office self-check {id}\r
Message-ID: <{id}@self-check.invalid>\r
\r
A message that nobody wrote, {id}, moved to see whether the filter learns.\r
"""


class LearningError(Exception):
    """Something that keeps messages from being taught now."""


@dataclass(frozen=True)
class Settings:
    """Where spool, counters and spamd are, how long spamd may take, and what is too large to be of use.

    With ``per_mailbox`` a message is taught twice: to the statistics of the site, and to those of its mailbox.

    For the self-check: a program that speaks IMAP as a user who has logged in, with ``{home}`` where it keeps mail, who
    runs it, and the folder for spam. Without a program the message is dropped into the spool as that program would.
    """

    spool: Path
    counters: Path
    spamd: str
    timeout: float
    size_limit: int
    drop: str
    session: tuple[str, ...] = ()
    mail_user: str = ""
    junk: str = "Junk"
    per_mailbox: bool = False

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
            str(given["drop"]),
            tuple(given["session"]),
            str(given["mail_user"]),
            str(given["junk"]),
            bool(given["per_mailbox"]),
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


def waiting(spool: Path) -> dict[Path, float]:
    """Return the files of the spool with the times when they came, the oldest first. They go when they are learned."""
    found = []
    for entry in (spool / "new").iterdir():
        try:
            found.append((entry.stat().st_mtime, entry))
        except FileNotFoundError:
            continue
    return {entry: when for when, entry in sorted(found)}


def tell(settings: Settings, drop: Drop, mailbox: str = "") -> bool:
    """Teach one message, to the site's statistics or to a mailbox's; return whether it was new there.

    Raises :class:`LearningError` when spamd cannot be asked.
    """
    kind = "spam" if drop.kind == "spam" else "ham"
    owner = f"{MAILBOX_FIELD}: {mailbox}\r\n".encode() if mailbox else b""
    return "didset:" in asked(settings, f"Message-class: {kind}\r\nSet: local", owner + drop.message)


def forget(settings: Settings, drop: Drop) -> None:
    """Let a message count for nothing again. Raises :class:`LearningError` when spamd cannot be asked."""
    asked(settings, "Remove: local", drop.message)


def asked(settings: Settings, fields: str, message: bytes) -> str:
    """Return, in lower case, what spamd answers to TELL. Raises :class:`LearningError` when it cannot be asked."""
    question = f"TELL SPAMC/1.5\r\n{fields}\r\nContent-length: {len(message)}\r\n\r\n".encode()
    deadline = time.monotonic() + settings.timeout
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(settings.timeout)
            connection.connect(settings.spamd)
            connection.sendall(question + message)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(received(connection, deadline)).decode("ascii", "replace")
    except OSError as error:
        raise LearningError(f"{settings.spamd}: {error}") from error
    status = ANSWER.match(answer)
    if not status or status[1] != "0":
        raise LearningError(f"{settings.spamd}: answered {answer[:80]!r}")
    return answer.lower()


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


def count(counters: Mapping[str, Mapping[str, int]], kind: str, new: Mapping[str, bool]) -> Counters:
    """Return the counters with one more for each of ``new``; what was known to it already is counted apart."""
    changed = {user: dict(values) for user, values in counters.items()}
    for user, was_new in new.items():
        name = kind if was_new else "known"
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
        new = taught(settings, drop)
        write_counters(settings.counters, count(read_counters(settings.counters), drop.kind, new))
        known = "" if new[drop.user] else ", known already"
        print(f"<6>learned {drop.kind}, user {drop.user}{known}", file=sys.stderr)
    path.unlink()


def taught(settings: Settings, drop: Drop) -> dict[str, bool]:
    """Teach one message; return to whose counters it belongs, and whether it was new there."""
    if drop.user == SELF_CHECK:
        new = tell(settings, drop)
        forget(settings, drop)
        return {SELF_CHECK: new}
    if settings.per_mailbox and "@" in drop.user:
        own = tell(settings, drop, drop.user)
        return {drop.user: own, SITE: tell(settings, drop)}
    new = tell(settings, drop)
    return {drop.user: new, SITE: new}


def remove_leftovers(spool: Path) -> None:
    """Remove drops that were never finished."""
    for entry in (spool / "tmp").iterdir():
        try:
            if time.time() - entry.stat().st_mtime > STALE:
                entry.unlink()
        except FileNotFoundError:
            continue


def show(settings: Settings) -> int:
    """Print the counters and what waits."""
    came = waiting(settings.spool)
    oldest = max(0, int(time.time() - min(came.values()))) if came else 0
    found = {"learned": read_counters(settings.counters), "oldest": oldest, "waiting": len(came)}
    print(json.dumps(found, sort_keys=True))
    return 0


def self_check(settings: Settings) -> int:
    """Move a message as a mail program does, see that it is learned as spam and then as ham; return the exit status."""
    before = counted(settings)
    message = SELF_CHECK_MESSAGE.format(user=SELF_CHECK, id=uuid.uuid4()).encode()
    try:
        move(settings, message)
        deadline = time.monotonic() + SELF_CHECK_WITHIN
        while missing := [kind for kind in ("spam", "ham") if counted(settings)[kind] <= before[kind]]:
            if time.monotonic() > deadline:
                raise LearningError(f"a message was moved and not learned as {missing[0]}: {why_not(settings)}")
            time.sleep(0.2)
    except (LearningError, OSError, subprocess.SubprocessError) as error:
        print(f"<3>SpamAssassin does not learn: {error}", file=sys.stderr)
        tell_root(f"SpamAssassin does not learn: {error}")
        return 1
    print("<6>a message that was moved into Junk and out of it was learned both times", file=sys.stderr)
    return 0


def tell_root(text: str) -> None:
    """Send root a mail, where the host can."""
    mail = f"To: root\nSubject: Post Office: the spam filter does not learn\n\n{text}\n".encode()
    try:
        subprocess.run([SENDMAIL, "root"], input=mail, capture_output=True, timeout=SELF_CHECK_WITHIN, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"<4>root cannot be told: {error}", file=sys.stderr)


def counted(settings: Settings) -> Mapping[str, int]:
    return {"spam": 0, "ham": 0} | read_counters(settings.counters).get(SELF_CHECK, {})


def why_not(settings: Settings) -> str:
    """Say how far the message came."""
    number = len(waiting(settings.spool))
    if number:
        return f"{number} messages wait in {settings.spool}; see journalctl -u postoffice-learning -u spamd"
    return f"nothing arrived in {settings.spool}; see journalctl -u dovecot -u postoffice-learning.path"


def move(settings: Settings, message: bytes) -> None:
    """Move a message into Junk and out of it, in a mailbox that lasts as long. Raises :class:`LearningError`."""
    if not settings.session:
        for kind in ("spam", "ham"):
            as_mail_user(settings, [settings.drop, kind, SELF_CHECK], message)
        return
    with tempfile.TemporaryDirectory() as home:
        if settings.mail_user:
            shutil.chown(home, settings.mail_user)
        program = [word.format(home=home) for word in settings.session]
        said = as_mail_user(settings, program, dialogue(settings.junk, message), home).decode("utf-8", "replace")
    refused = re.search(r"^a\d (?:NO|BAD) .*", said, re.MULTILINE)
    if refused or len(re.findall(r"^a\d OK ", said, re.MULTILINE)) != DIALOGUE_STEPS:
        raise LearningError(f"{program[0]} moves no message: {(refused[0] if refused else said[-300:]).strip()}")


def dialogue(junk: str, message: bytes) -> bytes:
    """Return what a mail program says (RFC 9051): a message arrives, is moved into Junk, and back."""
    folder = junk.replace("\\", "\\\\").replace('"', '\\"')
    moves = [f"APPEND INBOX {{{len(message)}+}}\r\n{message.decode()}", "SELECT INBOX", f'MOVE 1 "{folder}"']
    moves += [f'SELECT "{folder}"', "MOVE 1 INBOX", "LOGOUT"]
    return "".join(f"a{number} {words}\r\n" for number, words in enumerate(moves, 1)).encode()


def as_mail_user(settings: Settings, argv: Sequence[str], stdin: bytes, home: str = "/") -> bytes:
    """Run a program as the user of the mailboxes. Raises :class:`LearningError` when it fails."""
    done = subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        timeout=SELF_CHECK_WITHIN,
        check=False,
        cwd=home,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, "USER": SELF_CHECK, "LOGNAME": SELF_CHECK},
        user=settings.mail_user or None,
        group=settings.mail_user or None,
        extra_groups=[] if settings.mail_user else None,
    )
    if done.returncode:
        raise LearningError(f"{argv[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def check(settings: Settings) -> int:
    """Say what is wrong; return the exit status."""
    bad = [path for path in (Path(settings.spamd), settings.counters) if not path.is_absolute()]
    for path in bad:
        print(f"{SETTINGS}: {path} is not an absolute path", file=sys.stderr)
    return 1 if bad or settings.timeout <= 0 or settings.size_limit <= 0 else 0


def main(arguments: list[str]) -> int:
    actions = {"learn": learn, "check": check, "show": show, "self-check": self_check}
    if len(arguments) != 1 or arguments[0] not in actions:
        print("usage: postoffice-learning learn|check|show|self-check", file=sys.stderr)
        return 2
    try:
        settings = Settings.read(SETTINGS)
    except (OSError, ValueError, KeyError) as error:
        print(f"{SETTINGS}: {error!r}", file=sys.stderr)
        return 1
    return actions[arguments[0]](settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
