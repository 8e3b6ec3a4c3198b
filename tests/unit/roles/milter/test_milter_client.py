# SPDX-License-Identifier: GPL-3.0-or-later
"""The mail server's side of the protocol, against a milter that says what it is told to."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postoffice_milter import probe
from postoffice_milter.client import Answer, MilterClient
from postoffice_milter.protocol import ProtocolError, packet
from postoffice_milter.settings import Settings

NEGOTIATED = packet(b"O", struct.pack("!III", 6, 0x1FF, 0x113) + struct.pack("!I", 2) + b"{auth_authen}\0")
Start = Callable[..., Path]


@pytest.fixture
def milter(tmp_path: Path) -> Iterator[Start]:
    """Starts a milter that sends the next packet for every command that wants an answer."""
    threads: list[threading.Thread] = []
    path = tmp_path / "milter.sock"

    def serve(listener: socket.socket, answers: list[bytes], hangs_up: bool) -> None:
        with listener, listener.accept()[0] as connection, connection.makefile("rb") as stream:
            while (answers or not hangs_up) and (head := stream.read(4)):
                command = stream.read(struct.unpack("!I", head)[0])[:1]
                if command not in b"DAQ":
                    connection.sendall(answers.pop(0))

    def start(*answers: bytes, hangs_up: bool = False) -> Path:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        threads.append(threading.Thread(target=serve, args=(listener, list(answers), hangs_up)))
        threads[-1].start()
        return path

    yield start
    for thread in threads:
        thread.join()


def test_a_message(milter: Start) -> None:
    go = packet(b"c")
    refusal = packet(b"y", b"550 5.7.1 no\0")
    path = milter(NEGOTIATED, go, go, packet(b"c"), packet(b"p") + go, refusal)
    with MilterClient(str(path)) as client:
        assert client.macros == {2: "{auth_authen}"}
        assert client.connect().goes_on
        assert client.helo().goes_on
        assert client.mail("a@x.example", login="a@x.example").goes_on
        assert client.recipient("b@x.example").goes_on
        answer = client.message([("From", b"a@x.example"), ("To", b"b@x.example")])
        assert answer == Answer(b"y", "550 5.7.1 no")
        assert str(answer) == "550 5.7.1 no"


@pytest.mark.parametrize("answer", [b"", packet(b"O", b"short"), packet(b"c"), b"\0\0\0\0", b"\0\0\0\x05O"])
def test_not_a_milter(milter: Start, answer: bytes) -> None:
    path = milter(answer, hangs_up=True)
    with pytest.raises(ProtocolError):
        MilterClient(str(path))


def ask(path: Path) -> int:
    return probe.run(Settings(socket=str(path), directory="/nonexistent"))


def test_the_probe_is_content_with_an_answer(milter: Start) -> None:
    assert ask(milter(NEGOTIATED, packet(b"c"), packet(b"c"))) == 0


def test_the_probe_says_what_the_milter_said(milter: Start, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(milter(NEGOTIATED, packet(b"c"), packet(b"y", b"451 4.3.0 no directory\0"))) == 1
    assert "451 4.3.0 no directory" in capsys.readouterr().err


def test_the_probe_fails_without_a_milter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path / "milter.sock") == 1
    assert "No such file" in capsys.readouterr().err
