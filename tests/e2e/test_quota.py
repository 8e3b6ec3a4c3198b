"""A mailbox that fills up: its owner is warned, then senders are refused while they listen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import EmailMessage

import pytest
from imapclient.exceptions import IMAPClientError
from mailtest.imap import Mailbox
from mailtest.mail import Outside, compose
from mailtest.smtp import Reply
from mailtest.waiting import wait_for

pytestmark = pytest.mark.needs("quota")

SMALL = "small@example.org"
BEYOND_GRACE = 15_000_000  # a last message may exceed the quota by 10 MB
LETTER = "x" * 75 + "\n"


def letter(size: int) -> EmailMessage:
    return compose(to=SMALL, body=LETTER * (size // len(LETTER)))


@pytest.fixture
def small(mailbox: Callable[[str], Mailbox]) -> Iterator[Mailbox]:
    """A small mailbox, empty before and after."""
    box = mailbox(SMALL)
    box.empty()
    yield box
    box.empty()


def warnings(box: Mailbox) -> list[EmailMessage]:
    box.client.select_folder("INBOX", readonly=True)
    found = [box.fetch(uid) for uid in box.client.search("ALL")]
    return [message for message in found if message["From"] and "outside.example" not in message["From"]]


def fill(outside: Outside, box: Mailbox, percent: float) -> None:
    """Real mail, one letter after another, until the mailbox is that full."""
    used, limit = box.usage()
    while used < limit * percent / 100:
        step = min(limit * 1024 // 8, int((limit * percent / 100 - used) * 1024) + 2048)
        box.wait_for(outside.send(SMALL, message=letter(step)))
        used, limit = box.usage()


def test_the_owner_sees_quota_and_usage(small: Mailbox, outside: Outside) -> None:
    before, limit = small.usage()
    assert limit == 2 * 1024
    small.wait_for(outside.send(SMALL, message=letter(200_000)))
    assert small.usage()[0] >= before + 195


def test_the_owner_is_warned_at_80_and_at_95_percent(small: Mailbox, outside: Outside) -> None:
    fill(outside, small, 70)
    assert warnings(small) == []
    fill(outside, small, 82)
    (first,) = wait_for(lambda: warnings(small), "the first warning")
    assert "80" in first.as_string()
    fill(outside, small, 96)
    wait_for(lambda: len(warnings(small)) > 1, "the second warning")
    assert "95" in warnings(small)[1].as_string()
    assert len(warnings(small)) == 2


FULL = [
    pytest.param(SMALL, id="mailbox"),
    pytest.param("small+tag@example.org", id="tag"),
    pytest.param("tiny@example.org", id="alias"),
    pytest.param("tiny+tag@example.org", id="tag on an alias"),
    pytest.param("small@example.net", id="alias domain", marks=pytest.mark.needs("alias domain")),
    pytest.param("tiny@example.net", id="alias, alias domain", marks=pytest.mark.needs("alias domain")),
    pytest.param("full-1@example.org", id="expression", marks=pytest.mark.needs("expressions")),
]


def is_full(reply: Reply) -> bool:
    return reply.code in (452, 552)


@pytest.mark.parametrize("recipient", FULL)
def test_what_would_not_fit_is_refused_at_once(small: Mailbox, outside: Outside, recipient: str) -> None:
    """A sender who says how large the message is hears it before sending it."""
    assert is_full(outside.ask(recipient, size=BEYOND_GRACE))
    assert outside.ask(recipient, size=1_000_000).ok


def test_a_full_mailbox_and_its_aliases_refuse(small: Mailbox, outside: Outside) -> None:
    fill(outside, small, 100)
    answers = {str(each.values[0]): outside.ask(str(each.values[0])) for each in FULL}
    assert {address: reply.text for address, reply in answers.items() if not is_full(reply)} == {}
    assert outside.ask("alice@example.org").ok, "others still get mail"
    small.empty()
    wait_for(lambda: outside.ask(SMALL).ok, "room again")


def test_a_message_larger_than_the_room_left_is_never_lost(
    small: Mailbox, outside: Outside, delivered: Callable[[], None]
) -> None:
    """RefusedError while the sender listens, or kept: a mailbox that still had room takes one message too many."""
    fill(outside, small, 90)
    sent = outside.send(SMALL, message=letter(100_000))
    delivered()
    assert small.holds(sent)


def test_a_full_mailbox_takes_no_uploads(small: Mailbox, outside: Outside) -> None:
    fill(outside, small, 100)
    with pytest.raises(IMAPClientError, match=r"OVERQUOTA|[Qq]uota"):
        small.client.append("Drafts", letter(20_000_000).as_bytes())
