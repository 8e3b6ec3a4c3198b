# SPDX-License-Identifier: GPL-3.0-or-later
"""What the service tells systemd (sd_notify(3)); nothing when systemd did not start it."""

from __future__ import annotations

import os
import socket

BARRIER_TIMEOUT = 10.0


def notify(state: str) -> None:
    """Send ``state``, lines of NAME=value, and wait until systemd has taken it in."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.connect(address)
        connection.sendall(state.encode())
        _barrier(connection)


def _barrier(connection: socket.socket) -> None:
    """Wait until systemd closes its end, which it does after everything sent before (sd_notify_barrier(3))."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(connection, [b"BARRIER=1"], [theirs.fileno()])
        theirs.close()
        ours.settimeout(BARRIER_TIMEOUT)
        ours.recv(1)
