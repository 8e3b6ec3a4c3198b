"""SMTP byte for byte: what smtplib is too polite to say."""

from __future__ import annotations

import base64
import socket
import ssl
from dataclasses import dataclass
from types import TracebackType

from .deployment import Endpoint, Person
from .tls import any_certificate

CRLF = b"\r\n"


@dataclass(frozen=True)
class Reply:
    """One reply: its code and its lines without code."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def ok(self) -> bool:
        return 200 <= self.code < 400

    @property
    def refused(self) -> bool:
        """Refused for good (RFC 5321, 4.2.1)."""
        return 500 <= self.code < 600


def plain(person: Person) -> str:
    """The initial response of SASL PLAIN (RFC 4616)."""
    return encoded(f"\0{person.address}\0{person.password}")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Dialogue:
    """One connection to an SMTP server, past its greeting."""

    def __init__(
        self, endpoint: Endpoint, *, implicit_tls: bool = False, helo: str = "client.example", timeout: float = 30
    ) -> None:
        self.endpoint = endpoint
        self.helo = helo
        self.capabilities: dict[str, str] = {}
        self._buffer = b""
        self.socket: socket.socket = socket.create_connection((endpoint.host, endpoint.port), timeout)
        if implicit_tls:
            self.socket = any_certificate().wrap_socket(self.socket, server_hostname=endpoint.host)
        self.greeting = self.read()

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    @property
    def own_address(self) -> str:
        """The address from which the server, or the port forwarder before it, sees this client."""
        return str(self.socket.getsockname()[0])

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self) -> Reply:
        """The next reply; an ended connection is a ConnectionError."""
        lines = []
        while True:
            line = self._line()
            lines.append(line[4:])
            if line[3:4] != "-":
                return Reply(int(line[:3]), tuple(lines))

    def rest(self) -> list[Reply]:
        """Every further reply until the server ends the connection."""
        replies = []
        while True:
            try:
                replies.append(self.read())
            except ConnectionError:
                return replies

    def command(self, line: str) -> Reply:
        self.send(line.encode() + CRLF)
        return self.read()

    def ehlo(self) -> Reply:
        reply = self.command(f"EHLO {self.helo}")
        self.capabilities = {}
        for line in reply.lines[1:]:
            keyword, _unused, values = line.partition(" ")
            self.capabilities[keyword.upper()] = values
        return reply

    def starttls(self, context: ssl.SSLContext | None = None) -> Reply:
        """STARTTLS and, when the server agrees, the handshake; the caller says EHLO again."""
        reply = self.command("STARTTLS")
        if reply.code == 220:
            self.handshake(context)
        return reply

    def handshake(self, context: ssl.SSLContext | None = None) -> None:
        self.socket = (context or any_certificate()).wrap_socket(self.socket, server_hostname=self.endpoint.host)
        self._buffer = b""

    def login(self, person: Person, mechanism: str = "PLAIN") -> Reply:
        if mechanism == "PLAIN":
            return self.command(f"AUTH PLAIN {plain(person)}")
        reply = self.command("AUTH LOGIN")
        if reply.code != 334:
            return reply
        reply = self.command(encoded(person.address))
        if reply.code != 334:
            return reply
        return self.command(encoded(person.password))

    def message(self, data: bytes) -> Reply:
        """DATA, then `data` as it is with a regular end; the reply to DATA when that is refused, else to the end."""
        reply = self.command("DATA")
        if reply.code != 354:
            return reply
        self.send(data + b"\r\n.\r\n")
        return self.read()

    def _line(self) -> str:
        while CRLF not in self._buffer:
            received = self.socket.recv(65536)
            if not received:
                raise ConnectionError(f"{self.endpoint} ended the connection")
            self._buffer += received
        line, self._buffer = self._buffer.split(CRLF, 1)
        return line.decode("utf-8", "backslashreplace")


def submission(endpoint: Endpoint, *, implicit_tls: bool) -> Dialogue:
    """A connection of a mail program, as far as it goes without a password: encrypted, and EHLO said."""
    dialogue = Dialogue(endpoint, implicit_tls=implicit_tls)
    dialogue.ehlo()
    if not implicit_tls:
        dialogue.starttls()
        dialogue.ehlo()
    return dialogue
