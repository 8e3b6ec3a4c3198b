# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe takes an answer for an answer, and nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import probe_unbound
import pytest

Answer = Callable[[dns.message.Message], bytes]


@contextmanager
def resolver(answer: Answer) -> Iterator[int]:
    """Answers each question so, on a port of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)

        def serve() -> None:
            try:
                while True:
                    asked, client = listener.recvfrom(4096)
                    listener.sendto(answer(dns.message.from_wire(asked)), client)
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def coded(code: dns.rcode.Rcode) -> Answer:
    def answer(asked: dns.message.Message) -> bytes:
        reply = dns.message.make_response(asked)
        reply.set_rcode(code)
        return reply.to_wire()

    return answer


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_unbound, "TIMEOUT", 0.3)
    monkeypatch.setattr(probe_unbound, "AGAIN", 0.1)


def asked(monkeypatch: pytest.MonkeyPatch, answer: Answer, name: str = ".") -> str:
    with resolver(answer) as port:
        monkeypatch.setattr(probe_unbound, "PORT", port)
        return probe_unbound.ask("127.0.0.1", name)


@pytest.mark.parametrize("code", ["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"])
def test_the_code_of_the_answer_is_told(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    assert asked(monkeypatch, coded(dns.rcode.from_text(code))) == code


@pytest.mark.parametrize("name", [".", "localhost", "mail.example.org", "mail.example.org."])
def test_it_asks_for_the_address_of_the_name(name: str) -> None:
    question = dns.message.from_wire(probe_unbound.question(7, name))
    assert question.id == 7
    assert question.flags == dns.flags.RD
    assert str(question.question[0]) == f"{name.rstrip('.')}. IN A"


def test_answers_to_others_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(question: dns.message.Message) -> bytes:
        reply = dns.message.make_response(question)
        reply.id = (question.id + 1) % 2**16
        return reply.to_wire()

    assert "no answer" in asked(monkeypatch, other)


def test_noise_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no answer" in asked(monkeypatch, lambda _question: b"noise")


def test_where_nobody_listens_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(probe_unbound, "PORT", free.getsockname()[1])
    assert probe_unbound.ask("127.0.0.1", ".") == "Connection refused"


@pytest.mark.parametrize(("code", "status"), [("NOERROR", 0), ("NXDOMAIN", 0), ("SERVFAIL", 1)])
def test_the_exit_status_says_whether_it_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str, status: int
) -> None:
    with resolver(coded(dns.rcode.from_text(code))) as port:
        monkeypatch.setattr(probe_unbound, "PORT", port)
        monkeypatch.setattr("sys.argv", ["probe-unbound", "127.0.0.1", "example.org"])
        assert probe_unbound.main() == status
    assert (code in capsys.readouterr().err) is bool(status)
