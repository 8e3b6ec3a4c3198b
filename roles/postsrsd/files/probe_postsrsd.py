# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Usage: probe-postsrsd DOMAIN FORWARD REVERSE. Asks a running postsrsd for a sender in DOMAIN, and whom it stands for.

FORWARD and REVERSE are its ports on 127.0.0.1 (tcp_table(5)). Exits 0 when it finds its way back, and refuses a sender
that it did not make.
"""

from __future__ import annotations

import socket
import sys

HOST = "127.0.0.1"
TIMEOUT = 5.0
ADDRESS = "probe@postoffice.invalid"


class NotServingError(Exception):
    pass


def ask(port: int, key: str) -> str:
    """What the table answers: a code and a text."""
    with socket.create_connection((HOST, port), timeout=TIMEOUT) as connection:
        connection.sendall(f"get {key}\n".encode())
        with connection.makefile("r", encoding="ascii", newline="\n") as answers:
            return answers.readline().strip()


def found(port: int, key: str) -> str:
    answer = ask(port, key)
    code, _blank, value = answer.partition(" ")
    if code != "200":
        raise NotServingError(f"port {port}: {key}: {answer or 'no answer'}")
    return value


def forged(sender: str) -> str:
    """The same with another proof: its first character is changed."""
    scheme, proof, rest = sender.split("=", 2)
    return f"{scheme}={'A' if proof[0] not in 'Aa' else 'B'}{proof[1:]}={rest}"


def probe(domain: str, forward: int, reverse: int) -> None:
    """Raise ``NotServingError`` when it does not do what it is for."""
    sender = found(forward, ADDRESS)
    if not sender.startswith("SRS0=") or not sender.endswith(f"@{domain}"):
        raise NotServingError(f"port {forward}: {sender} is no sender in {domain}")
    if (back := found(reverse, sender)) != ADDRESS:
        raise NotServingError(f"port {reverse}: {sender} stands for {back}")
    if not (answer := ask(reverse, forged(sender))).startswith("500 "):
        raise NotServingError(f"port {reverse}: it takes a forged sender: {answer}")


def main(arguments: list[str]) -> int:
    domain, forward, reverse = arguments
    try:
        probe(domain, int(forward), int(reverse))
    except (OSError, NotServingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
