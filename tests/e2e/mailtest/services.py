"""Connections to every service, up to where the TLS handshake begins."""

from __future__ import annotations

import socket
from collections.abc import Callable

from .deployment import Deployment
from .managesieve import ManageSieve
from .smtp import Dialogue

Connect = Callable[[Deployment], socket.socket]


def smtp(deployment: Deployment, service: str = "smtp") -> socket.socket:
    dialogue = Dialogue(deployment.port(service))
    dialogue.ehlo()
    assert dialogue.command("STARTTLS").code == 220
    return dialogue.socket


def submission(deployment: Deployment) -> socket.socket:
    return smtp(deployment, "submission")


def managesieve(deployment: Deployment) -> socket.socket:
    client = ManageSieve(deployment.port("managesieve"))
    assert client.command("STARTTLS").ok
    return client.socket


def imap(deployment: Deployment) -> socket.socket:
    connection = socket.create_connection(_pair(deployment, "imap"), 30)
    with connection.makefile("rwb") as stream:
        stream.readline()
        stream.write(b"a STARTTLS\r\n")
        stream.flush()
        assert stream.readline().startswith(b"a OK")
    return connection


def submissions(deployment: Deployment) -> socket.socket:
    return socket.create_connection(_pair(deployment, "submissions"), 30)


def imaps(deployment: Deployment) -> socket.socket:
    return socket.create_connection(_pair(deployment, "imaps"), 30)


def https(deployment: Deployment) -> socket.socket:
    return socket.create_connection(_pair(deployment, "https"), 30)


def _pair(deployment: Deployment, service: str) -> tuple[str, int]:
    endpoint = deployment.port(service)
    return endpoint.host, endpoint.port
