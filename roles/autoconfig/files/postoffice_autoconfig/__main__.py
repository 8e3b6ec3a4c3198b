# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postoffice-autoconfig serve|check|probe: tells mail programs and people how to reach the mail server.

serve    on the socket that systemd hands over (sd_listen_fds(3))
check    whether the settings can be read
probe    whether it answers, with the settings of now
"""

from __future__ import annotations

import http.client
import socket
import sys

from .respond import respond
from .server import serve
from .settings import PATH, Settings, load

SOCKET = "/run/postoffice-autoconfig/http.sock"
SECONDS = 10.0


class Connection(http.client.HTTPConnection):
    """HTTP over the server's socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(SOCKET)


def probe(settings: Settings) -> str:
    """What is wrong with the answer to somebody who reads the page; empty when nothing is."""
    connection = Connection("localhost")
    try:
        connection.request("GET", "/", headers={"Host": settings.hostname})
        found = connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        return f"{SOCKET}: {error}"
    finally:
        connection.close()
    if found != respond(settings, "GET", settings.hostname, "/").body:
        return f"{SOCKET}: it answers with the settings of before"
    return ""


def main() -> int:
    command = sys.argv[1] if len(sys.argv) == 2 else ""
    try:
        settings = load(PATH.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"{PATH}: {error!r}\n")
        return 1
    if command == "serve":
        serve(settings)
    elif command == "probe":
        wrong = probe(settings)
        sys.stderr.write(f"{wrong}\n" if wrong else "")
        return 1 if wrong else 0
    elif command != "check":
        sys.stderr.write(__doc__ or "")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
