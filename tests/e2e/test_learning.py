"""What people move into Junk and out of it is learned, and they wait for nothing."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from email.message import EmailMessage

import pytest
from mailtest.deployment import Shell
from mailtest.imap import Mailbox
from mailtest.mail import compose
from mailtest.waiting import wait_for

pytestmark = pytest.mark.needs("spam filter")
BOB = "bob@example.org"
SPOOL = "/var/spool/postoffice-learning"
Learned = Callable[[], dict[str, int]]


@pytest.fixture
def learned(host: Shell) -> Learned:
    """What was learned from bob, when nothing waits any more."""

    def ask() -> dict[str, int]:
        def settled() -> bool:
            said.update(json.loads(host.output("/usr/local/lib/postoffice/postoffice-learning", "show")))
            running = host.run("systemctl", "is-active", "postoffice-learning.service", check=False).stdout.strip()
            return said["waiting"] == 0 and running == "inactive"

        said: dict[str, object] = {}
        wait_for(settled, "an empty spool", 60)
        everybody = said["learned"]
        assert isinstance(everybody, dict)
        found: dict[str, int] = everybody.get(BOB, {})
        return {"spam": 0, "ham": 0, "known": 0} | found

    return ask


@pytest.fixture
def inbox(mailbox: Callable[[str], Mailbox]) -> Iterator[Callable[..., list[int]]]:
    """Puts new messages into a folder of bob's; afterwards they are gone."""
    box = mailbox(BOB)
    put: list[EmailMessage] = []

    def add(count: int = 1, folder: str = "INBOX") -> list[int]:
        uids = []
        for _unused in range(count):
            put.append(compose(to=BOB, subject="Offer", body=f"Buy {uuid.uuid4()} and {uuid.uuid4()} today.\n"))
            box.client.append(folder, put[-1].as_bytes())
            uids += box.uids(put[-1], folder)
        box.client.select_folder(folder)
        return uids

    yield add
    ids = {str(message["Message-ID"]) for message in put}
    for folder in ("INBOX", "Junk", "Trash", "Archive"):
        box.client.select_folder(folder)
        found = [uid for each in ids for uid in box.client.search(["HEADER", "Message-ID", each])]
        if found:
            box.client.delete_messages(found)
            box.client.expunge()


def move(box: Mailbox, uids: list[int], target: str) -> float:
    """Move messages of the selected folder; return how many seconds the client waited."""
    began = time.monotonic()
    box.client.move(uids, target)
    return time.monotonic() - began


def differs(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {kind: after[kind] - before[kind] for kind in after if after[kind] != before[kind]}


def test_moving_into_junk_learns_spam_and_out_of_it_ham(
    learned: Learned, inbox: Callable[..., list[int]], mailbox: Callable[[str], Mailbox]
) -> None:
    before = learned()
    uids = inbox()
    box = mailbox(BOB)
    move(box, uids, "Junk")
    between = learned()
    assert differs(before, between) == {"spam": 1}
    box.client.select_folder("Junk")
    move(box, box.client.search("ALL")[-1:], "INBOX")
    assert differs(between, learned()) == {"ham": 1}


def test_copying_into_junk_learns_spam(
    learned: Learned, inbox: Callable[..., list[int]], mailbox: Callable[[str], Mailbox]
) -> None:
    before = learned()
    mailbox(BOB).client.copy(inbox(), "Junk")
    assert differs(before, learned()) == {"spam": 1}


def test_throwing_spam_away_learns_nothing(
    learned: Learned, inbox: Callable[..., list[int]], mailbox: Callable[[str], Mailbox]
) -> None:
    before = learned()
    move(mailbox(BOB), inbox(folder="Junk"), "Trash")
    assert differs(before, learned()) == {}


def test_other_moves_learn_nothing(
    learned: Learned, inbox: Callable[..., list[int]], mailbox: Callable[[str], Mailbox]
) -> None:
    before = learned()
    move(mailbox(BOB), inbox(), "Archive")
    assert differs(before, learned()) == {}


def test_a_message_is_not_counted_twice(
    learned: Learned, inbox: Callable[..., list[int]], mailbox: Callable[[str], Mailbox]
) -> None:
    before = learned()
    uids = inbox()
    box = mailbox(BOB)
    box.client.copy(uids, "Junk")
    box.client.copy(uids, "Junk")
    assert differs(before, learned()) == {"spam": 1, "known": 1}


def test_the_client_waits_for_no_learner(
    learned: Learned,
    inbox: Callable[..., list[int]],
    mailbox: Callable[[str], Mailbox],
    host: Shell,
    record_property: Callable[[str, object], None],
) -> None:
    """Six at once, three times, while the learner is held up. Others use the processors too: the best time counts."""
    before = learned()
    batches = [inbox(6) for _unused in range(3)]
    host.run("systemctl", "kill", "--signal=STOP", "spamd.service")
    try:
        waited = [move(mailbox(BOB), uids, "Junk") for uids in batches]
        held = host.output("ls", f"{SPOOL}/new").split()
    finally:
        host.run("systemctl", "kill", "--signal=CONT", "spamd.service")
    record_property("seconds", waited)
    assert min(waited) < 0.2
    assert len(held) == 18
    assert differs(before, learned()) == {"spam": 18}


def test_what_cannot_be_learned_now_is_learned_later(
    learned: Learned, inbox: Callable[..., list[int]], mailbox: Callable[[str], Mailbox], host: Shell
) -> None:
    before = learned()
    host.run("systemctl", "stop", "spamd.service")
    try:
        move(mailbox(BOB), inbox(2), "Junk")
        wait_for(
            lambda: (
                host.run("systemctl", "is-active", "--quiet", "postoffice-learning.service", check=False).returncode
            ),
            "an attempt",
            20,
        )
        assert len(host.output("ls", f"{SPOOL}/new").split()) == 2
    finally:
        host.run("systemctl", "start", "spamd.service")
    assert differs(before, learned()) == {"spam": 2}


def test_nobody_reads_what_others_dropped(host: Shell) -> None:
    """The mail user may put messages there, and nothing else."""
    user = host.output("stat", "--format=%U", "/var/vmail").strip()
    for attempt in (["ls", f"{SPOOL}/new"], ["ls", SPOOL], ["cat", "/var/lib/postoffice-learning/counters.json"]):
        assert host.run("runuser", "-u", user, "--", *attempt, check=False).returncode != 0


def test_the_self_check_moves_a_message_that_is_learned_and_forgotten(host: Shell) -> None:
    """It is a message of nobody's: neither the site's counters nor the statistics keep it."""

    def state() -> tuple[dict[str, dict[str, int]], list[str]]:
        learned = json.loads(host.output("/usr/local/lib/postoffice/postoffice-learning", "show"))["learned"]
        dump = host.output("runuser", "-u", "debian-spamd", "--", "sa-learn", "--dump", "magic")
        return learned, [line for line in dump.splitlines() if "nspam" in line or "nham" in line]

    before, statistics = state()
    host.run("systemctl", "start", "postoffice-learning-check.service")
    after, statistics_after = state()
    checked = {"spam": 0, "ham": 0, "known": 0}
    assert differs(before.get("self-check", checked), after["self-check"]) == {"spam": 1, "ham": 1}
    assert after.get("*") == before.get("*")
    assert statistics_after == statistics


def test_the_self_check_is_made_every_day(host: Shell) -> None:
    assert host.output("systemctl", "is-active", "postoffice-learning-check.timer").strip() == "active"
