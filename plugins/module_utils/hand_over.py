# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replace a mail filter that runs by one with a new configuration, so that the mail server notices nothing.

    hand-over SOCKET CONFIGURATION COMMAND...    ExecReload=

Filters that stand on libmilter take a new configuration with a restart only, and while they are away the mail server
defers what clients send and users submit.  As ExecReload= of such a filter's unit this program starts another process
of it, on a socket beside SOCKET, waits until it answers, tells systemd that this is the one to watch, puts its socket
in the place of SOCKET, and ends the old one (MAINPID in the environment) when that has no session any more.  When the
new one does not answer nothing has happened, and the status is 1.

COMMAND runs the filter in the foreground; ``{}`` in it stands for a copy of CONFIGURATION that names the other socket.
The unit needs NotifyAccess=all.  This is a program of the host, which roles install; no module uses it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

READY_SECONDS = 20.0
SYSTEMD_SECONDS = 10.0
# How long the old process may go on with the sessions that it has.
DRAIN_SECONDS = 30.0
POLL_SECONDS = 0.05
# Of the milter protocol, version 6: SMFIC_OPTNEG with every action and step offered, and SMFIC_QUIT.
NEGOTIATION = struct.pack("!IcIII", 13, b"O", 6, 0x1FF, 0x1FFFFF)
QUIT = struct.pack("!Ic", 1, b"Q")
CONNECTED, STREAM = "03", "0001"  # columns of /proc/net/unix


class ProblemError(Exception):
    """The old process goes on; the text says why."""


def renamed(text: str, old: str, new: str) -> str:
    """A configuration with another socket."""
    if old not in text:
        raise ProblemError(f"the configuration does not name {old}")
    return text.replace(old, new)


def detached(command: Sequence[str]) -> int:
    """Start a program as a child of process 1, as systemd wants its main processes to be; returns its number."""
    reader, writer = os.pipe()
    between = os.fork()
    if not between:
        with suppress(OSError):
            started = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
            os.write(writer, str(started.pid).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(between, 0)
    with open(reader, encoding="ascii") as said:
        number = said.read()
    if not number:
        raise ProblemError(f"{command[0]} cannot be started")
    return int(number)


def alive(process: int) -> bool:
    """Whether it runs; one that has ended may still be waited for."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def answers(path: Path) -> bool:
    """Whether a filter on a socket begins a session."""
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(READY_SECONDS)
        try:
            connection.connect(str(path))
            connection.sendall(NEGOTIATION)
            with connection.makefile("rb") as stream:
                length = int.from_bytes(stream.read(4), "big")
                answer = stream.read(length)
            connection.sendall(QUIT)
        except OSError:
            return False
        return answer[:1] == b"O"


def wait_until_ready(path: Path, process: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not answers(path):
        if not alive(process):
            raise ProblemError("the process has ended")
        if time.monotonic() > deadline:
            raise ProblemError(f"the process does not answer within {READY_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def watch(process: int, address: str) -> None:
    """Tell systemd which process is the main one (sd_notify(3)), and wait until it knows."""
    reader, writer = os.pipe()
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as connection:
        connection.connect("\0" + address[1:] if address.startswith("@") else address)
        connection.sendall(f"MAINPID={process}".encode())
        socket.send_fds(connection, [b"BARRIER=1"], [writer])
    os.close(writer)
    waiting = select.poll()
    waiting.register(reader, 0)  # systemd closes its end; that is told in any case
    known = waiting.poll(SYSTEMD_SECONDS * 1000)
    os.close(reader)
    if not known:
        raise ProblemError("systemd does not say that it watches the new process")


def sessions(process: int) -> int:
    """How many clients of its sockets a process has.

    A socket that was accepted has the path of the one that listens.  It is listed in the client's network namespace, so
    where the unit has one of its own, it is a socket that is listed nowhere.
    """
    listed: set[str] = set()
    clients: set[str] = set()
    for line in table("unix"):
        _number, _references, _protocol, _flags, kind, state, inode, *path = line.split()
        listed.add(inode)
        if path and (kind, state) == (STREAM, CONNECTED):
            clients.add(inode)
    for name in ("tcp", "tcp6", "udp", "udp6", "netlink"):
        listed |= {line.split()[9] for line in table(name)}
    with suppress(FileNotFoundError):
        links = [os.readlink(entry) for entry in Path(f"/proc/{process}/fd").iterdir()]
        own = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
        return len(own & clients) + len(own - listed)
    return 0


def table(name: str) -> list[str]:
    """The sockets of a kind (proc(5), /proc/net), a line each; none where the kernel lacks the protocol."""
    path = Path(f"/proc/self/net/{name}")
    return path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []


def end(process: int, seconds: float = DRAIN_SECONDS) -> None:
    """In a process of its own: let another one end its sessions, then end it.

    It has nothing to put in order. Asked to end, a filter would remove what has the name of its socket, which is a
    successor's by now, and take five seconds for it.
    """
    if os.fork():
        return
    with suppress(OSError):
        deadline = time.monotonic() + seconds
        time.sleep(POLL_SECONDS)  # who has connected just now may not be seen yet
        while sessions(process) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        os.kill(process, signal.SIGKILL)
    os._exit(0)


@dataclass(frozen=True)
class Filter:
    """A filter as its unit describes it."""

    live: Path
    configuration: Path
    command: Sequence[str]

    def copied(self) -> tuple[Path, Path, list[str]]:
        """A socket, a configuration that names it, and the command for both."""
        listening, copy = (
            self.live.with_name(f".{path.name}.{os.getpid()}") for path in (self.live, self.configuration)
        )
        text = renamed(self.configuration.read_text(encoding="utf-8"), str(self.live), str(listening))
        copy.unlink(missing_ok=True)
        copy.touch(0o600)
        copy.write_text(text, encoding="utf-8")
        return listening, copy, [word.replace("{}", str(copy)) for word in self.command]


def hand_over(wanted: Filter, old: int, address: str) -> None:
    """Replace process `old`, which listens on the live socket; systemd listens on `address`."""
    listening, copy, command = wanted.copied()
    process = 0
    try:
        process = detached(command)
        wait_until_ready(listening, process)
        watch(process, address)
        listening.rename(wanted.live)
    except (OSError, ProblemError):
        if process:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        listening.unlink(missing_ok=True)
        raise
    finally:
        copy.unlink()
    end(old)


def main(arguments: Sequence[str]) -> int:
    """Return 0, or 1 with what is wrong on standard error."""
    live, configuration, *command = arguments
    try:
        old, address = int(os.environ["MAINPID"]), os.environ["NOTIFY_SOCKET"]
        hand_over(Filter(Path(live), Path(configuration), command), old, address)
    except (OSError, ProblemError) as problem:
        sys.stderr.write(f"{live}: {problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
