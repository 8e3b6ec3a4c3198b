# SPDX-License-Identifier: GPL-3.0-or-later
"""SpamAssassin's spamd, asked by the SPAMC protocol (spamd/PROTOCOL in SpamAssassin's sources), version 1.5."""

from __future__ import annotations

import math
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from .verdict import UnavailableError, printable

ANSWER_LIMIT = 64 * 1024
PATIENCE = 20.0  # seconds; it reads its rules in 2 to 10
BREATH = 0.2
# Its socket is gone, there without anybody behind it, or not yet opened to others, in this order.
AWAY = (FileNotFoundError, ConnectionRefusedError, PermissionError, ConnectionResetError, BrokenPipeError)
_STATUS = re.compile(r"SPAMD/\d+\.\d+ (\d+) (\S+)")
_VERDICT = re.compile(r"(?:True|False|Yes|No)\s*;\s*(-?\d+(?:\.\d+)?)\s*/\s*(-?\d+(?:\.\d+)?)")
_TEST = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class Score:
    """What spamd says: the points, how many make it spam, and the names of the rules that hit."""

    points: float
    required: float
    tests: tuple[str, ...] = ()

    @property
    def is_spam(self) -> bool:
        """Whether the message has reached the required score."""
        return self.points >= self.required


class Spamd:
    """A running spamd behind a socket in the file system; ``timeout`` in seconds is for a whole scan."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout

    def scan(self, message: bytes) -> Score:
        """Return the score of a message; raises :class:`UnavailableError` for any trouble."""
        try:
            return parse_answer(self._ask(b"SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(message) + message))
        except (OSError, ValueError) as error:
            raise UnavailableError(f"spamd, {self._path}: {printable(str(error), 200)}") from error

    def ping(self) -> None:
        """Ask whether it answers; raises :class:`UnavailableError`."""
        try:
            answer = self._ask(b"PING SPAMC/1.5\r\n\r\n").decode("ascii", "replace")
        except (OSError, ValueError) as error:
            raise UnavailableError(f"spamd, {self._path}: {printable(str(error), 200)}") from error
        if not re.match(r"SPAMD/\d+\.\d+ 0 PONG", answer):
            raise UnavailableError(f"spamd, {self._path}: {printable(answer)!r} to PING")

    def _ask(self, question: bytes) -> bytes:
        """Return the answer. While spamd starts anew (new rules, a crash) it is asked again; a scan changes nothing."""
        deadline = time.monotonic() + self._timeout
        patience = time.monotonic() + min(PATIENCE, self._timeout / 2)
        while True:
            try:
                if answer := self._ask_once(question, deadline):
                    return answer
                raise ConnectionResetError("no answer")
            except AWAY as error:
                if time.monotonic() > patience:
                    raise ConnectionError(str(error)) from error
                time.sleep(BREATH)

    def _ask_once(self, question: bytes, deadline: float) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(self._timeout)
            connection.connect(str(self._path))
            connection.sendall(question)
            connection.shutdown(socket.SHUT_WR)
            return _read(connection, deadline)


def _read(connection: socket.socket, deadline: float) -> bytes:
    answer = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        connection.settimeout(left)
        chunk = connection.recv(ANSWER_LIMIT)
        if not chunk:
            return answer
        answer += chunk
        if len(answer) > ANSWER_LIMIT:
            raise ValueError("the answer has no end")


def parse_answer(answer: bytes) -> Score:
    """Turn the answer to SYMBOLS into a score; raises ``ValueError`` for anything that is not a complete one."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii", "replace").split("\r\n")
    status = _STATUS.match(first)
    if not status:
        raise ValueError(f"answered {printable(first)!r}")
    if status[1] != "0":
        raise ValueError(f"answered {status[1]} {printable(status[2])}")
    fields = {name.strip().lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines)}
    verdict = _VERDICT.fullmatch(fields.get("spam", ""))
    if not blank or not verdict or fields.get("content-length") != str(len(body)):
        raise ValueError("the answer is not complete")
    points, required = float(verdict[1]), float(verdict[2])
    if not (math.isfinite(points) and math.isfinite(required)):
        raise ValueError("the score is no number")
    return Score(points, required, tuple(_TEST.findall(body.decode("ascii", "replace"))))
