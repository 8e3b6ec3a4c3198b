# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of events, and that nothing passes when something goes wrong."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from postoffice_milter.callbacks import Callbacks
from postoffice_milter.lookup import Directory
from postoffice_milter.quota import QuotaCheck, QuotaStatus
from postoffice_milter.senders import SenderCheck
from postoffice_milter.session import HEADER_LIMIT, Check, Envelope, Session, announced_size
from postoffice_milter.verdict import LATER, Reply, UnavailableError, printable

REFUSAL = Reply(550, "5.7.1", "no")


class Refuses(Check):
    """Refuses recipients and headers that contain a word."""

    def recipient(self, envelope: Envelope, recipient: str) -> Reply | None:
        return REFUSAL if "bad" in recipient else None

    def headers(self, envelope: Envelope, headers: list[tuple[str, bytes]]) -> Reply | None:
        return REFUSAL if any(b"bad" in value for _unused, value in headers) else None


class Breaks(Check):
    """Fails at everything."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def recipient(self, envelope: Envelope, recipient: str) -> Reply | None:
        raise self._error

    def headers(self, envelope: Envelope, headers: list[tuple[str, bytes]]) -> Reply | None:
        raise self._error


def test_recipients_that_are_refused_are_no_recipients() -> None:
    session = Session([Refuses()])
    session.mail("", "<s@x.example>", ["SIZE=100"])
    assert session.recipient("<good@x.example>") is None
    assert session.recipient("<bad@x.example>") == REFUSAL
    assert session.envelope == Envelope(sender="<s@x.example>", size=100, recipients=["<good@x.example>"])


def test_one_message_knows_nothing_of_the_other() -> None:
    session = Session([Refuses()])
    session.mail("Alice@Example.org", "<>", [])
    session.recipient("<a@x.example>")
    session.header("X", b"bad")
    session.finish()
    assert not session.in_message
    session.mail("", "<>", [])
    assert session.in_message
    assert session.envelope == Envelope(sender="<>")
    assert session.end_of_headers() is None


def test_logins_are_lower_case() -> None:
    session = Session([])
    session.mail("Alice@Example.org", "<>", [])
    assert session.envelope.login == "alice@example.org"


def test_a_header_without_end_is_refused_and_not_kept() -> None:
    session = Session([Refuses()])
    session.mail("alice@example.org", "<>", [])
    for _unused in range(3):
        session.header("X", b"x" * (HEADER_LIMIT // 2))
    reply = session.end_of_headers()
    assert reply is not None
    assert "too large" in reply.text


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ([], 0),
        (["SIZE=10"], 10),
        (["BODY=8BITMIME", "size=7"], 7),
        (["SIZE="], 0),
        (["SIZE=-1"], 0),
        (["SIZE=\xb2"], 0),
    ],
)
def test_announced_sizes(parameters: list[str], size: int) -> None:
    assert announced_size(parameters) == size


def test_replies_are_one_printable_line() -> None:
    reply = Reply(550, "5.7.1", "a\r\n250 ok\x00\x1b[2Jé\u202e" + "x" * 1000)
    assert reply.text.isascii()
    assert reply.text.isprintable()
    assert len(reply.text) <= 400
    assert printable("é\n") == "\\xe9\\n"
    assert len(printable("x" * 500)) == 120


@pytest.mark.parametrize(("code", "status"), [(250, "2.0.0"), (550, "4.7.1"), (700, "7.0.0")])
def test_only_refusals_are_replies(code: int, status: str) -> None:
    with pytest.raises(ValueError, match="refusal"):
        Reply(code, status, "x")


class Libmilter:
    """What Callbacks uses of pymilter's module."""

    CONTINUE, REJECT, ACCEPT, TEMPFAIL = 0, 1, 3, 4
    M_ENVFROM, M_ENVRCPT, SETSYMLIST = 2, 3, 0x100
    P_NOCONNECT, P_NOHELO, P_NOUNKNOWN, P_NOBODY = 0x1, 0x2, 0x100, 0x10


@dataclass
class Context:
    """A session in libmilter's eyes."""

    macros: dict[str, str] = field(default_factory=dict)
    private: object = None
    reply: tuple[str, str, str] | None = None
    asked_for: dict[int, str] = field(default_factory=dict)

    def getpriv(self) -> object:
        return self.private

    def setpriv(self, value: object) -> None:
        self.private = value

    def getsymval(self, name: str) -> str | None:
        return self.macros.get(name)

    def setreply(self, code: str, status: str, text: str) -> None:
        self.reply = (code, status, text)

    def setsymlist(self, stage: int, names: str) -> None:
        self.asked_for[stage] = names


def begin(*checks: Check, login: str = "") -> tuple[Callbacks, Context]:
    callbacks = Callbacks(Libmilter(), checks)  # type: ignore[arg-type]
    context = Context({"{auth_authen}": login} if login else {})
    options = [0x1FF, 0x1FFFFF, 0, 0]
    assert callbacks.negotiate(context, options) == Libmilter.CONTINUE
    assert options == [0x1FF, 0x113, 0, 0]
    assert callbacks.mail(context, b"<s@x.example>", b"SIZE=10") == Libmilter.CONTINUE
    return callbacks, context


def test_login_and_recipient_are_asked_for_whatever_the_mail_server_would_send() -> None:
    _unused, context = begin()
    assert context.asked_for == {Libmilter.M_ENVFROM: "{auth_authen}", Libmilter.M_ENVRCPT: "{rcpt_addr}"}


def test_a_recipient_is_what_the_mail_server_understood() -> None:
    callbacks, context = begin(Refuses())
    context.macros["{rcpt_addr}"] = "bad@x.example"
    assert callbacks.recipient(context, b"< good@x.example. >") == Libmilter.REJECT


def test_a_mail_server_that_offers_less_gets_less() -> None:
    callbacks, context = Callbacks(Libmilter(), []), Context()  # type: ignore[arg-type]
    options = [0x3F, 0x7F, 0, 0]
    callbacks.negotiate(context, options)
    assert options == [0x3F, 0x13, 0, 0]
    assert context.asked_for == {}


def test_strangers_content_is_left_alone() -> None:
    callbacks, context = begin(Refuses())
    assert callbacks.recipient(context, b"<good@x.example>") == Libmilter.CONTINUE
    assert callbacks.data(context) == Libmilter.ACCEPT
    assert callbacks.sessions.in_message() == 0


def test_a_users_message_passes() -> None:
    callbacks, context = begin(Refuses(), login="alice@example.org")
    assert callbacks.data(context) == Libmilter.CONTINUE
    assert callbacks.header(context, "From", b"good") == Libmilter.CONTINUE
    assert callbacks.end_of_headers(context) == Libmilter.CONTINUE
    assert callbacks.sessions.in_message() == 1
    assert callbacks.end_of_message(context) == Libmilter.CONTINUE
    assert callbacks.sessions.in_message() == 0


def test_refusals_reach_the_client_and_the_log(caplog: pytest.LogCaptureFixture) -> None:
    callbacks, context = begin(Refuses(), login="alice@example.org")
    with caplog.at_level(logging.INFO):
        assert callbacks.recipient(context, b"<bad%s@x.example>") == Libmilter.REJECT
    assert context.reply == ("550", "5.7.1", "no")
    assert "alice@example.org" in caplog.text
    callbacks.header(context, "X", b"bad secret")
    assert callbacks.end_of_headers(context) == Libmilter.REJECT
    assert "secret" not in caplog.text
    assert callbacks.sessions.in_message() == 0


def test_percent_signs_survive_libmilter() -> None:
    callbacks, context = begin()
    callbacks.refuse(context, Reply(550, "5.7.1", "100% sure"))
    assert context.reply == ("550", "5.7.1", "100%% sure")


@pytest.mark.parametrize("error", [UnavailableError("no\ndatabase"), RuntimeError("bug"), RecursionError()])
def test_trouble_defers(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    callbacks, context = begin(Breaks(error), login="alice@example.org")
    later = (str(LATER.code), LATER.status, LATER.text)
    assert callbacks.recipient(context, b"<a@x.example>") == Libmilter.TEMPFAIL
    assert context.reply == later
    context.reply = None
    assert callbacks.end_of_headers(context) == Libmilter.TEMPFAIL
    assert context.reply == later
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_real_checks_defer_without_their_sources(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "absent.sqlite3")
    callbacks, context = begin(
        SenderCheck(directory, "+", True),
        QuotaCheck(directory, QuotaStatus(tmp_path / "absent", 1), "+"),
        login="alice@example.org",
    )
    assert callbacks.recipient(context, b"<a@example.org>") == Libmilter.TEMPFAIL
    callbacks.header(context, "From", b"alice@example.org")
    assert callbacks.end_of_headers(context) == Libmilter.TEMPFAIL


def test_events_without_a_session_are_deferred() -> None:
    callbacks, context = Callbacks(Libmilter(), []), Context()  # type: ignore[arg-type]
    assert callbacks.mail(context, b"<>") == Libmilter.TEMPFAIL
    assert callbacks.end_of_message(context) == Libmilter.TEMPFAIL
    assert callbacks.close(context) == Libmilter.CONTINUE


def test_closed_sessions_are_forgotten() -> None:
    callbacks, context = begin()
    assert callbacks.sessions.running() == 1
    assert callbacks.abort(context) == Libmilter.CONTINUE
    assert callbacks.sessions.in_message() == 0
    assert callbacks.close(context) == Libmilter.CONTINUE
    assert callbacks.sessions.running() == 0
    assert context.private is None


def test_strange_bytes_are_carried_along() -> None:
    callbacks, context = begin(Refuses())
    assert callbacks.recipient(context, b"<\xff\xfe@x.example>") == Libmilter.CONTINUE
    assert callbacks.recipient(context, b"<bad\xff@x.example>") == Libmilter.REJECT
