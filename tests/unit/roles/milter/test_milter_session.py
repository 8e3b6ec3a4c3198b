# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of events in a session."""

from __future__ import annotations

import pytest
from postoffice_milter.session import HEADER_LIMIT, Check, Envelope, Session, announced_size
from postoffice_milter.verdict import Reply, printable

REFUSAL = Reply(550, "5.7.1", "no")


class Refuses(Check):
    """Refuses recipients and headers that contain a word."""

    def recipient(self, envelope: Envelope, recipient: str) -> Reply | None:
        return REFUSAL if "bad" in recipient else None

    def headers(self, envelope: Envelope, headers: list[tuple[str, bytes]]) -> Reply | None:
        return REFUSAL if any(b"bad" in value for _unused, value in headers) else None


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
