# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose mail is refused because its mailbox is full."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from postoffice_milter import quota
from postoffice_milter.addresses import Address
from postoffice_milter.lookup import Directory, parse_expressions
from postoffice_milter.quota import QuotaCheck, QuotaStatus, parse_answer
from postoffice_milter.recipients import Destinations, expand, only_mailbox
from postoffice_milter.session import Envelope
from postoffice_milter.verdict import Reply, UnavailableError

FULL = Reply(552, "5.2.2", "mailbox is full")


class Service:
    """A quota service in whose opinion some mailboxes are full."""

    def __init__(self, full: Iterable[str] = ("full@example.org", "brim@example.org")) -> None:
        self.full = set(full)
        self.asked: list[tuple[tuple[str, ...], int]] = []

    def refusal(self, mailboxes: Iterable[str], size: int) -> Reply | None:
        names = tuple(mailboxes)
        self.asked.append((names, size))
        return FULL if self.full.issuperset(names) else None


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "PATIENCE", 0.3)


@pytest.fixture
def directory(lookups: Path, expressions: Path) -> Directory:
    return Directory(lookups, expressions)


@pytest.mark.parametrize(
    ("recipient", "mailboxes", "elsewhere"),
    [
        ("alice@example.org", ("alice",), False),
        ("alice+tag@example.org", ("alice",), False),
        ("sales@example.org", ("alice",), False),
        ("sales+tag@example.org", ("alice",), False),
        ("chain@example.org", ("full",), False),
        ("both@example.org", ("alice", "full"), False),
        ("away@example.org", ("full",), True),
        ("full@example.net", ("full",), False),
        ("anybody@example.net", ("full",), False),
        ("any+tag@example.net", ("full",), False),
        ("filed@example.org", ("full",), False),
        ("team-a@example.org", ("full",), False),
        ("team-a+tag@example.org", ("full",), False),
        ("to-alice@example.org", ("alice",), True),
        ("alice+to-bob@example.org", ("alice",), False),
        ("nobody@example.org", (), True),
        ("+@example.org", (), True),
        ("stranger@elsewhere.example", (), True),
        ("loop@example.org", (), False),
    ],
)
def test_where_mail_ends(directory: Directory, recipient: str, mailboxes: tuple[str, ...], elsewhere: bool) -> None:
    local, _unused, domain = recipient.partition("@")
    with directory.snapshot() as snapshot:
        found = expand(Address(local, domain), snapshot, "+")
    assert found == Destinations(tuple(f"{name}@example.org" for name in mailboxes), elsewhere)


@pytest.mark.parametrize(
    ("recipients", "mailbox"),
    [
        (["<alice@example.org>"], "alice@example.org"),
        (["<Alice+news@example.org>"], "alice@example.org"),
        (["<sales@example.org>", "<alice@example.org>"], "alice@example.org"),
        (["<filed@example.org>"], "full@example.org"),
        (["<alice@example.org>", "<bob@example.org>"], ""),
        (["<both@example.org>"], ""),
        (["<away@example.org>"], ""),
        (["<alice@example.org>", "<friend@partner.example>"], ""),
        (["<not an address>"], ""),
        ([], ""),
    ],
)
def test_the_one_mailbox_of_a_message(directory: Directory, recipients: list[str], mailbox: str) -> None:
    assert only_mailbox(recipients, directory, "+") == mailbox


@pytest.mark.parametrize(
    ("recipient", "refused"),
    [
        ("<full@example.org>", True),
        ("<FULL+tag@Example.org>", True),
        ("<tofull@example.org>", True),
        ('<"full"@example.org>', True),
        ("<@relay.example:full@example.org>", True),
        ("<fulls@example.org>", True),
        ("<anybody@example.net>", True),
        ("<team-x@example.org>", True),
        ("<alice@example.org>", False),
        ("<both@example.org>", False),
        ("<away@example.org>", False),
        ("<stranger@elsewhere.example>", False),
        ('<"odd name"@example.org>', False),
        ("<postmaster>", False),
    ],
)
def test_refused_when_nobody_can_take_it(directory: Directory, recipient: str, refused: bool) -> None:
    reply = QuotaCheck(directory, Service(), "+").recipient(Envelope(), recipient)
    assert (reply is not None) == refused
    if reply is not None:
        assert (reply.code, reply.status) == (552, "5.2.2")
        assert "@example." in reply.text


def test_the_reply_does_not_tell_who_is_behind_an_alias(directory: Directory) -> None:
    reply = QuotaCheck(directory, Service(), "+").recipient(Envelope(), "<tofull@example.org>")
    assert "<full@" not in str(reply)


def test_the_announced_size_is_passed_on(directory: Directory) -> None:
    service = Service()
    QuotaCheck(directory, service, "+").recipient(Envelope(size=12345), "<both@example.org>")
    assert service.asked == [(("alice@example.org", "full@example.org"), 12345)]


def test_the_service_is_not_asked_about_others(directory: Directory) -> None:
    service = Service()
    QuotaCheck(directory, service, "+").recipient(Envelope(), "<away@example.org>")
    QuotaCheck(directory, service, "+").recipient(Envelope(), "<stranger@elsewhere.example>")
    assert service.asked == []


def test_no_expressions_file_is_no_expressions(lookups: Path, tmp_path: Path) -> None:
    with Directory(lookups, tmp_path / "absent").snapshot() as snapshot:
        assert expand(Address("team-x", "example.org"), snapshot, "+") == Destinations((), True)


def test_changed_expressions_count_at_once(directory: Directory, expressions: Path) -> None:
    def mailboxes() -> tuple[str, ...]:
        with directory.snapshot() as snapshot:
            return expand(Address("team-x", "example.org"), snapshot, "+").mailboxes

    assert mailboxes() == ("full@example.org",)
    new = expressions.with_suffix(".new")
    new.write_text("/^team-.*@example\\.org$/ bob@example.org\n")
    new.rename(expressions)
    assert mailboxes() == ("bob@example.org",)


def test_expressions_are_read_as_postfix_reads_them() -> None:
    text = "/^a\\/(b)$/ $1x, ${1}y, $(1)z, $$\n/^UP$/ u@x\n/^Exact$/i e@x\n/^(/ broken\n"
    slash, upper, exact = parse_expressions(text)
    assert slash.expand("a/b") == ("bx", "by", "bz", "$")
    assert slash.expand("a/c") is None
    assert upper.expand("up") == ("u@x",)
    assert exact.expand("exact") is None
    assert exact.expand("Exact") == ("e@x",)


@pytest.mark.parametrize("action", ["DUNNO", "OK", "dunno", "PERMIT", "PREPEND X: y"])
def test_answers_that_allow(action: str) -> None:
    assert parse_answer(f"action={action}\n\n") is None


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("552 5.2.2 Mailbox is full", "5.2.2"),
        ("554 5.2.2 Quota exceeded", "5.2.2"),
        ("REJECT full", "5.2.2"),
        ("552 5.3.4 too large", "5.3.4"),
    ],
)
def test_answers_that_refuse(action: str, status: str) -> None:
    reply = parse_answer(f"action={action}\n\n")
    assert reply is not None
    assert (reply.code, reply.status) == (552, status)


@pytest.mark.parametrize(
    "answer", ["", "\n\n", "action\n\n", "action=DEFER_IF_PERMIT x\n\n", "action=450 4.2.0 x\n\n", "action=DEFER\n\n"]
)
def test_answers_that_defer(answer: str) -> None:
    with pytest.raises(UnavailableError):
        parse_answer(answer)


class Server:
    """A quota-status that answers as it is told."""

    def __init__(self, path: Path, answer: Callable[[dict[str, str]], bytes]) -> None:
        self.path = path
        self.questions: list[dict[str, str]] = []
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _unused = self._socket.accept()
            with connection, connection.makefile("rb") as stream:
                question: dict[str, str] = {}
                for line in stream:
                    name, _unused, value = line.decode().strip().partition("=")
                    if name == "stop":
                        return
                    if name:
                        question[name] = value
                        continue
                    self.questions.append(question)
                    answer = self._answer(question)
                    question = {}
                    connection.sendall(answer)
                    if not answer.endswith(b"\n\n"):
                        break

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.path))
            connection.sendall(b"stop=\n")
        self._thread.join()
        self._socket.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Callable[[dict[str, str]], bytes]], Server]]:
    servers: list[Server] = []

    def start(answer: Callable[[dict[str, str]], bytes]) -> Server:
        servers.append(Server(tmp_path / "quota-status", answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


Serve = Callable[[Callable[[dict[str, str]], bytes]], Server]


def test_the_policy_protocol(serve: Serve) -> None:
    full = b"action=552 5.2.2 full\n\n"
    server = serve(lambda question: full if question["recipient"].startswith("f") else b"action=DUNNO\n\n")
    assert QuotaStatus(server.path, 5).refusal(["f@x.example", "a@x.example", "b@x.example"], 42) is None
    asked = [(question["recipient"], question["size"]) for question in server.questions]
    assert asked == [("f@x.example", "42"), ("a@x.example", "42")]
    assert QuotaStatus(server.path, 5).refusal(["f@x.example", "ff@x.example"], 0) == FULL


@pytest.mark.parametrize("first", [b"action=DEFER_IF_PERMIT Temporary internal error\n\n", b""])
def test_dovecot_that_reloads_is_asked_again(serve: Serve, first: bytes) -> None:
    answers = [first, b"action=552 5.2.2 full\n\n"]
    server = serve(lambda question: answers.pop(0))
    assert QuotaStatus(server.path, 5).refusal(["f@x.example"], 42) == FULL
    assert [question["size"] for question in server.questions] == ["42", "42"]


def test_it_is_asked_again_when_its_first_answer_took_all_our_patience(serve: Serve) -> None:
    answers = [b"action=DEFER_IF_PERMIT Temporary internal error\n\n", b"action=552 5.2.2 full\n\n"]

    def answer(question: dict[str, str]) -> bytes:
        if len(answers) > 1:
            time.sleep(2 * quota.PATIENCE)  # how late it answers is what this is about
        return answers.pop(0)

    server = serve(answer)
    assert QuotaStatus(server.path, 5).refusal(["f@x.example"], 42) == FULL
    assert len(server.questions) == 2


def test_a_process_that_hangs_is_not_the_only_one_that_is_asked(tmp_path: Path) -> None:
    def answer_the_second(listening: socket.socket) -> None:
        with listening.accept()[0], listening.accept()[0] as second:
            assert b"recipient=f@x.example" in second.recv(4096)
            second.sendall(b"action=552 5.2.2 full\n\n")

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "quota-status"))
        listening.listen()
        thread = threading.Thread(target=answer_the_second, args=(listening,), daemon=True)
        thread.start()
        assert QuotaStatus(tmp_path / "quota-status", 1).refusal(["f@x.example"], 42) == FULL
        thread.join()


def test_who_stays_away_is_not_waited_for_each_time(serve: Serve) -> None:
    answers = [b"action=DEFER\n\n"]
    server = serve(lambda question: answers[-1])
    service = QuotaStatus(server.path, 5)
    for least, most in ((2, 3), (1, 1)):
        server.questions.clear()
        with pytest.raises(UnavailableError, match="DEFER"):
            service.refusal(["a@x.example"], 0)
        assert least <= len(server.questions) <= most
    answers.append(b"action=DUNNO\n\n")
    assert service.refusal(["a@x.example"], 0) is None
    answers.append(b"action=DEFER\n\n")
    server.questions.clear()
    with pytest.raises(UnavailableError):
        service.refusal(["a@x.example"], 0)
    assert len(server.questions) > 1


@pytest.mark.parametrize("answer", [b"", b"action=DUN", b"action=OK\n", b"x" * 5000])
def test_an_incomplete_answer_is_none(serve: Serve, answer: bytes) -> None:
    with pytest.raises(UnavailableError):
        QuotaStatus(serve(lambda question: answer).path, 5).refusal(["a@x.example"], 0)


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="quota-status"):
        QuotaStatus(tmp_path / "quota-status", 5).refusal(["a@x.example"], 0)


def test_an_answer_that_never_comes(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "quota-status"))
        silent.listen()
        with pytest.raises(UnavailableError, match="timed out"):
            QuotaStatus(tmp_path / "quota-status", 0.05).refusal(["a@x.example"], 0)
