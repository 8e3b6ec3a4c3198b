# SPDX-License-Identifier: GPL-3.0-or-later
"""The mail server's side of the milter protocol (version 6), as much as a probe and tests need."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from . import protocol
from .protocol import ACCEPT, CONTINUE, SKIP, ProtocolError, packet

NO_REPLY_STEPS = {b"L": 0x80, b"C": 0x1000, b"H": 0x2000, b"M": 0x4000, b"R": 0x8000, b"T": 0x10000, b"N": 0x40000}
SKIPPED_STEPS = {b"C": 0x1, b"H": 0x2, b"M": 0x4, b"R": 0x8, b"B": 0x10, b"L": 0x20, b"N": 0x40, b"T": 0x200}


@dataclass(frozen=True)
class Answer:
    """What the milter says to a command: its code and, for a reply of its own, the SMTP line."""

    code: bytes
    text: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether the mail server carries on with this command."""
        return self.code in (CONTINUE, ACCEPT, SKIP)

    def __str__(self) -> str:
        return self.text or self.code.decode("ascii", "replace")


NOTHING = Answer(CONTINUE)


class MilterClient:
    """A connection to a milter; every method sends what a mail server would send and returns the answer."""

    def __init__(self, path: str, timeout: float = 20.0, offered: int = protocol.ALL_STEPS) -> None:
        self._offered = offered
        self.changes: list[tuple[str, int, str | None]] = []
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.settimeout(timeout)
            self._connection.connect(path)
            self._stream = self._connection.makefile("rb")
            self.actions, self.steps, self.macros = self._negotiate()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> MilterClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.quit()

    def _send(self, command: bytes, payload: bytes = b"") -> None:
        self._connection.sendall(packet(command, payload))

    def _receive(self) -> tuple[bytes, bytes]:
        received = protocol.read_packet(self._stream)
        if received is None:
            raise ProtocolError("the milter closed the connection")
        return received

    def _negotiate(self) -> tuple[int, int, dict[int, str]]:
        self._connection.sendall(protocol.negotiation(protocol.ALL_ACTIONS, self._offered))
        code, payload = self._receive()
        if code != protocol.NEGOTIATE:
            raise ProtocolError(f"the milter answered {code!r} to the option negotiation")
        return protocol.read_negotiation(payload)[1:]

    def _ask(self, command: bytes, payload: bytes = b"") -> Answer:
        if self.steps & SKIPPED_STEPS.get(command, 0):
            return NOTHING
        self._send(command, payload)
        if self.steps & NO_REPLY_STEPS.get(command, 0):
            return NOTHING
        while True:
            code, text = self._receive()
            if code in (protocol.INSERT_FIELD, protocol.CHANGE_FIELD):
                name, value = (part.decode() for part in protocol.strings(text[4:]))
                self.changes.append((name, struct.unpack("!I", text[:4])[0], value or None))
            elif code != protocol.PROGRESS:
                return Answer(code, text.rstrip(b"\0").decode("utf-8", "replace"))

    def _macros(self, command: bytes, values: Mapping[str, str]) -> None:
        if values:
            pairs = b"".join(name.encode() + b"\0" + value.encode() + b"\0" for name, value in values.items())
            self._send(b"D", command + pairs)

    def connect(
        self, host: str = "client.example", address: str = "192.0.2.1", macros: Mapping[str, str] | None = None
    ) -> Answer:
        """A client connected."""
        self._macros(protocol.CONNECT, macros or {})
        family = b"6" if ":" in address else b"4"
        return self._ask(protocol.CONNECT, host.encode() + b"\0" + family + b"\4\1" + address.encode() + b"\0")

    def helo(self, name: str = "client.example") -> Answer:
        """The client greeted."""
        return self._ask(b"H", name.encode() + b"\0")

    def mail(self, sender: str, login: str = "", parameters: Sequence[str] = ()) -> Answer:
        """MAIL FROM, by an authenticated client when ``login`` is given."""
        self._macros(b"M", {"{auth_authen}": login, "{auth_type}": "PLAIN"} if login else {})
        return self._ask(b"M", b"\0".join([f"<{sender}>".encode(), *(text.encode() for text in parameters)]) + b"\0")

    def recipient(self, recipient: str, understood: str = "") -> Answer:
        """RCPT TO; ``understood`` is what the mail server made of it."""
        self._macros(b"R", {"{rcpt_addr}": understood} if understood else {})
        return self._ask(b"R", f"<{recipient}>".encode() + b"\0")

    def data(self) -> Answer:
        """DATA."""
        return self._ask(b"T")

    def header(self, name: str | bytes, value: bytes) -> Answer:
        """One header field."""
        return self._ask(b"L", (name if isinstance(name, bytes) else name.encode()) + b"\0" + value + b"\0")

    def end_of_headers(self) -> Answer:
        """The blank line."""
        return self._ask(b"N")

    def body(self, chunk: bytes) -> Answer:
        """A part of the body."""
        return self._ask(b"B", chunk)

    def end_of_message(self, macros: Mapping[str, str] | None = None) -> Answer:
        """The dot; what the milter changes about the header is appended to ``changes``: name, place, value."""
        self._macros(protocol.END_OF_MESSAGE, macros or {})
        return self._ask(b"E")

    def abort(self) -> None:
        """RSET, or a message refused elsewhere."""
        self._send(b"A")

    def quit(self) -> None:
        """The client left."""
        try:
            self._send(b"Q")
        except OSError:
            return
        finally:
            self._stream.close()
            self._connection.close()

    def message(self, headers: Sequence[tuple[str, bytes]], body: bytes = b"text\r\n") -> Answer:
        """Send a message after its envelope as Postfix does; return the first answer that is not to continue."""
        answer = self.data()
        for name, value in headers if answer.code == CONTINUE else ():
            answer = self.header(name, value)
            if answer.code != CONTINUE:
                break
        for step in (self.end_of_headers, lambda: self.body(body), self.end_of_message):
            answer = step() if answer.code in (CONTINUE, SKIP) else answer
        return answer
