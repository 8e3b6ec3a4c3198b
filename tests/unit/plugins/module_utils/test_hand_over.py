# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One process takes the place of another, with clients who look on; the filters are real processes on real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils import hand_over

FILTER = """
import os, signal, socket, sys, threading
text = open(sys.argv[1]).read().split()
settings = dict(zip(text[::2], text[1::2]))
if settings.get("Mood") == "broken":
    sys.exit("no such setting")
listening = socket.socket(socket.AF_UNIX)
listening.bind(settings["Socket"].partition(":")[2])
listening.listen()
def leave(*_unused):  # as libmilter does
    if os.path.exists(listening.getsockname()):
        os.unlink(listening.getsockname())
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
def serve(client):
    with client:
        while client.recv(1024)[4:5] == b"O":
            client.sendall(b"\\0\\0\\0\\x0dO" + settings["Name"].encode().ljust(12))
while True:
    client = listening.accept()[0]
    if settings.get("Mood") != "mute":
        threading.Thread(target=serve, args=(client,), daemon=True).start()
"""


def connect(live: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    connection.connect(str(live))
    return connection


def name(connection: socket.socket) -> str:
    connection.sendall(hand_over.NEGOTIATION)
    return connection.recv(17)[5:].decode().strip()


def asked(live: Path) -> str:
    with closing(connect(live)) as connection:
        return name(connection)


def wait_for(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Systemd:
    """Takes notifications as systemd does; a barrier is passed once its file is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        while True:
            text, files, _flags, _address = socket.recv_fds(self.socket, 1024, 8)
            self.heard.append(text.decode())
            for file in files:
                os.close(file)

    @property
    def main(self) -> int:
        (number,) = [int(each.partition("=")[2]) for each in self.heard if each.startswith("MAINPID=")]
        return number


class Unit:
    """A filter that runs, and what its unit would do to reload it."""

    def __init__(self, folder: Path) -> None:
        self.live, self.configuration, self.program = folder / "live", folder / "filter.conf", folder / "filter.py"
        self.program.write_text(FILTER)
        self.command = [sys.executable, str(self.program), "{}"]
        self.systemd = Systemd(folder / "notify")
        self.write("first")
        self.old = subprocess.Popen([sys.executable, str(self.program), str(self.configuration)])
        wait_for(lambda: hand_over.answers(self.live))

    def write(self, label: str, mood: str = "good") -> None:
        self.configuration.write_text(f"Socket local:{self.live}\nName {label}\nMood {mood}\n")

    def reload(self) -> int:
        """As systemd does it; returns the status."""
        told = {"MAINPID": str(self.old.pid), "NOTIFY_SOCKET": str(self.systemd.path)}
        program = [sys.executable, str(hand_over.__file__), str(self.live), str(self.configuration), *self.command]
        return subprocess.run(program, env={**os.environ, **told}, check=False).returncode

    def hand_over(self) -> None:
        wanted = hand_over.Filter(self.live, self.configuration, self.command)
        hand_over.hand_over(wanted, self.old.pid, str(self.systemd.path))


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Unit]:
    monkeypatch.setattr(hand_over, "READY_SECONDS", 2.0)
    unit = Unit(tmp_path)
    yield unit
    unit.old.kill()
    unit.old.wait()
    for heard in unit.systemd.heard:
        if heard.startswith("MAINPID="):
            os.kill(int(heard.partition("=")[2]), 9)


def test_the_new_process_answers_in_the_place_of_the_old_one_which_ends(unit: Unit) -> None:
    assert asked(unit.live) == "first"
    unit.write("second")
    assert unit.reload() == 0
    assert asked(unit.live) == "second"
    assert unit.old.wait(10) == -9
    assert unit.systemd.main != unit.old.pid
    assert hand_over.alive(unit.systemd.main)
    assert Path(f"/proc/{unit.systemd.main}/stat").read_text().rpartition(")")[2].split()[1] != str(os.getpid())
    assert sorted(path.name for path in unit.live.parent.iterdir()) == ["filter.conf", "filter.py", "live", "notify"]


def test_no_client_finds_nobody_there(unit: Unit) -> None:
    ended = threading.Event()
    heard: list[str] = []

    def ask() -> None:
        while not ended.is_set():
            heard.append(asked(unit.live))

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(lambda: "first" in heard)
    unit.write("second")
    assert unit.reload() == 0
    wait_for(lambda: "second" in heard)
    ended.set()
    asking.join()
    assert heard == sorted(heard)


def test_a_session_goes_on_with_the_old_process_until_it_ends(unit: Unit) -> None:
    with closing(connect(unit.live)) as session:
        assert name(session) == "first"
        assert hand_over.sessions(unit.old.pid) == 1
        unit.write("second")
        assert unit.reload() == 0
        assert asked(unit.live) == "second"
        with pytest.raises(subprocess.TimeoutExpired):
            unit.old.wait(0.3)
        assert name(session) == "first"
    assert unit.old.wait(10) == -9


def test_a_session_without_end_is_waited_for_in_vain(unit: Unit) -> None:
    with closing(connect(unit.live)) as session:
        assert name(session) == "first"
        hand_over.end(unit.old.pid, 0.2)
        assert unit.old.wait(10) == -9


@pytest.mark.parametrize(("mood", "says"), [("broken", "has ended"), ("mute", "does not answer within 2 s")])
def test_one_that_does_not_answer_never_takes_the_place(unit: Unit, mood: str, says: str) -> None:
    unit.write("second", mood)
    with pytest.raises(hand_over.ProblemError, match=says):
        unit.hand_over()
    assert asked(unit.live) == "first"
    assert unit.systemd.heard == []
    assert sorted(path.name for path in unit.live.parent.iterdir()) == ["filter.conf", "filter.py", "live", "notify"]


def test_a_configuration_without_the_socket_starts_nothing(unit: Unit) -> None:
    unit.configuration.write_text("Socket local:/run/elsewhere\n")
    with pytest.raises(hand_over.ProblemError, match="does not name"):
        unit.hand_over()
    assert asked(unit.live) == "first"


def test_a_program_that_is_not_there_is_a_problem(unit: Unit) -> None:
    unit.command = ["/nonexistent/filter"]
    with pytest.raises(hand_over.ProblemError, match="/nonexistent/filter cannot be started"):
        unit.hand_over()


def test_systemd_that_does_not_listen_leaves_everything_as_it_was(
    unit: Unit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAINPID", str(unit.old.pid))
    monkeypatch.setenv("NOTIFY_SOCKET", str(unit.live.parent / "nobody"))
    assert hand_over.main([str(unit.live), str(unit.configuration), *unit.command]) == 1
    assert str(unit.live) in capsys.readouterr().err
    assert asked(unit.live) == "first"
