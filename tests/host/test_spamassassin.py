# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SpamAssassin says where each mailbox learns for itself, and where people read some languages only."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

import pytest
from mailtest.deployment import Deployment, Shell
from mailtest.imap import Mailbox
from mailtest.mail import Outside, compose
from mailtest.waiting import wait_for
from playing import Player

ROLES = ("learning", "milter", "spamassassin")
ENOUGH = 8
COLLECTIONS = "/var/lib/spamassassin/bayes/mailboxes"
ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.com"
# Each longer than 256 bytes: of less, no language can be told.
READ = """\
Sehr geehrte Damen und Herren, hiermit bestätigen wir den Eingang Ihrer Bestellung vom vergangenen Mittwoch. Die Ware
wird voraussichtlich in der kommenden Woche geliefert. Bitte prüfen Sie die Sendung sofort nach Erhalt und melden Sie
uns etwaige Schäden innerhalb von vierzehn Tagen.
"""
NOT_READ = """\
Уважаемые господа, настоящим мы подтверждаем получение вашего заказа, сделанного в прошлую среду. Товар будет доставлен
на следующей неделе. Пожалуйста, проверьте посылку сразу после получения, при повреждениях сообщите нам в течение
четырнадцати дней.
"""
# So long that what other tests have taught of such headers does not outweigh it; no word is in two of them.
TOOLS = """\
The weekly newsletter about gardening tools: spades, rakes, barrows and seedlings at moderate prices. Sharpen blades
before winter, oil wooden handles, drain hoses, empty watering cans, cover shrubs with straw, prune apple trees,
rotate vegetable beds, collect fallen leaves for compost, repair greenhouse panes, order bulbs early.
"""
MINUTES = """\
Minutes of the committee: treasurer reported, chairman thanked everybody, meeting was closed. Auditors studied books,
members elected a secretary, statutes were amended, subscriptions remain, volunteers prepare summer
festival, library extends opening hours, insurance covers visitors, correspondence shall be archived.
"""
LOTTERY = """\
Congratulations, your ticket has drawn second prize in our national lottery; contact agent soon. Claim eight million
dollars tax free, keep winning numbers confidential, transfer processing fee by wire, provide passport, bank details,
telephone, occupation; funds expire within fourteen business days, barrister notified, payment guaranteed.
"""
FOREIGN = {"BODY_8BITS", "POSTOFFICE_FOREIGN_LANGUAGE", "UNWANTED_LANGUAGE_BODY"}
SPAM, HAM = {"BAYES_95", "BAYES_99", "BAYES_999"}, {"BAYES_00", "BAYES_05"}


@pytest.fixture(scope="module")
def box(deployment: Deployment) -> Iterator[Callable[[str], Mailbox]]:
    opened: dict[str, Mailbox] = {}

    def open_once(address: str) -> Mailbox:
        if address not in opened:
            opened[address] = Mailbox(deployment.port("imaps"), deployment.people[address])
        return opened[address]

    yield open_once
    for each in opened.values():
        each.close()


@contextmanager
def declared(player: Player, **variables: object) -> Iterator[None]:
    """A site that declares more, for as long as it is looked at."""
    played = player.roles(ROLES, variables)
    assert played.status == 0, played.output
    yield
    played = player.roles(ROLES, {})
    assert played.status == 0, played.output


@pytest.fixture
def each_for_itself(player: Player, host: Shell) -> Iterator[None]:
    """A site whose mailboxes learn, and have learned enough as soon as the test has taught them."""
    few = f"bayes_min_spam_num {ENOUGH}\nbayes_min_ham_num {ENOUGH}\nbayes_auto_learn 0\n"
    with declared(player, spamassassin_bayes_scope="mailbox", spamassassin_settings=few):
        yield
    host.run("rm", "-r", COLLECTIONS)


@pytest.fixture
def two_languages(player: Player) -> Iterator[None]:
    """A site where people read German and English."""
    with declared(player, spamassassin_languages=["de", "en"]):
        yield


def teach(box: Mailbox, host: Shell, kind: str, body: str) -> None:
    """Move messages into Junk, or out of it, and wait until they are learned."""
    here, there = ("INBOX", "Junk") if kind == "spam" else ("Junk", "INBOX")
    put = [
        compose(to=box.person.address, subject="Newsletter", body=f"{body}{uuid.uuid4()}\n")
        for _unused in range(ENOUGH)
    ]
    for message in put:
        box.client.append(here, message.as_bytes())
    box.client.select_folder(here)
    box.client.move([uid for message in put for uid in found(box, message)], there)
    wait_for(lambda: learned(host)["waiting"] == 0, "an empty spool", 60)
    box.client.select_folder(there)
    box.client.delete_messages([uid for message in put for uid in found(box, message)])
    box.client.expunge()


def found(box: Mailbox, message: EmailMessage) -> list[int]:
    uids: list[int] = box.client.search(["HEADER", "Message-ID", str(message["Message-ID"])])
    return uids


def learned(host: Shell) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(host.output("/usr/local/lib/postoffice/postoffice-learning", "show"))
    return shown


def counted(host: Shell, owner: str) -> dict[str, int]:
    """How many messages were learned from a mailbox."""
    return {"spam": 0, "ham": 0, "known": 0} | learned(host)["learned"].get(owner, {})


def judged(box: Mailbox, message: EmailMessage) -> tuple[float, set[str]]:
    """How many points a message that arrived has, and for what."""
    folder = wait_for(lambda: box.folders_with(message), "the message")[0]
    received = box.wait_for(message, folder)
    tests = "".join(str(received["X-Spam-Status"]).split()).partition("tests=")[2]
    return float(received["X-Spam-Score"]), set(tests.split(","))


@pytest.mark.usefixtures("each_for_itself")
def test_each_mailbox_is_judged_by_what_it_has_learned(
    deployment: Deployment, host: Shell, box: Callable[[str], Mailbox]
) -> None:
    before = counted(host, CAROL)
    for owner, kind, text in (
        (BOB, "spam", TOOLS),
        (BOB, "spam", LOTTERY),
        (BOB, "ham", MINUTES),
        (CAROL, "spam", MINUTES),
        (CAROL, "ham", TOOLS),
    ):
        teach(box(owner), host, kind, text)

    outside = Outside(deployment)

    def found_by(owner: str, to: Sequence[str], text: str, headers: Sequence[tuple[str, str]] = ()) -> set[str]:
        _points, tests = judged(box(owner), outside.send(to, body=text, headers=headers))
        return {test for test in tests if test.startswith("BAYES_")}

    assert found_by(BOB, [BOB], TOOLS) & SPAM
    assert found_by(CAROL, [CAROL], TOOLS) & HAM
    # Carol knows nothing of this, and nobody else answers for her, whatever the sender says.
    assert not found_by(CAROL, [CAROL], LOTTERY) & SPAM
    assert not found_by(CAROL, [CAROL], LOTTERY, [("X-Postoffice-Mailbox", BOB)]) & SPAM
    # Who has not taught it enough, and a message to several, gets what the site has learned.
    assert found_by(ALICE, [ALICE], LOTTERY) & SPAM
    assert found_by(CAROL, [BOB, CAROL], LOTTERY) & SPAM

    after = counted(host, CAROL)
    assert {kind: after[kind] - before[kind] for kind in after} == {"spam": ENOUGH, "ham": ENOUGH, "known": 0}
    forgotten_with_its_mailbox(host)


def forgotten_with_its_mailbox(host: Shell) -> None:
    """The daily service removes what nobody owns, and leaves the rest."""

    def collections() -> list[str]:
        return sorted(
            host.output("find", COLLECTIONS, "-mindepth", "2", "-maxdepth", "2", "-printf", "%P %u %m\n").split("\n")
        )

    before = collections()
    assert [line for line in before if line] == [
        "example.com/carol debian-spamd 700",
        "example.org/bob debian-spamd 700",
    ]
    host.run("install", "-d", f"{COLLECTIONS}/example.org/nobody-any-more", f"{COLLECTIONS}/gone.example/bob")
    host.run("systemctl", "start", "postoffice-bayes.service")
    assert collections() == before
    assert host.output("ls", COLLECTIONS).split() == ["example.com", "example.org"]
    assert host.output("systemctl", "is-active", "postoffice-bayes.timer").strip() == "active"


@pytest.mark.usefixtures("two_languages")
def test_a_language_that_nobody_reads_costs_four_points_once(
    deployment: Deployment, box: Callable[[str], Mailbox]
) -> None:
    outside = Outside(deployment)
    points, tests = judged(box(ALICE), outside.send(ALICE, body=READ))
    assert not tests & FOREIGN
    points_more, tests = judged(box(ALICE), outside.send(ALICE, body=NOT_READ))
    assert tests >= FOREIGN
    assert 3.9 < points_more - points < 4.1
