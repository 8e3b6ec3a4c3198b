# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Usage: probe-unbound ADDRESS [NAME]. Asks a resolver for the address of a name; exits 0 when it has an answer.

That there is no such name or no such record is an answer as well. Without a name it is asked for `localhost`, which it
knows by itself: that tells whether it works, not whether it reaches anybody.
"""

from __future__ import annotations

import secrets
import socket
import struct
import sys
import time

TIMEOUT = 4.0  # seconds; a resolver that has just started asks several servers first
AGAIN = 2.0  # seconds after which the question is repeated
PORT = 53
RECURSE = 0x0100
ADDRESS, INTERNET = 1, 1
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
ANSWERS = ("NOERROR", "NXDOMAIN")


def question(number: int, name: str) -> bytes:
    """A DNS message that asks for the IPv4 address of a name (RFC 1035, section 4)."""
    labels = [label.encode("ascii") for label in name.split(".") if label]
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return struct.pack("!6H", number, RECURSE, 1, 0, 0, 0) + encoded + struct.pack("!2H", ADDRESS, INTERNET)


def code(number: int, message: bytes) -> str | None:
    """The response code of an answer; None when it answers something else."""
    if len(message) < 12:
        return None
    identity, flags = struct.unpack("!2H", message[:4])
    if identity != number or not flags & 0x8000:
        return None
    return CODES.get(flags & 0x000F, f"code {flags & 0x000F}")


def ask(server: str, name: str) -> str:
    """The response code, or what went wrong."""
    number = secrets.randbelow(2**16)
    deadline = time.monotonic() + TIMEOUT
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect((server, PORT))
        while (left := deadline - time.monotonic()) > 0:
            asking.settimeout(min(left, AGAIN))
            try:
                asking.send(question(number, name))
                answer = code(number, asking.recv(4096))
            except TimeoutError:
                continue
            except OSError as error:
                return error.strerror or str(error)
            if answer:
                return answer
    return f"no answer within {TIMEOUT:.0f} seconds"


def main() -> int:
    server = sys.argv[1]
    name = sys.argv[2] if len(sys.argv) > 2 else "localhost"
    answer = ask(server, name)
    if answer in ANSWERS:
        return 0
    print(f"{server} was asked for the name {name}: {answer}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
