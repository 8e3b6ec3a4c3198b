"""As much of ManageSieve (RFC 5804) as a mail program needs to manage scripts."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from types import TracebackType

from .deployment import Endpoint, Person
from .smtp import encoded, plain
from .tls import any_certificate

CRLF = b"\r\n"
LITERAL = re.compile(rb"\{(\d+)\+?\}$")


@dataclass(frozen=True)
class Response:
    """OK, NO or BYE with what the server said before and beside it."""

    status: str
    text: str
    lines: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.status == "OK"


class ManageSieve:
    """One connection, past its greeting."""

    def __init__(self, endpoint: Endpoint, timeout: float = 30) -> None:
        self.endpoint = endpoint
        self.socket: socket.socket = socket.create_connection((endpoint.host, endpoint.port), timeout)
        self._buffer = b""
        self.capabilities = self._capabilities(self.read())

    def __enter__(self) -> ManageSieve:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def command(self, line: str, literal: str | None = None) -> Response:
        data = line.encode()
        if literal is not None:
            content = literal.encode()
            data += b" {%d+}" % len(content) + CRLF + content
        self.socket.sendall(data + CRLF)
        return self.read()

    def starttls(self, context: ssl.SSLContext | None = None) -> Response:
        response = self.command("STARTTLS")
        if response.ok:
            self.socket = (context or any_certificate()).wrap_socket(self.socket, server_hostname=self.endpoint.host)
            self._buffer = b""
            self.capabilities = self._capabilities(self.read())
        return response

    def login(self, person: Person, mechanism: str = "PLAIN") -> Response:
        if mechanism == "PLAIN":
            return self.command(f'AUTHENTICATE "PLAIN" "{plain(person)}"')
        self.socket.sendall(b'AUTHENTICATE "LOGIN"' + CRLF)
        for answer in (encoded(person.address), encoded(person.password)):
            self._string()
            self.socket.sendall(f'"{answer}"'.encode() + CRLF)
        return self.read()

    def put(self, name: str, script: str) -> Response:
        return self.command(f'PUTSCRIPT "{name}"', script)

    def activate(self, name: str) -> Response:
        """Make this script the active one; none, when the name is empty."""
        return self.command(f'SETACTIVE "{name}"')

    def delete(self, name: str) -> Response:
        return self.command(f'DELETESCRIPT "{name}"')

    def scripts(self) -> list[str]:
        return [line.split('"')[1] for line in self.command("LISTSCRIPTS").lines]

    def read(self) -> Response:
        """Everything up to and including the next OK, NO or BYE."""
        lines: list[str] = []
        while True:
            line = self._string()
            status, _unused, text = line.partition(" ")
            if status.upper() in ("OK", "NO", "BYE"):
                return Response(status.upper(), text, tuple(lines))
            lines.append(line)

    @staticmethod
    def _capabilities(response: Response) -> dict[str, str]:
        found = {}
        for line in response.lines:
            parts = line.split('"')
            found[parts[1].upper()] = parts[3] if len(parts) > 3 else ""
        return found

    def _string(self) -> str:
        """One line, a literal at its end read along."""
        line = self._line()
        literal = LITERAL.search(line)
        if literal:
            size = int(literal[1])
            while len(self._buffer) < size + len(CRLF):
                self._receive()
            line = line[: literal.start()] + self._buffer[:size]
            self._buffer = self._buffer[size + len(CRLF) :]
        return line.decode()

    def _line(self) -> bytes:
        while CRLF not in self._buffer:
            self._receive()
        line, self._buffer = self._buffer.split(CRLF, 1)
        return line

    def _receive(self) -> None:
        received = self.socket.recv(65536)
        if not received:
            raise ConnectionError(f"{self.endpoint} ended the connection")
        self._buffer += received
