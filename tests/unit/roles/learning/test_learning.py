# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of learning, and what stays when it fails."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postoffice_learning as learning
import pytest

FILES = Path(__file__).resolve().parents[4] / "roles" / "learning" / "files"


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    for folder in ("tmp", "new"):
        (tmp_path / "spool" / folder).mkdir(parents=True)
    drop = tmp_path / "learn"
    content = (FILES / "learn.sh").read_text(encoding="utf-8").replace("@SPOOL@", str(tmp_path / "spool"))
    drop.write_text(content, encoding="utf-8")
    drop.chmod(0o755)
    return learning.Settings(
        tmp_path / "spool", tmp_path / "counters.json", str(tmp_path / "spamd.sock"), 5.0, 1000, str(drop)
    )


def drop(settings: Any, name: str, content: bytes, when: int) -> None:
    path = settings.spool / "new" / name
    path.write_bytes(content)
    os.utime(path, (when, when))


Spamd = Callable[..., list[bytes]]
SET = b"SPAMD/1.1 0 EX_OK\r\nDidSet: local\r\nContent-length: 2\r\n\r\n\r\n"
KNOWN = b"SPAMD/1.1 0 EX_OK\r\nContent-length: 2\r\n\r\n\r\n"


@pytest.fixture
def spamd(settings: Any) -> Iterator[Spamd]:
    """Answers each question with the next of the given answers."""
    threads = []

    def serve(listener: socket.socket, answers: tuple[bytes, ...], asked: list[bytes]) -> None:
        with listener:
            for answer in answers:
                with listener.accept()[0] as connection, connection.makefile("rb") as stream:
                    asked.append(stream.read())
                    connection.sendall(answer)

    def start(*answers: bytes) -> list[bytes]:
        asked: list[bytes] = []
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(settings.spamd)
        listener.listen()
        threads.append(threading.Thread(target=serve, args=(listener, answers, asked)))
        threads[-1].start()
        return asked

    yield start
    for thread in threads:
        thread.join()


def test_messages_are_taught_in_the_order_of_their_arrival(settings: Any, spamd: Spamd) -> None:
    asked = spamd(SET, SET, KNOWN)
    drop(settings, "c", b"ham bob@example.org\nSubject: last\n\n", 3)
    drop(settings, "a", b"spam Bob@Example.org\nSubject: second\n\n", 2)
    drop(settings, "b", b"ham alice@example.org\nSubject: first\n\n", 1)
    assert learning.learn(settings) == 0
    assert [question.rpartition(b"\r\n\r\n")[2] for question in asked] == [
        b"Subject: first\n\n",
        b"Subject: second\n\n",
        b"Subject: last\n\n",
    ]
    assert b"Message-class: ham\r\nSet: local\r\nContent-length: 16\r\n" in asked[0]
    assert b"Message-class: spam\r\n" in asked[1]
    assert json.loads(settings.counters.read_text()) == {
        "*": {"ham": 1, "known": 1, "spam": 1},
        "alice@example.org": {"ham": 1, "known": 0, "spam": 0},
        "bob@example.org": {"ham": 0, "known": 1, "spam": 1},
    }
    assert learning.waiting(settings.spool) == {}


@pytest.mark.parametrize("answer", [b"", b"SPAMD/1.1 69 EX_UNAVAILABLE\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_what_cannot_be_taught_now_stays(settings: Any, spamd: Spamd, answer: bytes) -> None:
    spamd(SET, answer)
    for name in "ab":
        drop(settings, name, b"spam bob@example.org\nSubject: x\n\n", ord(name))
    assert learning.learn(settings) == 1
    assert [path.name for path in learning.waiting(settings.spool)] == ["b"]
    assert json.loads(settings.counters.read_text())["*"]["spam"] == 1


def test_nobody_there(settings: Any) -> None:
    drop(settings, "a", b"spam bob@example.org\nSubject: x\n\n", 1)
    assert learning.learn(settings) == 1
    assert len(learning.waiting(settings.spool)) == 1
    assert not settings.counters.exists()


@pytest.mark.parametrize(
    "content", [b"", b"spam\nx", b"eggs bob@example.org\nx", b"spam bob@example.org", b"spam a b\nx", b"\xff\n"]
)
def test_what_is_no_drop_holds_nobody_up(settings: Any, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    drop(settings, "a", content, 1)
    assert learning.learn(settings) == 0
    assert learning.waiting(settings.spool) == {}
    assert "not a message" in capsys.readouterr().err


def test_what_is_too_large_is_left_out(settings: Any) -> None:
    drop(settings, "a", b"spam bob@example.org\n" + b"x" * 1001, 1)
    assert learning.learn(settings) == 0
    assert learning.waiting(settings.spool) == {}


def test_unfinished_drops_are_removed_after_a_while(settings: Any) -> None:
    old, new = (settings.spool / "tmp" / name for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"")
    os.utime(old, (1, 1))
    assert learning.learn(settings) == 0
    assert [old.exists(), new.exists()] == [False, True]


def test_a_mailbox_s_statistics_are_taught_beside_the_site_s(settings: Any, spamd: Spamd) -> None:
    asked = spamd(SET, KNOWN, SET, KNOWN)
    drop(settings, "a", b"spam Bob@example.org\nX-Postoffice-Mailbox: eve@example.org\n\n", 1)
    drop(settings, "b", b"ham self-check\nSubject: x\n\n", 2)
    assert learning.learn(dataclasses.replace(settings, per_mailbox=True)) == 0
    own, site, check, forgotten = (question.partition(b"\r\n\r\n")[2] for question in asked)
    assert own == b"X-Postoffice-Mailbox: bob@example.org\r\nX-Postoffice-Mailbox: eve@example.org\n\n"
    assert site == b"X-Postoffice-Mailbox: eve@example.org\n\n"
    assert check == forgotten == b"Subject: x\n\n"
    assert f"Content-length: {len(own)}\r\n".encode() in asked[0]
    assert json.loads(settings.counters.read_text()) == {
        "*": {"ham": 0, "known": 1, "spam": 0},
        "bob@example.org": {"ham": 0, "known": 0, "spam": 1},
        "self-check": {"ham": 1, "known": 0, "spam": 0},
    }


def test_damaged_counters_begin_anew(settings: Any, spamd: Spamd) -> None:
    spamd(SET)
    settings.counters.write_text("{")
    drop(settings, "a", b"spam bob@example.org\nx", 1)
    assert learning.learn(settings) == 0
    assert json.loads(settings.counters.read_text())["*"]["spam"] == 1


def test_a_drop_is_what_the_learner_reads(tmp_path: Path) -> None:
    for folder in ("tmp", "new"):
        (tmp_path / folder).mkdir()
    program = tmp_path / "learn"
    program.write_text((FILES / "learn.sh").read_text().replace("@SPOOL@", str(tmp_path)))
    message = b"Subject: \xff\n\nbinary \0 too\n"
    subprocess.run(["sh", program, "ham", "bob@example.org"], input=message, check=True)
    (dropped,) = learning.waiting(tmp_path)
    assert learning.parse(dropped.read_bytes()) == learning.Drop("ham", "bob@example.org", message)
    assert dropped.stat().st_mode & 0o777 == 0o640
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_waits_is_shown_with_its_age(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    drop(settings, "a", b"spam bob@example.org\nx", int(time.time()) - 100)
    assert learning.show(settings) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["waiting"] == 1
    assert 100 <= shown["oldest"] < 200


def test_what_is_learned_while_it_is_shown_hurts_nobody(
    settings: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(settings, "a", b"spam bob@example.org\nx", 1000)

    def learned_now() -> float:
        (settings.spool / "new/a").unlink()
        return 1100.0

    monkeypatch.setattr(learning.time, "time", learned_now)
    assert learning.show(settings) == 0
    assert json.loads(capsys.readouterr().out)["oldest"] == 100


def test_the_self_check_s_message_is_forgotten_and_counts_for_nobody(settings: Any, spamd: Spamd) -> None:
    drop(settings, "a", b"spam self-check\nx", 1)
    asked = spamd(SET, KNOWN)
    assert learning.learn(settings) == 0
    assert [b"Set: local" in asked[0], b"Remove: local" in asked[1]] == [True, True]
    assert learning.read_counters(settings.counters) == {"self-check": {"spam": 1, "ham": 0, "known": 0}}


def learner(settings: Any, kinds: int) -> threading.Thread:
    """Somebody who counts so many messages of the spool, without asking spamd."""

    def work() -> None:
        for _unused in range(kinds):
            while not (paths := learning.waiting(settings.spool)):
                time.sleep(0.01)
            path = next(iter(paths))
            found = learning.parse(path.read_bytes())
            counters = learning.count(learning.read_counters(settings.counters), found.kind, {found.user: True})
            learning.write_counters(settings.counters, counters)
            path.unlink()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_the_self_check_is_content_when_both_moves_are_learned(settings: Any) -> None:
    thread = learner(settings, 2)
    assert learning.self_check(settings) == 0
    thread.join(5)
    assert learning.counted(settings) == {"spam": 1, "ham": 1, "known": 0}


def test_the_self_check_fails_when_nobody_learns(
    settings: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sendmail = settings.spool.parent / "sendmail"
    sendmail.write_text(f'#!/bin/sh\n{{ echo "$@"; cat; }} >{settings.spool.parent}/mail\n', encoding="utf-8")
    sendmail.chmod(0o755)
    monkeypatch.setattr(learning, "SENDMAIL", str(sendmail))
    monkeypatch.setattr(learning, "SELF_CHECK_WITHIN", 0.3)
    assert learning.self_check(settings) == 1
    for said in (capsys.readouterr().err, (settings.spool.parent / "mail").read_text(encoding="utf-8")):
        assert "not learned as spam" in said
        assert "2 messages wait" in said


SESSION = """\
import sys
for line in sys.stdin:
    tag, _unused, word = line.strip().partition(" ")
    if tag[:1] == "a" and tag[1:].isdigit():
        print(tag, "NO refused" if word.startswith(sys.argv[1]) else "OK done")
"""


@pytest.mark.parametrize("refused", ["APPEND", "MOVE"])
def test_the_self_check_fails_when_no_message_can_be_moved(
    settings: Any, refused: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(learning, "SENDMAIL", "/bin/true")
    session = (sys.executable, "-c", SESSION, refused)
    assert learning.self_check(dataclasses.replace(settings, session=session)) == 1
    assert "NO refused" in capsys.readouterr().err


def test_the_self_check_moves_a_message_as_a_mail_program_does(settings: Any) -> None:
    learning.move(dataclasses.replace(settings, session=(sys.executable, "-c", SESSION, "nothing")), b"x\r\n")
    said = learning.dialogue('Ju"nk', b"x\r\n").decode().split("\r\n")
    assert said[0] == "a1 APPEND INBOX {3+}"
    assert 'a3 MOVE 1 "Ju\\"nk"' in said
