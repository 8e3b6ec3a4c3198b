# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answer Postfix's questions about addresses from the directory's published file: postoffice-lookup serve|check|probe.

Postfix's own client of SQLite keeps a file open, so it has to be reloaded for every new one, and sessions that straddle
a reload wait for a second. This server notices a new file by itself: it looks before each answer, so one answer comes
from one file and the next question sees the newest. It speaks the socketmap protocol (socketmap_table(5)): requests
``map key`` and replies ``OK value``, ``NOTFOUND``, ``TEMP reason``, ``PERM reason`` as netstrings.

serve    on the socket that systemd hands over (sd_listen_fds(3))
check    whether the file answers every query; 127 when it is not there yet
probe    whether the running server answers, with the settings of now
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import socket
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

SETTINGS = Path("/etc/postoffice/lookup.json")
FIRST_SOCKET = 3  # sd_listen_fds(3)
LONGEST_REQUEST = 8192  # of an address there are 320 octets at most
LONGEST_REPLY = 100_000  # the protocol's limit
PROBE_SECONDS = 5.0
NOT_INSTALLED = 127
ABOUT_ITSELF = "postoffice-lookup"
PARTS_OF_AN_ADDRESS = re.compile(r":(address|domain|tag)\b")


@dataclass(frozen=True)
class Settings:
    """What is asked for: the file, one query a map, values for the queries' named parameters, and the delimiter."""

    database: str
    queries: Mapping[str, str]
    values: Mapping[str, str]
    delimiter: str
    socket: str
    digest: str

    @classmethod
    def read(cls, path: Path) -> Settings:
        text = path.read_bytes()
        given: dict[str, Any] = json.loads(text)
        digest = hashlib.sha256(text).hexdigest()
        return cls(given["database"], given["queries"], given["values"], given["delimiter"], given["socket"], digest)

    def parameters(self, query: str, key: str) -> dict[str, str] | None:
        """What a query is asked with; None when it is about addresses and the key is none.

        ``:key`` is all of it, ``:domain`` what follows the last @, ``:address`` the key without the tag, ``:tag`` the
        tag with its delimiter.
        """
        key = key.lower()
        local, at, domain = key.rpartition("@")
        name, tag = split_tag(local, self.delimiter)
        if PARTS_OF_AN_ADDRESS.search(query) and not (at and local and domain):
            return None
        return {**self.values, "key": key, "domain": domain, "address": f"{name}@{domain}", "tag": tag}


def split_tag(local: str, delimiter: str) -> tuple[str, str]:
    """Part ``user+tag`` before the first delimiter that has something before it."""
    place = local.find(delimiter) if delimiter else -1
    return (local[:place], local[place:]) if place > 0 else (local, "")


class Database:
    """A file that is replaced by rename and never written in place; opened again when it was."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._seen: tuple[int, int, int, int] | None = None
        self._connection: sqlite3.Connection | None = None

    def rows(self, query: str, parameters: Mapping[str, str]) -> list[str]:
        """Return the first column of the answer; raises ``sqlite3.Error`` and ``OSError``."""
        return [str(row[0]) for row in self._current().execute(query, parameters)]

    def _current(self) -> sqlite3.Connection:
        status = os.stat(self.path)
        seen = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        if self._connection is None or seen != self._seen:
            self.close()
            address = f"file:{quote(self.path)}?mode=ro&immutable=1"
            self._connection = sqlite3.connect(address, uri=True, isolation_level=None)
            self._seen = seen
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def answer(settings: Settings, database: Database, request: bytes) -> str:
    """Return the reply to ``map key``. What is not ASCII is nobody's address here."""
    name, _blank, key = request.partition(b" ")
    if name == ABOUT_ITSELF.encode():
        return f"OK {settings.digest}"
    query = settings.queries.get(name.decode("ascii", "replace"))
    if query is None:
        return "PERM there is no such map"
    parameters = settings.parameters(query, key.decode("ascii")) if key.isascii() else None
    if parameters is None:
        return "NOTFOUND "
    try:
        rows = database.rows(query, parameters)
    except (sqlite3.Error, OSError) as error:
        database.close()
        print(f"{database.path}: {error}", file=sys.stderr, flush=True)
        return "TEMP the directory cannot be read"
    reply = f"OK {','.join(rows)}" if rows else "NOTFOUND "
    return reply if len(reply) <= LONGEST_REPLY else "PERM the answer is too long"


def netstring(text: str) -> bytes:
    """Encode as LENGTH:TEXT, with a comma behind."""
    data = text.encode()
    return b"%d:%b," % (len(data), data)


async def read_netstring(stream: asyncio.StreamReader) -> bytes:
    """Read one netstring; raises ``ValueError`` for what is none, ``asyncio.IncompleteReadError`` at the end."""
    head = (await stream.readuntil(b":"))[:-1]
    if not head.isdigit() or not head.isascii() or int(head) > LONGEST_REQUEST:
        raise ValueError("no netstring, or one that is too long")
    data = await stream.readexactly(int(head) + 1)
    if not data.endswith(b","):
        raise ValueError("no comma after a netstring")
    return data[:-1]


async def serve(settings: Settings) -> None:
    """Answer until the process is ended; Postfix connects again by itself and asks once more."""
    if os.environ.get("LISTEN_FDS") != "1":
        raise SystemExit("postoffice-lookup: started without a socket; it belongs to postoffice-lookup.socket")
    database = Database(settings.database)

    async def talk(stream: asyncio.StreamReader, replies: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ValueError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                replies.write(netstring(answer(settings, database, await read_netstring(stream))))
                await replies.drain()
        replies.close()

    server = await asyncio.start_unix_server(talk, sock=socket.socket(fileno=FIRST_SOCKET), limit=LONGEST_REQUEST)
    await server.serve_forever()


def problems(settings: Settings) -> Iterator[str]:
    """What the file cannot answer."""
    with closing(Database(settings.database)) as database:
        for name, query in settings.queries.items():
            try:
                database.rows(query, settings.parameters(query, "nobody@postoffice.invalid") or {})
            except (sqlite3.Error, OSError) as error:
                yield f"{settings.database}: {name}: {error}"


def check(settings: Settings) -> int:
    """Print what is wrong; return the exit status."""
    if not Path(settings.database).exists():
        print(f"{settings.database}: there is no such file", file=sys.stderr)
        return NOT_INSTALLED
    found = list(problems(settings))
    for text in found:
        print(text, file=sys.stderr)
    return 1 if found else 0


@contextmanager
def connected(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PROBE_SECONDS)
        connection.connect(path)
        yield connection


def ask(connection: socket.socket, request: str) -> str:
    """Ask one question of a running server; raises ``OSError`` when there is no answer."""
    connection.sendall(netstring(request))
    reply = b""
    while not reply.endswith(b","):
        part = connection.recv(4096)
        if not part:
            raise ConnectionError("the server closed the connection")
        reply += part
    return reply.partition(b":")[2][:-1].decode()


def probe(settings: Settings) -> int:
    """Ask the running server every map; return the exit status and say what is wrong."""
    try:
        with connected(settings.socket) as connection:
            if ask(connection, f"{ABOUT_ITSELF} settings") != f"OK {settings.digest}":
                print(f"{settings.socket}: answers with other settings", file=sys.stderr)
                return 1
            answers = {name: ask(connection, f"{name} nobody@postoffice.invalid") for name in settings.queries}
    except OSError as error:
        print(f"{settings.socket}: {error}", file=sys.stderr)
        return 1
    bad = [f"{name}: {said}" for name, said in answers.items() if not said.startswith(("OK ", "NOTFOUND "))]
    for text in bad:
        print(f"{settings.socket}: {text}", file=sys.stderr)
    return 1 if bad else 0


def main(arguments: list[str]) -> int:
    settings = Settings.read(SETTINGS)
    if arguments == ["serve"]:
        asyncio.run(serve(settings))
        return 0
    actions = {"check": check, "probe": probe}
    if len(arguments) != 1 or arguments[0] not in actions:
        print("usage: postoffice-lookup serve|check|probe", file=sys.stderr)
        return 2
    return actions[arguments[0]](settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
