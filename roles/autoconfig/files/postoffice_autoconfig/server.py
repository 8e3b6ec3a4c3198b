# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP on a socket that systemd hands over, for a web server in front."""

from __future__ import annotations

import socket
import socketserver
from http.server import BaseHTTPRequestHandler
from typing import Any

from .respond import POLICY, respond
from .settings import Settings

FIRST_SOCKET = 3  # sd_listen_fds(3)
LONGEST_BODY = 65536
SECONDS = 20.0


class Handler(BaseHTTPRequestHandler):
    """One request after the other of a connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "postoffice-autoconfig", ""
    timeout = SECONDS
    server: Server

    def answer(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > LONGEST_BODY or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self.send_error(413)
            return
        body = self.rfile.read(int(length))
        response = respond(self.server.settings, self.command, self.headers.get("Host", ""), self.path, body)
        self.send_response(response.status)
        fixed = {
            "Content-Type": response.kind,
            "Content-Length": str(len(response.body)),
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        for name, value in {**fixed, **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    do_GET = do_HEAD = do_POST = answer  # noqa: N815 - the names that the library looks for

    def address_string(self) -> str:
        return "a web server"

    def log_message(self, format: str, *args: Any) -> None:
        """Who asks for what is nobody's business."""


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers each connection in a thread of its own."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, settings: Settings) -> None:
        super().__init__("", Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.settings = settings


def serve(settings: Settings) -> None:
    """Until somebody ends it."""
    with Server(socket.socket(fileno=FIRST_SOCKET), settings) as server:
        server.serve_forever()
