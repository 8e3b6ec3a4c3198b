# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe of postsrsd, against a table over a real socket that behaves or does not."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator

import pytest
from probe_postsrsd import ADDRESS, forged, main

MADE = "SRS0=aBcD=XY=postoffice.invalid=probe@mail.example.org"
Answer = Callable[[str], str]


@pytest.fixture
def table() -> Iterator[Callable[[Answer], str]]:
    """Serves a table that answers keys so; gives its port."""
    servers: list[socketserver.ThreadingTCPServer] = []

    def serving(answer: Answer) -> str:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                key = self.rfile.readline().decode().strip().removeprefix("get ")
                self.wfile.write(f"{answer(key)}\n".encode())

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return str(server.server_address[1])

    yield serving
    for server in servers:
        server.shutdown()
        server.server_close()


def forward(_key: str) -> str:
    return f"200 {MADE}"


def reverse(key: str) -> str:
    return f"200 {ADDRESS}" if key == MADE else "500 Hash invalid in SRS address."


def test_one_that_finds_its_way_back_serves(table: Callable[[Answer], str]) -> None:
    assert main(["mail.example.org", table(forward), table(reverse)]) == 0


@pytest.mark.parametrize(
    ("forward_answer", "reverse_answer", "said"),
    [
        (lambda _key: "500 no", reverse, "500 no"),
        (lambda _key: f"200 {ADDRESS}", reverse, "no sender in mail.example.org"),
        (lambda _key: "200 SRS0=aBcD=XY=postoffice.invalid=probe@old.example.org", reverse, "no sender in"),
        (forward, lambda _key: "500 Hash invalid", "Hash invalid"),
        (forward, lambda _key: "200 another@postoffice.invalid", "stands for another@"),
        (forward, lambda _key: f"200 {ADDRESS}", "takes a forged sender"),
        (forward, lambda _key: "", "no answer"),
    ],
)
def test_one_that_does_not_is_said_to(
    table: Callable[[Answer], str],
    capsys: pytest.CaptureFixture[str],
    forward_answer: Answer,
    reverse_answer: Answer,
    said: str,
) -> None:
    assert main(["mail.example.org", table(forward_answer), table(reverse_answer)]) == 1
    assert said in capsys.readouterr().err


def test_one_that_is_not_there_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mail.example.org", "1", "2"]) == 1
    assert "refused" in capsys.readouterr().err


@pytest.mark.parametrize("proof", ["aBcD", "AAAA", "b"])
def test_a_forged_sender_differs_whatever_the_case(proof: str) -> None:
    sender = f"SRS0={proof}=XY=postoffice.invalid=probe@mail.example.org"
    assert forged(sender).lower() != sender.lower()
