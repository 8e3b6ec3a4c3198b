# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a web server answers is found out by asking it."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from probe_nginx import ask


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response({"good.example": 200, "gone.example": 404}.get(self.headers["Host"], 502))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_an_answer_is_an_answer(port: int) -> None:
    for name in ("good.example", "gone.example"):
        ask(http.client.HTTPConnection("127.0.0.1", port, timeout=5), name)


def test_what_stands_behind_it_has_to_answer_too(port: int) -> None:
    with pytest.raises(http.client.HTTPException, match="502"):
        ask(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "bad.example")


def test_silence_is_none() -> None:
    with pytest.raises(ConnectionRefusedError):
        ask(http.client.HTTPConnection("127.0.0.1", 1, timeout=5), "good.example")
