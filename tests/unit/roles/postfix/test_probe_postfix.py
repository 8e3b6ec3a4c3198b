# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import probe_postfix
import pytest
from probe_postfix import NotServingError


@contextmanager
def server(*answers: str) -> Iterator[int]:
    """Greet, then give one answer per line received, on a port of the loopback address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _unused = listener.accept()
            with connection, connection.makefile("rwb", 0) as stream:
                for answer in answers:
                    stream.write(answer.encode() + b"\r\n")
                    if not stream.readline():
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(5)


def probe_smtp(*answers: str) -> None:
    with server(*answers) as port:
        probe_postfix.probe_smtp("127.0.0.1", port)


def test_a_server_that_refuses_to_relay_serves() -> None:
    probe_smtp("220 hello", "250 hello", "250 2.1.0 Ok", "554 5.7.1 Relay access denied", "221 Bye")


def test_a_milter_that_is_away_is_not_the_configuration() -> None:
    probe_smtp("220 hello", "250 hello", "451 4.7.1 Service unavailable - try again later", "221 Bye")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (("220 hello", "250 hello", "250 Ok", "250 2.1.5 Ok", "221 Bye"), "it would relay for anybody"),
        (("220 hello", "250 hello", "250 Ok", "451 4.3.0 Temporary lookup failure", "221 Bye"), "4.3.0 Temporary"),
        (("220 hello", "250 hello", "421 4.3.2 All server ports are busy", "221 Bye"), "4.3.2 All server"),
        (("220 hello", "554 no", "221 Bye"), "EHLO: 554 no"),
    ],
)
def test_other_answers_are_reported(answers: tuple[str, ...], message: str) -> None:
    with pytest.raises(NotServingError, match=message):
        probe_smtp(*answers)


def test_a_login_before_tls_is_reported() -> None:
    with (
        pytest.raises(NotServingError, match="AUTH without TLS"),
        server("220 hello", "250-hello\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN", "221 Bye") as port,
    ):
        probe_postfix.probe_submission("127.0.0.1", port)
