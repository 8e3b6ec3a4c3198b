# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check, run and probe what the role clamav configures.

    clamav-config check|restart|reload|probe|run|stop|databases|ready

check      runs clamd and clamav-milter with the new configuration, a small database and sockets of their own: none of
           ClamAV's daemons has a checker. They have to find a test virus; the limits have to fit the mail server's.
restart    restarts what runs; reload makes clamd read its databases again. Without databases clamd is left alone. The
           milter is never away: while clamd is, it defers what it cannot have scanned.
probe      clamd answers, and the milter refuses a test virus.
run        fetches databases where there are none, enables and starts the units; says what it did, or would (--dry-run).
stop       disables and stops the units; says so, too.
databases  whether clamd may start: with a part of its databases it would let viruses through.
ready      waits until clamd answers, and lets the milter notice.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

SETTINGS = Path("/etc/postoffice/clamav.json")
CLAMD = Path("/etc/clamav/clamd.conf")
MILTER = Path("/etc/clamav/clamav-milter.conf")
FRESHCLAM = Path("/etc/clamav/freshclam.conf")
PROGRAMS = {CLAMD: "/usr/sbin/clamd", MILTER: "/usr/sbin/clamav-milter", FRESHCLAM: "/usr/bin/freshclam"}
USER = "clamav"
DAEMON, MILTER_UNIT, UPDATER = "clamav-daemon.service", "clamav-milter.service", "clamav-freshclam.service"
SOCKET_UNIT = "clamav-daemon.socket"

NOT_INSTALLED = 127
TRIAL_SECONDS = 20
PROBE_SECONDS = 5
# Longer than clamd may take to load its databases; the unit's TimeoutStartSec comes first.
READY_SECONDS = 600
# Postfix waits so long for a milter at the end of a message (milter_content_timeout).
MAIL_SERVER_SECONDS = 300
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}

# The test virus of eicar.org, put together here so that no scanner takes this file for it.
TEST_VIRUS = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-" + b"ANTIVIRUS-TEST-FILE!$H+H*"


class ProblemError(Exception):
    """Something that an operator has to put right; the text says what and where."""


@dataclass(frozen=True)
class Settings:
    """What the role wants of ClamAV, in seconds and octets."""

    clamd_socket: str
    milter_socket: str
    groups: list[str]
    directory: str
    official: list[str]
    custom: list[str]
    local: list[str]
    message_limit: int
    timeout: int
    fetch_seconds: int

    @classmethod
    def load(cls) -> Settings:
        """Read the file that the role writes."""
        values: dict[str, Any] = json.loads(SETTINGS.read_text(encoding="utf-8"))
        return cls(**values)

    @property
    def updated(self) -> bool:
        """Whether there is anything for freshclam to fetch."""
        return bool(self.official or self.custom)

    def missing(self) -> list[str]:
        """Databases that have to be there and are not."""
        folder = Path(self.directory)
        official = [
            name for name in self.official if not any((folder / f"{name}.{end}").exists() for end in ("cvd", "cld"))
        ]
        return official + [name for name in self.custom if not (folder / name).exists()]


# Configuration files


def options(path: Path) -> dict[str, list[str]]:
    """The options of a configuration file of ClamAV, with their values."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _blank, value = line.strip().partition(" ")
        if name and not name.startswith("#"):
            found.setdefault(name, []).append(value.strip())
    return found


def octets(value: str) -> int:
    """A size as ClamAV writes it: 100M."""
    match = re.fullmatch(r"(\d+)([KMG]?)", value.upper())
    if not match:
        raise ProblemError(f"{value} is no size")
    return int(match[1]) * UNITS.get(match[2], 1)


def with_options(path: Path, changes: dict[str, str | None]) -> str:
    """The text of a configuration file with some options replaced or, for None, left out."""
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if line.split(" ")[0] not in changes]
    return "\n".join([*kept, *(f"{name} {value}" for name, value in changes.items() if value is not None)]) + "\n"


# What clamd and the milter say


def ask_clamd(path: str, command: bytes, seconds: float = PROBE_SECONDS) -> str:
    """One command of clamd's protocol (clamd(8)), and its answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(path)
        connection.sendall(b"z" + command + b"\0")
        with connection.makefile("rb") as stream:
            return stream.read().rstrip(b"\0").decode("utf-8", "replace")


def ask_milter(path: str, body: bytes, seconds: float = PROBE_SECONDS) -> str:
    """What a milter answers to a message (protocol version 6): accepted, deferred, or its own words."""
    steps = {b"C": 0x1, b"M": 0x4, b"R": 0x8, b"B": 0x10, b"L": 0x20, b"N": 0x40}
    commands = [
        (b"C", b"localhost\0" + b"4" + struct.pack("!H", 25) + b"192.0.2.1\0"),
        (b"M", b"<>\0"),
        (b"R", b"<postmaster>\0"),
        (b"L", b"Subject\0ClamAV probe\0"),
        (b"N", b""),
        (b"B", body + b"\r\n"),
        (b"E", b""),
    ]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(path)
        with connection.makefile("rb") as stream:
            send(connection, b"O", struct.pack("!III", 6, 0x1FF, 0x7F))
            skipped = struct.unpack("!III", receive(stream)[1][:12])[2]
            for code, payload in commands:
                if skipped & steps.get(code, 0):
                    continue
                send(connection, code, payload)
                answer, text = final(stream)
                if answer != b"c":
                    break
            send(connection, b"Q", b"")
    words = {
        b"a": "accepted",
        b"c": "accepted",
        b"t": "deferred",
        b"r": "refused",
        b"d": "discarded",
        b"q": "quarantined",
    }
    return text.rstrip(b"\0").decode("utf-8", "replace") if answer == b"y" else words.get(answer, repr(answer))


def send(connection: socket.socket, code: bytes, payload: bytes) -> None:
    connection.sendall(struct.pack("!I", 1 + len(payload)) + code + payload)


def receive(stream: BinaryIO) -> tuple[bytes, bytes]:
    head = stream.read(4)
    content = stream.read(struct.unpack("!I", head)[0]) if len(head) == 4 else b""
    if not content:
        raise ConnectionError("the milter closed the connection")
    return content[:1], content[1:]


def final(stream: BinaryIO) -> tuple[bytes, bytes]:
    """An answer other than progress, or a header that is added."""
    while True:
        code, text = receive(stream)
        if code not in b"phim":
            return code, text


def demand_refusal(path: str) -> None:
    """The milter has to refuse the test virus."""
    answer = ask_milter(path, TEST_VIRUS)
    if answer in ("accepted", "deferred") or answer.startswith("4"):
        raise ProblemError(f"clamav-milter: {answer} instead of refused: a message with a test virus")


# Check


def check(settings: Settings) -> Iterator[str]:
    for path, program in PROGRAMS.items():
        if not Path(program).exists():
            print(f"{program} is not installed", file=sys.stderr)
            sys.exit(NOT_INSTALLED)
        # clamav-milter does not read its configuration before it says its version; the trial makes it.
        if path != MILTER:
            said = subprocess.run(
                [program, "--version"], capture_output=True, text=True, timeout=TRIAL_SECONDS, check=False
            )
            if said.returncode:
                yield errors(said.stderr + said.stdout)
    for name in settings.groups:
        try:
            grp.getgrnam(name)
        except KeyError:
            yield f"{MILTER}: there is no group {name}"
    yield from check_limits(settings)
    yield from check_trial(settings)


def errors(text: str) -> str:
    """The first lines in which a daemon says what is wrong."""
    lines = text.splitlines()
    found = [line for line in lines if "ERROR" in line or "Error" in line] or lines or ["no reason"]
    return "\n".join(re.sub(r"^ERROR: (?:Parse error at )?", "", line) for line in found[:3])


def check_limits(settings: Settings) -> Iterator[str]:
    """A file over clamd's limits counts as clean, and of a message over the milter's only the beginning is scanned."""
    clamd, milter = options(CLAMD), options(MILTER)
    for path, found, names in (
        (CLAMD, clamd, ("MaxFileSize", "MaxScanSize", "StreamMaxLength")),
        (MILTER, milter, ("MaxFileSize",)),
    ):
        for name in names:
            value = found.get(name, ["0"])[-1]
            if octets(value) < settings.message_limit and (value != "0" or path == MILTER):
                yield f"{path}: {name} {value} is less than the largest message, {settings.message_limit} octets"
    timeout = int(milter.get("ReadTimeout", ["120"])[-1])
    if not 0 < timeout < MAIL_SERVER_SECONDS:
        yield f"{MILTER}: ReadTimeout {timeout} (clamav_timeout) is not below {MAIL_SERVER_SECONDS}, Postfix's own"


def check_trial(settings: Settings) -> Iterator[str]:
    """Start both with the new configuration, where AppArmor lets clamd read and listen: below /tmp."""
    with tempfile.TemporaryDirectory(prefix="postoffice-clamav-", dir="/tmp") as made:
        folder = Path(made)
        database = folder / "database"
        database.mkdir()
        for name in settings.local:
            shutil.copy(Path(settings.directory) / name, database)
        clamd, milter = str(folder / "clamd"), str(folder / "milter")
        trial = {
            CLAMD: {
                "LocalSocket": clamd,
                "LocalSocketGroup": None,
                "DatabaseDirectory": str(database),
                "PidFile": None,
                "LogFile": None,
            },
            MILTER: {
                "MilterSocket": f"unix:{milter}",
                "MilterSocketGroup": None,
                "ClamdSocket": f"unix:{clamd}",
                "PidFile": None,
                "LogFile": None,
            },
        }
        for path, changes in trial.items():
            (folder / path.name).write_text(with_options(path, {**changes, "Foreground": "yes"}), encoding="utf-8")
        own(folder)
        try:
            with started(CLAMD, folder) as alive:
                answered(lambda: ask_clamd(clamd, b"PING") == "PONG", alive)
                with started(MILTER, folder) as alive_too:
                    answered(lambda: ask_milter(milter, b"") == "accepted", alive_too)
                    demand_refusal(milter)
        except ProblemError as problem:
            yield str(problem).replace(str(database), settings.directory).replace(str(folder), str(CLAMD.parent))


def own(folder: Path) -> None:
    """Give a folder to the user of ClamAV."""
    account = pwd.getpwnam(USER)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid)


@contextmanager
def started(path: Path, folder: Path) -> Iterator[Callable[[], None]]:
    """Run a daemon with the configuration in the folder; yields what raises ProblemError once it has ended."""
    with ExitStack() as stack:
        output = stack.enter_context((folder / f"{path.name}.log").open("w+", encoding="utf-8", errors="replace"))
        process = subprocess.Popen(
            [PROGRAMS[path], f"--config-file={folder / path.name}"],
            user=USER,
            group=pwd.getpwnam(USER).pw_gid,
            extra_groups=[],
            cwd="/",
            stdout=output,
            stderr=subprocess.STDOUT,
        )

        def alive() -> None:
            if process.poll() is not None:
                output.seek(0)
                raise ProblemError(errors(output.read()))

        try:
            yield alive
        finally:
            process.kill()
            process.wait()


def answered(attempt: Callable[[], bool], alive: Callable[[], None], seconds: float = TRIAL_SECONDS) -> None:
    """Ask until the answer is right."""
    deadline = time.monotonic() + seconds
    reason = "another answer"
    while time.monotonic() < deadline:
        alive()
        try:
            if attempt():
                return
        except OSError as error:
            reason = str(error)
        time.sleep(0.05)
    raise ProblemError(f"no answer within {seconds:.0f} s: {reason}")


# Run


def databases(settings: Settings) -> Iterator[str]:
    if missing := settings.missing():
        yield f"no database {', '.join(missing)} in {settings.directory}; freshclam fetches it: journalctl -u {UPDATER}"


def ready(settings: Settings) -> Iterator[str]:
    answered(lambda: ask_clamd(settings.clamd_socket, b"PING") == "PONG", lambda: None, READY_SECONDS)
    # The milter looks for a clamd that was gone once a minute, and after a message that it could not have scanned.
    with contextlib.suppress(OSError):
        for _attempt in range(5):
            if ask_milter(settings.milter_socket, b"") == "accepted":
                break
            time.sleep(0.2)
    yield from ()


def probe(settings: Settings) -> Iterator[str]:
    """Ask what runs. Where there are no databases yet, `run` fetches them and asks then."""
    if states(UPDATER)[UPDATER][1] in ("activating", "failed"):
        yield f"freshclam does not run: journalctl -u {UPDATER}"
    if settings.missing():
        return
    if systemctl("is-active", "--quiet", DAEMON).returncode:
        return
    answer = ask_clamd(settings.clamd_socket, b"PING")
    if answer != "PONG":
        yield f"clamd answers {answer!r} to PING"
    demand_refusal(settings.milter_socket)


def systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)


def demand(*arguments: str) -> None:
    """Run systemctl; its failure is a problem."""
    done = systemctl(*arguments)
    if done.returncode:
        raise ProblemError(done.stderr.strip() or f"systemctl {' '.join(arguments)}: exit {done.returncode}")


def restart(settings: Settings) -> Iterator[str]:
    demand("try-restart", UPDATER, *([] if settings.missing() else [DAEMON]))
    demand("try-reload-or-restart", MILTER_UNIT)
    yield from ()


def reload(settings: Settings) -> Iterator[str]:
    if not settings.missing() and not systemctl("is-active", "--quiet", DAEMON).returncode:
        demand("reload", DAEMON)
    demand("try-reload-or-restart", MILTER_UNIT)
    yield from ()


def fetch(settings: Settings) -> None:
    """Run freshclam once, for a limited time, and say what it said when that was in vain."""
    group = pwd.getpwnam(USER).pw_gid
    try:
        done = subprocess.run(
            [PROGRAMS[FRESHCLAM], "--stdout"],
            user=USER,
            group=group,
            extra_groups=[],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=settings.fetch_seconds,
            check=False,
        )
        said = done.stdout
    except subprocess.TimeoutExpired as expired:
        said = (
            expired.stdout or b""
        ) + f"\nstopped after {settings.fetch_seconds} s (clamav_first_update_seconds)".encode()
    if missing := settings.missing():
        lines = [line for line in re.split(r"[\r\n]+", said.decode("utf-8", "replace")) if line.strip()]
        raise ProblemError(
            f"ClamAV has no database {', '.join(missing)}, and freshclam could not fetch it."
            " Until it can, mail is deferred.\n"
            "Let this host reach the mirror (clamav_mirrors for one of your own), or set clamav_enabled: false.\n"
            "freshclam said:\n" + "\n".join(lines[-15:])
        )


def run(settings: Settings, dry: bool) -> Iterator[str]:
    """Fetch, enable and start what has to be; yields what was done."""
    units = [DAEMON, MILTER_UNIT] + ([UPDATER] if settings.updated else [])
    before = states(DAEMON, MILTER_UNIT, UPDATER, SOCKET_UNIT)
    missing = settings.missing()
    unmasked = before[SOCKET_UNIT][0] != "masked"
    disabled = [unit for unit in units if before[unit][0] != "enabled"]
    inactive = [unit for unit in units if before[unit][1] != "active"]
    idle = not settings.updated and (before[UPDATER][0] == "enabled" or before[UPDATER][1] == "active")
    if not dry:
        if missing:
            fetch(settings)
        if unmasked:
            # Debian's socket would take away the one that clamd listens on.
            demand("stop", DAEMON)
            demand("mask", "--now", SOCKET_UNIT)
        if idle:
            demand("disable", "--now", UPDATER)
        if disabled:
            demand("enable", *disabled)
        if inactive or unmasked:
            demand("start", *units)
            answered(lambda: not list(probe(settings)), lambda: None)
    yield from (f"fetched {name}" for name in missing)
    yield from (f"masked {SOCKET_UNIT}" for _once in range(unmasked))
    yield from (f"disabled {UPDATER}" for _once in range(idle))
    yield from (f"enabled {unit}" for unit in disabled)
    yield from (f"started {unit}" for unit in inactive)


def stop(dry: bool) -> Iterator[str]:
    """Disable and stop what is installed; yields what was done."""
    for unit, (enabled, active) in states(MILTER_UNIT, DAEMON, UPDATER).items():
        if enabled == "enabled" or active not in ("inactive", "failed"):
            if not dry:
                demand("disable", "--now", unit)
            yield f"disabled {unit}"


def states(*units: str) -> dict[str, tuple[str, str]]:
    """Whether units are enabled, and whether they are active, in systemd's words."""
    shown = systemctl("show", "--property=Id,UnitFileState,ActiveState", *units).stdout
    found = [dict(line.split("=", 1) for line in block.splitlines()) for block in shown.strip().split("\n\n")]
    return {unit["Id"]: (unit["UnitFileState"], unit["ActiveState"]) for unit in found}


def main(arguments: Sequence[str]) -> int:
    """Return 0, or 1 with what is wrong on standard error. What was done goes to standard output."""
    command, dry = arguments[0], "--dry-run" in arguments
    settings = Settings.load()
    doing: dict[str, Callable[[], Iterable[str]]] = {"run": lambda: run(settings, dry), "stop": lambda: stop(dry)}
    judging: dict[str, Callable[[], Iterable[str]]] = {
        "check": lambda: check(settings),
        "restart": lambda: restart(settings),
        "reload": lambda: reload(settings),
        "probe": lambda: probe(settings),
        "databases": lambda: databases(settings),
        "ready": lambda: ready(settings),
    }
    try:
        for line in doing[command]() if command in doing else ():
            print(line)
        problems = list(judging[command]()) if command in judging else []
    except (OSError, ProblemError) as problem:
        problems = [str(problem)]
    for text in problems:
        print(text, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
