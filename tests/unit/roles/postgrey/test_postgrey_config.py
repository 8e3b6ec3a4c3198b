# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import postgrey_config
import pytest


@pytest.mark.parametrize(
    "client",
    ["192.0.2.7", "192.0.2.0/24", "2001:db8::/32", "2001:db8::7", "mx.example.org", "example.org", "/^out[0-9]+\\.x$/"],
)
def test_proper_clients_pass(client: str) -> None:
    assert postgrey_config.wrong_client(client) is None


@pytest.mark.parametrize(
    "client",
    ["192.0.2", "192.0.2.0/33", "2001:db8::/129", "2001:db8:::7", "two words", "/(/", "/a b/", "*.example.org"],
)
def test_wrong_clients_are_named(client: str) -> None:
    assert postgrey_config.wrong_client(client)


@pytest.mark.parametrize("recipient", ["alice@example.org", "abuse@", "example.org", "/^list-/"])
def test_proper_recipients_pass(recipient: str) -> None:
    assert postgrey_config.wrong_recipient(recipient) is None


@pytest.mark.parametrize("recipient", ["@example.org", "a b@example.org", "a@b@c", "/[/"])
def test_wrong_recipients_are_named(recipient: str) -> None:
    assert postgrey_config.wrong_recipient(recipient)


def test_a_finding_says_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clients, recipients = tmp_path / "clients", tmp_path / "recipients"
    clients.write_text("# a comment\n192.0.2.0/24  # ours\n\n300.0.0.1\n", encoding="utf-8")
    recipients.write_text("postmaster@\n", encoding="utf-8")
    assert postgrey_config.main(["check", str(clients), str(recipients)]) == 1
    assert capsys.readouterr().out.startswith(f"{clients}:4: ")
    clients.write_text("192.0.2.0/24\n", encoding="utf-8")
    assert postgrey_config.main(["check", str(clients), str(recipients)]) == 0


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """A policy server that gives one answer to everything."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _address = listening.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(4096))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield asked
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_the_probe_asks_about_a_client_that_is_on_the_list(tmp_path: Path) -> None:
    with answering(tmp_path / "socket", b"action=DUNNO\n\n") as asked:
        assert postgrey_config.main(["probe", str(tmp_path / "socket")]) == 0
    assert b"request=smtpd_access_policy\n" in asked[0]
    assert b"client_name=probe.postoffice.invalid\n" in asked[0]


def test_the_probe_says_what_it_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(postgrey_config, "STARTS", 0.0)
    with answering(tmp_path / "socket", b"action=DEFER_IF_PERMIT later\n\n"):
        assert postgrey_config.main(["probe", str(tmp_path / "socket")]) == 1
    assert "DEFER_IF_PERMIT later" in capsys.readouterr().out
    assert postgrey_config.main(["probe", str(tmp_path / "nowhere")]) == 1
    assert "No such file" in capsys.readouterr().out
