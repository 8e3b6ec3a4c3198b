# SPDX-License-Identifier: GPL-3.0-or-later
"""The service: its socket, its start, its end, and how a successor takes over without a gap.

A new process opens a socket of its own and renames it over the old one's: every mail server that connects finds
one or the other. The old process serves the sessions it has until they end. A successor that does not come up
changes nothing.
"""

from __future__ import annotations

import grp
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import settings, systemd
from .limits import LimitCheck
from .lookup import Directory
from .quota import QuotaCheck, QuotaStatus
from .recipients import only_mailbox
from .senders import SenderCheck
from .server import Server
from .session import Check, Envelope
from .settings import Settings
from .spam import SpamCheck, no_mailbox
from .spamd import Spamd
from .usage import Usage

LOG = logging.getLogger("postoffice_milter")
BACKLOG = 128
POLL = 0.1
PRIORITIES = {logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6}
READY = b"ready\n"
STOP_SIGNAL = signal.SIGUSR1


class JournalFormatter(logging.Formatter):
    """One line per message with the priority that systemd expects in front (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        priority = PRIORITIES.get(record.levelno, 6)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def log_to_journal() -> None:
    """Write the log to standard error as systemd likes it."""
    handler = logging.StreamHandler()
    handler.setFormatter(JournalFormatter("%(message)s"))
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)


def directory(chosen: Settings) -> Directory:
    """Return the directory that the settings name."""
    return Directory(Path(chosen.directory), Path(chosen.expressions) if chosen.expressions else None)


def checks(chosen: Settings) -> Sequence[Check]:
    """Return the checks that the settings ask for, in the order in which they are asked."""
    found: list[Check] = []
    delimiter = chosen.recipient_delimiter
    if chosen.check_senders:
        found.append(SenderCheck(directory(chosen), delimiter, chosen.check_names))
    if chosen.check_quota:
        status = QuotaStatus(Path(chosen.quota_status), float(chosen.quota_timeout))
        found.append(QuotaCheck(directory(chosen), status, delimiter))
    if chosen.check_spam:
        scanner = Spamd(Path(chosen.spamd), float(chosen.spam_timeout))
        found.append(SpamCheck(scanner, chosen.spam_refused_from, chosen.spam_pass_on_failure, mailbox(chosen)))
    if chosen.usage:
        found.append(LimitCheck(directory(chosen), Usage(Path(chosen.usage)), chosen.limits))
    return found


def mailbox(chosen: Settings) -> Callable[[Envelope], str]:
    """Return what says in which one mailbox a message will end, where spamd is to know that."""
    if not chosen.spam_per_mailbox:
        return no_mailbox
    known = directory(chosen)
    return lambda envelope: only_mailbox(envelope.recipients, known, chosen.recipient_delimiter)


class Listener:
    """The socket in the file system, opened under a name of this process and then renamed to where it belongs."""

    def __init__(self, path: Path, group: str) -> None:
        self._path = path
        self._group = group
        self._own = path.with_name(f"{path.name}.{os.getpid()}")
        self._inode = 0

    def open(self) -> socket.socket:
        """Open it for the group alone, unseen by anybody until :meth:`publish`."""
        self._own.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o117)
        try:
            listener.bind(str(self._own))
        finally:
            os.umask(before)
        if self._group:
            os.chown(self._own, -1, grp.getgrnam(self._group).gr_gid)
        listener.listen(BACKLOG)
        self._inode = self._own.stat().st_ino
        return listener

    def publish(self) -> None:
        """Put it where mail servers look."""
        self._own.rename(self._path)

    def was_taken_over(self) -> bool:
        """Whether a successor's socket is there now."""
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return False

    def withdraw(self) -> None:
        """Remove it, unless it is a successor's."""
        if not self.was_taken_over():
            self._path.unlink(missing_ok=True)


def serve(path: Path, predecessor: int | None) -> int:
    """Run until a signal ends it; ``predecessor`` is the process whose socket is taken over.

    From the moment when systemd knows the successor as the main process, its failure restarts the service; before,
    it changes nothing.
    """
    if predecessor:
        _leave_parent()
    signal.pthread_sigmask(signal.SIG_BLOCK, {STOP_SIGNAL})
    log_to_journal()
    chosen = settings.load(path)
    listener = Listener(Path(chosen.socket), chosen.socket_group)
    server = Server(listener.open(), checks(chosen), chosen.spam_scan_limit)
    threading.Thread(target=_end, args=(listener, server, chosen), daemon=True).start()
    if predecessor:
        systemd.notify(f"MAINPID={os.getpid()}")
        listener.publish()
        os.kill(predecessor, STOP_SIGNAL)
        _announce()
    else:
        listener.publish()
        systemd.notify("READY=1")
    LOG.info("ready on %s", chosen.socket)
    server.serve_forever()


def _end(listener: Listener, server: Server, chosen: Settings) -> None:
    """Wait for the signal, let what runs come to its end, and exit.

    The server goes on meanwhile. A successor's sessions are not ours, so that ours may last; without one, new sessions
    find nobody, and only messages that are under way are waited for.
    """
    signal.sigwait({STOP_SIGNAL})
    taken_over = listener.was_taken_over()
    listener.withdraw()
    running = server.running if taken_over else server.sessions.in_message
    deadline = time.monotonic() + (chosen.drain if taken_over else chosen.stop)
    while (left := running()) and time.monotonic() < deadline:
        if signal.sigtimedwait({STOP_SIGNAL}, POLL):
            running = server.sessions.in_message
            deadline = min(deadline, time.monotonic() + chosen.stop)
    LOG.log(logging.WARNING if left else logging.INFO, "stopped, sessions cut off: %d", left)
    logging.shutdown()
    os._exit(0)


def _leave_parent() -> None:
    """Become a child of systemd, which then knows when this process ends."""
    parent = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == parent:
        time.sleep(POLL / 10)


def _announce() -> None:
    """Tell :func:`reload`, which reads our standard output, and let go of it."""
    os.write(sys.stdout.fileno(), READY)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def reload(path: Path, main_pid: int) -> int:
    """Start a successor of ``main_pid`` and wait until it has taken over; return an exit status."""
    command = [sys.executable, "-IB", sys.argv[0], "--settings", str(path), "serve", "--predecessor", str(main_pid)]
    started = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    return 0 if started.stdout == READY else 1
