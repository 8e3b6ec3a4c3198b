# SPDX-License-Identifier: GPL-3.0-or-later
"""How the service begins, tells systemd, and makes way for a successor."""

from __future__ import annotations

import logging
import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postoffice_milter import service, systemd
from postoffice_milter.quota import QuotaCheck
from postoffice_milter.senders import SenderCheck
from postoffice_milter.server import Server
from postoffice_milter.session import Session
from postoffice_milter.settings import Settings


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], service.Listener]]:
    sockets: list[socket.socket] = []

    def open_one() -> service.Listener:
        each = service.Listener(tmp_path / "milter.sock", "")
        sockets.append(each.open())
        return each

    yield open_one
    for each in sockets:
        each.close()


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def test_the_socket_appears_when_it_is_published(opened: Callable[[], service.Listener], tmp_path: Path) -> None:
    path = tmp_path / "milter.sock"
    ours = opened()
    assert not path.exists()
    ours.publish()
    assert connects(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert [each.name for each in tmp_path.iterdir()] == ["milter.sock"]
    assert not ours.was_taken_over()
    ours.withdraw()
    assert not path.exists()
    ours.withdraw()


def test_a_successor_takes_over_without_a_gap(opened: Callable[[], service.Listener], tmp_path: Path) -> None:
    path = tmp_path / "milter.sock"
    first = opened()
    first.publish()
    second = opened()
    assert not first.was_taken_over()
    assert connects(path)
    second.publish()
    assert first.was_taken_over()
    assert not second.was_taken_over()
    first.withdraw()
    assert connects(path), "the predecessor leaves the successor's socket alone"


class EndError(Exception):
    """Stands for the end of the process."""


def end(taken_over: bool, server: Server, monkeypatch: pytest.MonkeyPatch, chosen: Settings) -> None:
    class Taken:
        def was_taken_over(self) -> bool:
            return taken_over

        def withdraw(self) -> None:
            return

    def exit_process(status: int) -> None:
        raise EndError(status)

    monkeypatch.setattr(os, "_exit", exit_process)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {service.STOP_SIGNAL})
    try:
        signal.raise_signal(service.STOP_SIGNAL)
        with pytest.raises(EndError):
            service._end(Taken(), server, chosen)  # type: ignore[arg-type]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


CHOSEN = Settings(socket="/run/x/s", directory="/x", drain=60, stop=60)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose queue nobody looks after."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "queue.sock"))
        listener.listen()
        yield Server(listener, [])


def in_message() -> Session:
    session = Session([])
    session.mail("", "<>", [])
    return session


def test_a_stop_does_not_wait_for_idle_sessions(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.sessions.begin(Session([]))
    with caplog.at_level(logging.INFO, "postoffice_milter"):
        end(False, server, monkeypatch, CHOSEN)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "stopped, sessions cut off: 0")
    ]


@pytest.mark.parametrize("taken_over", [False, True])
def test_messages_under_way_come_to_their_end(
    taken_over: bool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = in_message()
    server.sessions.begin(session)
    ended = threading.Event()

    def finish() -> None:
        session.finish()
        server.sessions.end(session)
        ended.set()

    timer = threading.Timer(0.2, finish)
    timer.start()
    end(taken_over, server, monkeypatch, CHOSEN)
    assert ended.is_set()
    timer.join()


def test_after_a_successor_came_who_still_waits_in_the_queue_is_waited_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = Settings(socket="/run/x/s", directory="/x", drain=1, stop=60)
    with socket.socket(socket.AF_UNIX) as client, caplog.at_level(logging.INFO, "postoffice_milter"):
        client.connect(str(tmp_path / "queue.sock"))
        end(True, server, monkeypatch, chosen)
    assert [record.getMessage() for record in caplog.records] == ["stopped, sessions cut off: 1"]


def test_there_is_a_limit_to_waiting(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.sessions.begin(in_message())
    chosen = Settings(socket="/run/x/s", directory="/x", drain=60, stop=1)
    with caplog.at_level(logging.INFO, "postoffice_milter"):
        end(False, server, monkeypatch, chosen)
    assert ("WARNING", "stopped, sessions cut off: 1") in [
        (record.levelname, record.getMessage()) for record in caplog.records
    ]


def test_systemd_hears_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def listen() -> None:
            while not heard or heard[-1] != b"BARRIER=1":
                text, descriptors, _unused, _unused = socket.recv_fds(manager, 4096, 1)
                heard.append(text)
                for descriptor in descriptors:
                    os.close(descriptor)

        listener = threading.Thread(target=listen)
        listener.start()
        systemd.notify("READY=1")
        listener.join()
    assert heard == [b"READY=1", b"BARRIER=1"]


def test_without_systemd_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.notify("READY=1")


def test_the_journal_gets_priorities() -> None:
    record = logging.makeLogRecord({"levelno": logging.ERROR, "levelname": "ERROR", "msg": "a\nb"})
    assert service.JournalFormatter("%(message)s").format(record) == "<3>a\n<3>b"


def test_checks_follow_the_settings() -> None:
    everything = Settings(socket="/s", directory="/d", quota_status="/q")
    assert [type(check) for check in service.checks(everything)] == [SenderCheck, QuotaCheck]
    assert service.checks(Settings(socket="/s", directory="/d", check_senders=False)) == []
