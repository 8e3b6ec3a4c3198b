# SPDX-License-Identifier: GPL-3.0-or-later
"""How much users may send: limits trip neither early nor late, whoever sends beside, whatever happens meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postoffice_milter import __main__ as program
from postoffice_milter.content import Content, Outcome
from postoffice_milter.limits import DAY, HOUR, LIMITS, Excess, LimitCheck, duration, effective, plain, refusal
from postoffice_milter.lookup import Directory
from postoffice_milter.session import Check, Envelope, Session
from postoffice_milter.settings import Settings
from postoffice_milter.usage import REMEMBERED, Usage
from postoffice_milter.verdict import Reply, UnavailableError

from ansible_collections.postoffice.mail.plugins.module_utils.directory import fields

ALICE, BOB = "alice@example.org", "bob@example.org"
NOW = 1_800_000_000.0
BY_NAME = {limit.name: limit for limit in LIMITS}


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def usage(tmp_path: Path, clock: Clock) -> Usage:
    return Usage(tmp_path / "usage.sqlite3", clock)


def some(count: int, start: int = 0) -> list[str]:
    """So many recipients."""
    return [f"r{number}@else.example" for number in range(start, start + count)]


def test_the_limits_are_those_that_the_directory_knows() -> None:
    assert set(BY_NAME) == fields.names(fields.SENDING_LIMITS)
    assert set(BY_NAME) == set(Settings("/s", "/d").limits)


@pytest.mark.parametrize("name", BY_NAME)
def test_as_many_as_allowed_and_not_one_more(usage: Usage, clock: Clock, name: str) -> None:
    """Until the first one is as old as the limit's time, to the second."""
    seconds, most = BY_NAME[name].seconds, {name: 3}
    for number in range(3):
        assert usage.count(ALICE, some(1, number), most) is None
        clock.now += 10
    assert usage.count(ALICE, some(1, 3), most) == Excess(BY_NAME[name], 3, 3, 1, clock.now, NOW + seconds)
    assert usage.count(BOB, some(1), most) is None, "everybody has limits of his own"
    clock.now = NOW + seconds - 1
    assert usage.count(ALICE, some(1, 3), most) is not None
    clock.now = NOW + seconds
    assert usage.count(ALICE, some(1, 3), most) is None
    assert usage.count(ALICE, some(1, 4), most) is not None
    clock.now = NOW + seconds + 10
    assert usage.count(ALICE, some(1, 4), most) is None


def test_a_message_counts_with_all_its_recipients(usage: Usage, clock: Clock) -> None:
    most = {"recipients_per_hour": 10}
    assert usage.count(ALICE, some(4), most) is None
    clock.now += 60
    assert usage.count(ALICE, some(6), most) is None
    excess = usage.count(ALICE, some(5), most)
    assert excess is not None
    assert (excess.used, excess.asked, excess.over) == (10, 5, NOW + 60 + HOUR), "the room of four is not enough"
    excess = usage.count(ALICE, some(4), most)
    assert excess is not None
    assert excess.over == NOW + HOUR
    excess = usage.count(ALICE, some(11), most)
    assert excess is not None
    assert excess.over is None
    assert usage.used(ALICE)["messages_per_hour"] == 2, "what is refused does not count"


def test_recipients_are_known_once_they_were_written_to(usage: Usage, clock: Clock) -> None:
    most = {"new_recipients_per_day": 2}
    assert usage.count(ALICE, some(2), most) is None
    assert usage.count(ALICE, some(2), most) is None
    assert usage.count(ALICE, some(3), most) is not None
    assert usage.count(ALICE, some(1, 2), most) is not None, "who was refused is still new"
    assert usage.count(BOB, some(2), most) is None, "everybody has his own"
    clock.now += REMEMBERED - 1
    assert usage.count(ALICE, some(2), most) is None
    assert usage.used(ALICE)["new_recipients_per_day"] == 0
    clock.now += REMEMBERED + 1
    assert usage.count(ALICE, some(2), most) is None
    assert usage.used(ALICE)["new_recipients_per_day"] == 2, "who was not written to for long is new again"


def test_of_several_limits_the_one_counts_that_takes_longest(usage: Usage) -> None:
    most = {"messages_per_hour": 1, "messages_per_day": 1, "recipients_per_hour": 1}
    assert usage.count(ALICE, some(1), most) is None
    excess = usage.count(ALICE, some(1), most)
    assert excess is not None
    assert (excess.limit.name, excess.over) == ("messages_per_day", NOW + DAY)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2 * HOUR), st.integers(1, 4)), min_size=1, max_size=25),
    st.integers(1, 6),
    st.sampled_from(["messages_per_hour", "recipients_per_hour", "recipients_per_day"]),
)
def test_what_is_said_is_what_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]], most: int, name: str
) -> None:
    """Held against a list of what was accepted; and when it is said to be over it is, and no second earlier."""
    clock, limit = Clock(), BY_NAME[name]
    usage = Usage(tmp_path_factory.mktemp("usage") / "u", clock)
    accepted: list[tuple[float, int]] = []

    def used(now: float) -> int:
        return sum(each for at, each in accepted if at > now - limit.seconds)

    for pause, recipients in steps:
        clock.now += pause
        amount = 1 if name.startswith("messages") else recipients
        excess = usage.count(ALICE, some(recipients), {name: most})
        assert (excess is None) == (used(clock.now) + amount <= most)
        if excess is None:
            accepted.append((clock.now, amount))
        elif excess.over is None:
            assert amount > most
        else:
            assert used(excess.over - 1) + amount > most
            assert used(excess.over) + amount <= most


def test_nobody_slips_past_beside_another(tmp_path: Path, usage: Usage, clock: Clock) -> None:
    """Sessions of one process, and of the two that there are during a reload."""
    counters = [usage, Usage(tmp_path / "usage.sqlite3", clock)]
    accepted: list[int] = []
    begin = threading.Barrier(8)

    def send(number: int) -> None:
        begin.wait()
        for _attempt in range(10):
            if counters[number % 2].count(ALICE, some(1), {"messages_per_hour": 33}) is None:
                accepted.append(number)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accepted) == 33
    assert usage.used(ALICE)["messages_per_hour"] == 33


def test_a_restart_forgets_nothing(tmp_path: Path, usage: Usage, clock: Clock) -> None:
    most = {"messages_per_day": 1}
    assert usage.count(ALICE, some(1), most) is None
    assert Usage(tmp_path / "usage.sqlite3", clock).count(ALICE, some(1), most) is not None


def test_what_counts_no_more_is_forgotten(usage: Usage, clock: Clock) -> None:
    usage.count(ALICE, some(3), {})
    assert usage.senders() == [ALICE]
    clock.now += DAY
    assert usage.senders() == []
    clock.now += HOUR
    usage.count(BOB, some(1), {})
    assert usage._opened is not None
    assert usage._opened.execute("SELECT login FROM sent").fetchall() == [(BOB,)]
    clock.now += REMEMBERED
    usage.count(BOB, some(1, 1), {})
    assert usage._opened.execute("SELECT DISTINCT login FROM known").fetchall() == [(BOB,)]


def test_a_clock_that_ran_ahead_keeps_nobody_from_sending(usage: Usage, clock: Clock) -> None:
    clock.now += 1000 * DAY
    usage.count(ALICE, some(1), {})
    clock.now = NOW
    assert usage.count(ALICE, some(1), {"messages_per_day": 1}) is None


def test_nobody_can_read_there_who_wrote_to_whom(tmp_path: Path, usage: Usage) -> None:
    usage.count(ALICE, some(3), {})
    files = list(tmp_path.iterdir())
    assert files
    assert all(b"else.example" not in path.read_bytes() for path in files)


def test_a_file_that_cannot_be_used_defers_and_may_come_back(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "sub" / "usage.sqlite3"
    usage = Usage(path, clock)
    with pytest.raises(UnavailableError, match="unable to open"):
        usage.count(ALICE, some(1), {})
    path.parent.mkdir()
    path.write_bytes(b"no database" * 100)
    with pytest.raises(UnavailableError, match="not a database"):
        usage.count(ALICE, some(1), {})
    path.unlink()
    assert usage.count(ALICE, some(1), {}) is None


def test_clearing_makes_room_and_keeps_recipients_known(usage: Usage) -> None:
    most = {"messages_per_day": 1, "new_recipients_per_day": 1}
    usage.count(ALICE, some(1), most)
    usage.count(BOB, some(1), most)
    assert usage.clear(ALICE)
    assert not usage.clear(ALICE)
    assert usage.count(ALICE, some(1), most) is None
    assert usage.used(ALICE)["new_recipients_per_day"] == 0
    assert usage.count(BOB, some(1), most) is not None


@pytest.mark.parametrize(
    ("login", "most"),
    [
        pytest.param("bob@example.org", {"messages_per_hour": 2, "recipients_per_day": 0}, id="of the mailbox"),
        pytest.param("007@example.org", {"messages_per_hour": 7, "recipients_per_day": 8}, id="one of each"),
        pytest.param("alice@example.org", {"messages_per_hour": 9, "recipients_per_day": 8}, id="of the domain"),
        pytest.param("eve@example.net", {"messages_per_hour": 5, "recipients_per_day": 5}, id="of the site"),
    ],
)
def test_whose_limits_hold(lookups: Path, login: str, most: dict[str, int]) -> None:
    assert effective(Directory(lookups), login, {"messages_per_hour": 5, "recipients_per_day": 5}) == most


def test_a_recipient_is_the_same_however_it_is_written() -> None:
    assert plain("<R@Else.example>") == plain("r@else.example") == "r@else.example"
    assert plain("<Postmaster>") == "<postmaster>"


def test_the_user_hears_numbers_and_when_it_is_over() -> None:
    limit = BY_NAME["messages_per_hour"]
    assert str(refusal(Excess(limit, 3, 3, 1, NOW, NOW + 90.5))) == (
        "450 4.7.1 Sending limit: 3 of at most 3 messages within an hour are sent, this message has 1;"
        " try again in 2 minutes, at 2027-01-15 08:01:31 UTC"
    )
    limit = BY_NAME["recipients_per_day"]
    assert str(refusal(Excess(limit, 5, 2, 6, NOW, None))) == (
        "452 4.5.3 Sending limit: this message alone has 6 of at most 5 recipients within 24 hours;"
        " send it to fewer at a time"
    )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "1 minute"), (60, "1 minute"), (61, "2 minutes"), (7140, "119 minutes"), (7141, "2 hours"), (7201, "3 hours")],
)
def test_times_are_never_too_short(seconds: float, said: str) -> None:
    assert duration(seconds) == said


class Refuses(Check):
    """Refuses whole messages of users."""

    def wants_content(self, envelope: Envelope) -> bool:
        return bool(envelope.login)

    def content(self, envelope: Envelope, content: Content) -> Outcome:
        return Outcome(Reply(550, "5.7.1", "no") if b"bad" in content.body else None)


Send = Callable[..., "Reply | None"]


@pytest.fixture
def send(lookups: Path, usage: Usage) -> Send:
    """Sends a message through all checks; bob may send two an hour."""
    session = Session([LimitCheck(Directory(lookups), usage, {}), Refuses()], body_limit=100)

    def send_one(
        login: str, body: bytes = b"good", recipients: tuple[str, ...] = ("<r@else.example>",)
    ) -> Reply | None:
        session.mail(login, "<s@example.org>", [])
        for recipient in recipients:
            assert session.recipient(recipient) is None
        assert session.end_of_headers() is None
        session.body(body)
        return session.end_of_message("", "").reply

    return send_one


def test_what_others_refuse_does_not_count(send: Send, usage: Usage) -> None:
    for body in (b"bad", b"good", b"bad", b"good", b"bad"):
        reply = send("Bob@example.org", body)
        assert (reply.code if reply else 250) == (550 if body == b"bad" else 250)
    reply = send(BOB)
    assert reply is not None
    assert (reply.code, reply.notable) == (450, True)
    assert usage.used(BOB)["messages_per_hour"] == 2


def test_strangers_are_not_counted(send: Send, usage: Usage) -> None:
    for _message in range(5):
        assert send("") is None
    assert usage.senders() == []


def test_a_recipient_counts_once_a_message(send: Send, usage: Usage) -> None:
    send(ALICE, recipients=("<r@else.example>", "<R@ELSE.example>", "<other@else.example>"))
    assert usage.used(ALICE)["recipients_per_day"] == 2


def test_the_operator_sees_and_clears(tmp_path: Path, lookups: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described = tmp_path / "milter.json"
    chosen = {"socket": "/s", "directory": str(lookups), "usage": str(tmp_path / "usage.sqlite3")}
    described.write_text(json.dumps(chosen | {"limit_messages_per_day": 50}))

    def run(*arguments: str) -> int:
        return program.main(["--settings", str(described), "limits", *arguments])

    assert run() == 1
    assert "nobody has sent anything yet" in capsys.readouterr().err
    usage = Usage(tmp_path / "usage.sqlite3")
    usage.count(BOB, some(3), {})
    assert run() == 0
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        BOB,
        "1 of 2 messages within an hour",
        "1 of 50 messages within 24 hours",
        "3 of any recipients within an hour",
        "3 of any recipients within 24 hours",
        "3 of any recipients within 24 hours not written to before",
    ]
    assert run("Bob@example.org", "--clear") == 0
    assert usage.used(BOB)["messages_per_hour"] == 0
    with pytest.raises(SystemExit):
        run("--clear")
    described.write_text(json.dumps(chosen | {"usage": ""}))
    assert run() == 1
    assert "not counted" in capsys.readouterr().err
