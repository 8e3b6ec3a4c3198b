# SPDX-License-Identifier: GPL-3.0-or-later
"""The server that answers Postfix: its protocol over a real socket, and a file that is replaced under its feet."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import postoffice_lookup
import pytest
from postoffice_lookup import Database, Settings, answer, ask, netstring, read_netstring, split_tag

QUERIES = {
    "value": "SELECT value FROM pair WHERE name = :key ORDER BY value",
    "owner": "SELECT value FROM pair WHERE name = :address",
    "broken": "SELECT gone FROM nowhere",
}


def publish(path: Path, *pairs: tuple[str, str]) -> None:
    """Replace the file as the publisher does: a new one by rename."""
    fresh = path.with_name("fresh")
    with closing(sqlite3.connect(fresh)) as made:
        made.execute("CREATE TABLE pair (name, value)")
        made.executemany("INSERT INTO pair VALUES (?, ?)", pairs)
        made.commit()
    fresh.rename(path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "settings.json"
    path.write_text(
        json.dumps(
            {
                "database": str(tmp_path / "lookup.sqlite3"),
                "queries": QUERIES,
                "values": {},
                "delimiter": "+",
                "socket": str(tmp_path / "socket"),
            }
        )
    )
    publish(tmp_path / "lookup.sqlite3", ("alice@example.org", "one"), ("alice@example.org", "two"))
    return Settings.read(path)


def reply(settings: Settings, request: bytes) -> str:
    with closing(Database(settings.database)) as database:
        return answer(settings, database, request)


def test_rows_are_joined_and_keys_are_folded(settings: Settings) -> None:
    assert reply(settings, b"value Alice@Example.org") == "OK one,two"
    assert reply(settings, b"value bob@example.org") == "NOTFOUND "


@pytest.mark.parametrize("key", [b"alice", b"@example.org", b"alice@", b"", "älice@example.org".encode(), b"\xff@x"])
def test_what_is_no_address_has_no_owner(settings: Settings, key: bytes) -> None:
    assert reply(settings, b"owner " + key) == "NOTFOUND "


def test_the_tag_is_not_part_of_the_address(settings: Settings) -> None:
    assert reply(settings, b"owner alice+tag@example.org") == "OK one,two"
    assert reply(settings, b"value alice+tag@example.org") == "NOTFOUND "
    assert [split_tag(local, "+") for local in ("a+b+c", "+b", "a")] == [("a", "+b+c"), ("+b", ""), ("a", "")]


def test_a_map_that_nobody_declared_is_an_error_for_good(settings: Settings) -> None:
    assert reply(settings, b"other alice@example.org").startswith("PERM ")


def test_trouble_with_the_file_is_temporary_and_names_it_in_the_log(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reply(settings, b"broken x").startswith("TEMP ")
    Path(settings.database).unlink()
    assert reply(settings, b"value x").startswith("TEMP ")
    told = capsys.readouterr().err.splitlines()
    assert [line.startswith(f"{settings.database}: ") for line in told] == [True, True]


def test_an_answer_beyond_the_limit_of_the_protocol_is_refused(settings: Settings) -> None:
    publish(Path(settings.database), ("long", "x" * postoffice_lookup.LONGEST_REPLY))
    assert reply(settings, b"value long").startswith("PERM ")


def test_a_new_file_is_seen_by_the_next_question(settings: Settings) -> None:
    with closing(Database(settings.database)) as database:
        for value in ("one", "two", "three"):
            publish(Path(settings.database), ("key", value))
            assert answer(settings, database, b"value key") == f"OK {value}"


@pytest.mark.parametrize("data", [b"x:", b"-1:", b"99999:", b"3:abc.", b"\xb2:aa,", b":,"])
def test_what_is_no_netstring_is_refused(data: bytes) -> None:
    async def read() -> bytes:
        stream = asyncio.StreamReader()
        stream.feed_data(data)
        stream.feed_eof()
        return await read_netstring(stream)

    with pytest.raises(ValueError, match="netstring"):
        asyncio.run(read())


@pytest.fixture
def server(settings: Settings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program as systemd starts it, with a listening socket as its first descriptor."""
    program = Path(postoffice_lookup.__file__)
    code = (
        "import os, runpy, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); sys.argv[1:] = ['serve'];"
        f"sys.path.insert(0, {str(program.parent)!r}); import pathlib, postoffice_lookup as it;"
        f"it.SETTINGS = pathlib.Path({str(tmp_path / 'settings.json')!r}); it.main(['serve'])"
    )
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(settings.socket)
        listening.listen()
        with subprocess.Popen(
            [sys.executable, "-c", code, str(listening.fileno())],
            pass_fds=[listening.fileno()],
            env={**os.environ, "LISTEN_FDS": "1"},
        ) as process:
            yield process
            process.send_signal(signal.SIGKILL)


@pytest.mark.usefixtures("server")
def test_it_answers_many_clients_while_files_come_and_go(settings: Settings) -> None:
    replies: list[str] = []

    def client() -> None:
        with postoffice_lookup.connected(settings.socket) as connection:
            replies.extend(ask(connection, "value alice@example.org") for _unused in range(200))

    threads = [threading.Thread(target=client) for _unused in range(4)]
    for thread in threads:
        thread.start()
    for number in range(50):
        publish(Path(settings.database), ("alice@example.org", str(number)))
    for thread in threads:
        thread.join(20)
    assert len(replies) == 800
    assert all(text == "OK one,two" or text.removeprefix("OK ").isdigit() for text in replies)
    with postoffice_lookup.connected(settings.socket) as connection:
        assert ask(connection, "value alice@example.org") == "OK 49"


@pytest.mark.usefixtures("server")
def test_who_does_not_speak_the_protocol_is_hung_up_on(settings: Settings) -> None:
    for data in (b"GET / HTTP/1.1\r\n\r\n:", b"9" * 20_000, netstring("value x")[:-1] + b"."):
        with postoffice_lookup.connected(settings.socket) as connection:
            connection.sendall(data)
            assert connection.recv(10) == b""
    with postoffice_lookup.connected(settings.socket) as connection:
        assert ask(connection, "value alice@example.org") == "OK one,two"


@pytest.mark.usefixtures("server")
def test_the_probe_is_content_with_answers_by_the_same_settings_only(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert postoffice_lookup.probe(settings) == 1
    assert "broken: TEMP" in capsys.readouterr().err
    path = tmp_path / "settings.json"
    path.write_text(path.read_text() + " ")
    assert postoffice_lookup.probe(Settings.read(path)) == 1
    assert "other settings" in capsys.readouterr().err


def test_the_check_names_the_query_that_cannot_be_answered(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert postoffice_lookup.check(settings) == 1
    assert f"{settings.database}: broken: no such table" in capsys.readouterr().err
    Path(settings.database).unlink()
    assert postoffice_lookup.check(settings) == postoffice_lookup.NOT_INSTALLED
