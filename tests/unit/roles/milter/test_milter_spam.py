# SPDX-License-Identifier: GPL-3.0-or-later
"""What spamd is asked and answers, and what becomes of the message then."""

from __future__ import annotations

import email
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from postoffice_milter.content import AddField, Client, Content, RemoveField, removed
from postoffice_milter.session import Envelope
from postoffice_milter.spam import SpamCheck, folded, marks, scanned_form
from postoffice_milter.spamd import Score, Spamd, parse_answer
from postoffice_milter.verdict import UnavailableError


def answer(body: bytes = b"A_RULE,ANOTHER", spam: str = "True ; 7.3 / 5.0", status: str = "0 EX_OK") -> bytes:
    return f"SPAMD/1.1 {status}\r\nContent-length: {len(body)}\r\nSpam: {spam}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("spam", "score"),
    [
        ("True ; 7.3 / 5.0", Score(7.3, 5.0, ("A_RULE", "ANOTHER"))),
        ("False ; -2.0 / 5.0", Score(-2.0, 5.0, ("A_RULE", "ANOTHER"))),
        ("False ; 0 / 5", Score(0.0, 5.0, ("A_RULE", "ANOTHER"))),
    ],
)
def test_scores(spam: str, score: Score) -> None:
    assert parse_answer(answer(spam=spam)) == score


def test_what_reaches_the_required_score_is_spam() -> None:
    assert Score(5.0, 5.0).is_spam
    assert not Score(4.9, 5.0).is_spam


NO_ANSWERS = {
    "nothing": b"",
    "an error": answer(status="76 EX_PROTOCOL"),
    "another protocol": b"HTTP/1.0 200 OK\r\n\r\n",
    "no verdict": b"SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\n\r\n",
    "a cut body": answer()[:-1],
    "too much": answer() + b"x",
    "a cut head": b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 7.3 / 5.0",
    "no number": answer(spam="True ; nan / 5.0"),
    "half a verdict": answer(spam="True ; 7.3"),
    "binary": b"\xff" * 100,
}


@pytest.mark.parametrize("said", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_no_answer_is_no_score(said: bytes) -> None:
    with pytest.raises(ValueError, match=r"answer"):
        parse_answer(said)


@given(st.binary(max_size=200))
def test_nonsense_is_never_a_score(said: bytes) -> None:
    with pytest.raises(ValueError, match=r"answer"):
        parse_answer(said)


Start = Callable[..., Spamd]


@pytest.fixture
def spamd(tmp_path: Path) -> Iterator[Start]:
    """Starts a spamd that says what it is told to, once, and remembers the question."""
    path = tmp_path / "spamd.sock"
    threads: list[threading.Thread] = []
    done = threading.Event()

    def serve(listener: socket.socket, said: bytes, asked: list[bytes], hangs: bool) -> None:
        with listener, listener.accept()[0] as connection, connection.makefile("rb") as stream:
            if hangs:
                done.wait(10)
                return
            asked.append(stream.read())
            connection.sendall(said)

    def start(said: bytes, asked: list[bytes] | None = None, hangs: bool = False, timeout: float = 10) -> Spamd:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        threads.append(threading.Thread(target=serve, args=(listener, said, [] if asked is None else asked, hangs)))
        threads[-1].start()
        return Spamd(path, timeout)

    yield start
    done.set()
    for thread in threads:
        thread.join()


def test_a_message_is_scanned(spamd: Start) -> None:
    asked: list[bytes] = []
    assert spamd(answer(), asked).scan(b"From: x\r\n\r\ntext").points == 7.3
    assert asked == [b"SYMBOLS SPAMC/1.5\r\nContent-length: 15\r\n\r\nFrom: x\r\n\r\ntext"]


def test_a_ping(spamd: Start) -> None:
    spamd(b"SPAMD/1.5 0 PONG\r\n").ping()


def test_no_pong(spamd: Start) -> None:
    with pytest.raises(UnavailableError, match="PING"):
        spamd(b"SPAMD/1.5 76 EX_PROTOCOL\r\n").ping()


def test_a_scanner_that_hangs_is_given_up(spamd: Start) -> None:
    with pytest.raises(UnavailableError, match="timed out"):
        spamd(b"", hangs=True, timeout=0.2).scan(b"x" * 10_000_000)


def test_a_scanner_that_starts_anew_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "spamd.sock"

    def come_back() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            time.sleep(0.3)
            listener.listen()
            listener.accept()[0].close()
            with listener.accept()[0] as connection, connection.makefile("rb") as stream:
                stream.read()
                connection.sendall(answer())

    comes = threading.Timer(0.3, come_back)
    comes.start()
    assert Spamd(path, 10).scan(b"text").points == 7.3
    comes.join()


def test_an_absent_scanner(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="No such file"):
        Spamd(tmp_path / "absent", 1).scan(b"")


class Scanner:
    """Scores everything alike."""

    def __init__(self, score: Score | None) -> None:
        self._score = score
        self.scanned: list[bytes] = []

    def scan(self, message: bytes) -> Score:
        self.scanned.append(message)
        if self._score is None:
            raise UnavailableError("spamd is away")
        return self._score


FORGED = [("X-Spam-Flag", b"NO"), ("Subject", b"Hello\n there"), ("x-spam-status", b"No"), ("X-SPAM-FLAG", b"NO")]
CONTENT = Content(FORGED, b"text\r\n", 6, "4abc", "mail.example.org", Client("mx.x.example", "192.0.2.1", "mx"))
ENVELOPE = Envelope(sender="<s@x.example>", recipients=["<alice@example.org>"])
WITHOUT_FORGED = (RemoveField("X-SPAM-FLAG", 2), RemoveField("x-spam-status", 1), RemoveField("X-Spam-Flag", 1))


def judged(score: Score | None, refused_from: float = 15, passes: bool = False) -> object:
    return SpamCheck(Scanner(score), refused_from, passes).content(ENVELOPE, CONTENT)


def test_only_strangers_are_scored() -> None:
    check = SpamCheck(Scanner(None), 15, False)
    assert check.wants_content(Envelope())
    assert not check.wants_content(Envelope(login="alice@example.org"))
    assert not check.wants_headers(Envelope(login="alice@example.org"))


def test_marks_replace_what_the_sender_wrote() -> None:
    outcome = SpamCheck(Scanner(Score(6.2, 5.0, ("A", "B"))), 15, False).content(ENVELOPE, CONTENT)
    assert outcome.reply is None
    assert outcome.changes == (
        *WITHOUT_FORGED,
        AddField("X-Spam-Status", "Yes, score=6.2 required=5.0 tests=A, B"),
        AddField("X-Spam-Score", "6.2"),
        AddField("X-Spam-Level", "******"),
        AddField("X-Spam-Flag", "YES"),
    )


def test_good_mail_is_marked_without_stars() -> None:
    assert marks(Score(-0.1, 5.0), CONTENT) == (
        AddField("X-Spam-Status", "No, score=-0.1 required=5.0 tests=none"),
        AddField("X-Spam-Score", "-0.1"),
    )


def test_stars_have_an_end() -> None:
    assert AddField("X-Spam-Level", "*" * 50) in marks(Score(1000.0, 5.0), CONTENT)


def test_what_was_scanned_only_in_part_says_so() -> None:
    part = Content([], b"0123", 20)
    assert marks(Score(0.0, 5.0), part)[0].value == "No, score=0.0 required=5.0 scanned=4 size=20 tests=none"


@pytest.mark.parametrize(("points", "refused_from", "refused"), [(15, 15, True), (14.9, 15, False), (99, 0, False)])
def test_mail_is_refused_from_the_sites_score_on(points: float, refused_from: float, refused: bool) -> None:
    outcome = SpamCheck(Scanner(Score(points, 5.0)), refused_from, False).content(ENVELOPE, CONTENT)
    assert bool(outcome.reply) is refused
    assert outcome.reply is None or str(outcome.reply) == "550 5.7.1 The message looks like spam (15.0 points)"


def test_what_cannot_be_scanned_does_not_pass() -> None:
    with pytest.raises(UnavailableError):
        judged(None)


def test_unless_the_operator_lets_it_and_then_it_says_so(caplog: pytest.LogCaptureFixture) -> None:
    outcome = SpamCheck(Scanner(None), 15, True).content(ENVELOPE, CONTENT)
    assert outcome.changes == (*WITHOUT_FORGED, AddField("X-Spam-Status", "Unknown, not scanned"))
    assert [(record.levelname, "4abc" in record.message) for record in caplog.records] == [("ERROR", True)]


def test_the_log_tells_the_score_and_no_content(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        judged(Score(6.2, 5.0, ("A_RULE",)))
    assert "4abc" in caplog.text
    assert "6.2 points, tests=A_RULE" in caplog.text
    assert "Hello" not in caplog.text


def test_the_scanner_sees_what_the_mailbox_will_hold() -> None:
    message = email.message_from_bytes(scanned_form(ENVELOPE, CONTENT, 0))
    assert message.keys() == ["Received", "X-Envelope-From", "Subject"]
    assert " ".join(message["Received"].split()) == (
        "from mx (mx.x.example [192.0.2.1]) by mail.example.org (Postfix) with ESMTP id 4abc"
        " for <alice@example.org>; Thu, 01 Jan 1970 00:00:00 -0000"
    )
    assert message["X-Envelope-From"] == "<s@x.example>"
    assert message["Subject"].replace("\r", "") == "Hello\n there"
    assert message.get_payload() == "text\r\n"


def test_addresses_of_version_6_are_written_as_postfix_does() -> None:
    content = Content([], b"", 0, client=Client("unknown", "2001:db8::1", "mx"))
    assert b"(unknown [IPv6:2001:db8::1])" in scanned_form(Envelope(), content, 0)


def test_the_scanner_is_told_whose_mail_it_is_and_not_by_the_sender() -> None:
    scanner = Scanner(Score(1.0, 5.0))
    content = Content([("x-postoffice-mailbox", b"mallory@example.org"), *FORGED], b"", 0)
    SpamCheck(scanner, 15, False, lambda envelope: envelope.recipients[0].strip("<>")).content(ENVELOPE, content)
    assert email.message_from_bytes(scanner.scanned[0]).get_all("X-Postoffice-Mailbox") == ["alice@example.org"]


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_no_client_writes_a_field_of_its_own(helo: str, name: str, sender: str, recipient: str) -> None:
    content = Content([("Subject", b"x")], b"", 0, client=Client(name, "192.0.2.1", helo))
    form = scanned_form(Envelope(sender=sender, recipients=[recipient]), content, 0)
    assert email.message_from_bytes(form).keys() == ["Received", "X-Envelope-From", "Subject"]


@given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=70), min_size=1))
def test_folding_keeps_words_and_lines_short(words: list[str]) -> None:
    text = folded(words)
    assert text.split() == words
    assert all(len(line) <= 77 for line in text.split("\n"))
    assert all(line.startswith("\t") for line in text.split("\n")[1:])


def test_removals_go_from_the_last_to_the_first() -> None:
    assert removed(FORGED, "X-Spam-") == WITHOUT_FORGED
    assert removed(FORGED, "Received") == ()
