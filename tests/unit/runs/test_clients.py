# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The IMAP client of tests/runs excuses a log-in that is cut off, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.postoffice.mail.tests.e2e.mailtest.deployment import Endpoint
from ansible_collections.postoffice.mail.tests.runs.runtest import clients
from ansible_collections.postoffice.mail.tests.runs.runtest.clients import CutOff, Diary, WrongAnswer, ask_imap, patient

GREETING = b"* OK Dovecot ready.\r\n"
SERVED = [GREETING, b"a OK Logged in\r\n", b"b OK Examined\r\n", b"* BYE Logging out\r\nc OK Done\r\n"]
Serve = Callable[..., Endpoint]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    both = tmp_path_factory.mktemp("certificate") / "both.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-subj", "/CN=test"]
    subprocess.run(["openssl", "req", *kind, "-keyout", both, "-out", f"{both}.crt"], check=True, capture_output=True)
    both.write_text(both.read_text() + Path(f"{both}.crt").read_text())
    return both


@pytest.fixture
def serve(certificate: Path) -> Iterator[Serve]:
    """A server that gives each of its visitors the next list of answers, one per line it hears, and then leaves."""
    with contextlib.ExitStack() as stack:

        def start(*scripts: list[bytes]) -> Endpoint:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def answer() -> None:
                for script in scripts:
                    plain, _unused = listener.accept()
                    with plain, context.wrap_socket(plain, server_side=True) as connection:
                        for number, line in enumerate(script):
                            if number:
                                connection.recv(4096)
                            connection.sendall(line)

            thread = threading.Thread(target=answer)
            thread.start()
            stack.callback(thread.join)
            return Endpoint("127.0.0.1", listener.getsockname()[1])

        yield start


def test_a_visit(serve: Serve) -> None:
    ask_imap(serve(SERVED))


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([], id="instead of the greeting"),
        pytest.param([b"* BYE Shutting down.\r\n"], id="bye instead of the greeting"),
        pytest.param([GREETING], id="before the log-in"),
        pytest.param([GREETING, b"* BYE Shutting down.\r\n"], id="bye instead of an answer"),
        pytest.param([GREETING, b"a NO [UNAVAILABLE] Temporary authentication failure.\r\n"], id="put off"),
    ],
)
def test_who_is_cut_off_connects_again_and_tells(serve: Serve, script: list[bytes]) -> None:
    diary = Diary("imaps")
    patient(ask_imap, diary)(serve(script, script, SERVED))
    assert len(diary.cut_offs) == 2


@pytest.mark.parametrize("answer", [b"a NO [AUTHENTICATIONFAILED] no\r\n", b"a BAD what\r\n"])
def test_a_wrong_answer_is_not_excused(serve: Serve, answer: bytes) -> None:
    with pytest.raises(WrongAnswer, match=r"^a "):
        ask_imap(serve([GREETING, answer]))


def test_an_end_after_the_log_in_is_not_excused(serve: Serve) -> None:
    with pytest.raises(EOFError):
        ask_imap(serve(SERVED[:2]))


def test_a_refused_connection_is_not_excused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = Endpoint("127.0.0.1", listener.getsockname()[1])
    with pytest.raises(ConnectionRefusedError):
        ask_imap(nobody)


def test_who_is_not_in_again_in_time_fails(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "IN_AGAIN", -1.0)
    with pytest.raises(CutOff, match="not in again"):
        patient(ask_imap, Diary("imaps"))(serve([GREETING], SERVED))


def test_a_server_that_says_nothing_is_not_excused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "PATIENCE", 0.2)
    with pytest.raises(TimeoutError):
        ask_imap(serve([GREETING, b"", b""]))
