# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates are asked for, with which names, and when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from postoffice_letsencrypt import names, report
from postoffice_letsencrypt.decide import DAY, HOUR, Decision, Known, decide, renewed_from
from postoffice_letsencrypt.pem import Certificate
from postoffice_letsencrypt.settings import Settings, Wanted

NOW = 1_800_000_000.0
HOST, IMAP, SHOP = "mail.example.org", "imap.example.org", "shop.example.org"
SERVER = "https://acme.example/dir"
WANTED = Wanted(HOST, (HOST,), (IMAP, SHOP), Path("/nowhere/chain.pem"), Path("/nowhere/key.pem"))
HERE = {HOST: "", IMAP: "", SHOP: ""}
PRESENT = Certificate((HOST, IMAP, SHOP), NOW - DAY, NOW + 89 * DAY, "CN=Somebody", is_own=False, fits_key=True)
ISSUED = Known(server=SERVER)


def decided(
    present: Certificate | None = PRESENT,
    found: dict[str, str] | None = None,
    known: Known = ISSUED,
    now: float = NOW,
    eager: bool = False,
    server: str = SERVER,
) -> Decision:
    return decide(WANTED, present, {**HERE, **(found or {})}, known, server, now, eager)


def test_a_certificate_that_is_as_wanted_is_left_alone() -> None:
    assert decided() == Decision(HOST, (HOST, IMAP, SHOP))
    assert not decided().is_due(NOW)


@pytest.mark.parametrize(
    ("present", "known", "reason"),
    [
        (None, ISSUED, "there is none"),
        (replace(PRESENT, is_own=True), ISSUED, "there is only the host's own"),
        (replace(PRESENT, fits_key=False), ISSUED, "it does not belong to its key"),
        (PRESENT, Known(server="https://staging.example/dir"), f"it is not from {SERVER}"),
        (PRESENT, replace(ISSUED, forced=True), "a new one is wanted"),
        (replace(PRESENT, names=(HOST, IMAP)), ISSUED, f"it lacks {SHOP}"),
        (replace(PRESENT, ends=NOW - 1), ISSUED, "it has ended on 2027-01-15"),
    ],
)
def test_what_is_not_as_wanted_is_asked_for(present: Certificate | None, known: Known, reason: str) -> None:
    decision = decided(present, known=known)
    assert decision.reason == reason
    assert decision.is_due(NOW)


def test_a_certificate_that_nobody_remembers_is_left_alone() -> None:
    assert not decided(known=Known()).reason


@pytest.mark.parametrize(("life", "left"), [(90, 30), (47, 47 / 3), (6, 3)])
def test_it_is_renewed_when_a_third_of_its_life_is_left_of_a_short_one_half(life: float, left: float) -> None:
    certificate = replace(PRESENT, begins=NOW, ends=NOW + life * DAY)
    turn = renewed_from(certificate)
    assert turn == pytest.approx(certificate.ends - left * DAY)
    assert not decided(certificate, now=turn - 1).reason
    assert decided(certificate, now=turn).reason.startswith("it ends on ")


def test_a_name_that_does_not_lead_here_is_left_out_and_is_no_reason_to_ask() -> None:
    decision = decided(found={SHOP: "is not in the DNS"})
    assert (decision.names, decision.reason) == ((HOST, IMAP), "")
    assert decision.left_out == {SHOP: "is not in the DNS"}
    assert decided(None, {SHOP: "is not in the DNS"}).names == (HOST, IMAP)


def test_a_required_name_that_does_not_lead_here_is_the_problem_of_this_certificate() -> None:
    decision = decided(None, {HOST: "is not in the DNS"})
    assert decision.problem == f"{HOST} is not in the DNS"
    assert not decision.is_due(NOW)
    # While there is a good one, it is nobody's problem.
    assert not decided(found={HOST: "is not in the DNS"}).problem


def test_a_certificate_none_of_whose_names_leads_here_is_not_asked_for() -> None:
    wanted = replace(WANTED, required=(), optional=(IMAP,))
    elsewhere = {IMAP: "leads to 198.51.100.7, which is not this host"}
    decision = decide(wanted, None, elsewhere, Known(), SERVER, NOW)
    assert decision.problem == "none of its names leads here"
    assert not decision.is_due(NOW)
    assert "none of its names leads here" in report.complaint(decision, Known(), None, NOW)


def test_names_that_nobody_has_published_are_no_trouble_unless_they_had_been() -> None:
    wanted = replace(WANTED, required=(), optional=(IMAP,))
    decision = decide(wanted, None, {IMAP: "is not in the DNS"}, Known(), SERVER, NOW)
    assert not decision.is_due(NOW)
    assert report.complaint(decision, Known(), None, NOW) == ""
    assert list(report.lines(decision, Known(), None, NOW)) == [
        f"{HOST}: there is none; asked for once one of its names is in the DNS",
        f"  left out: {IMAP} is not in the DNS",
    ]
    ended = replace(PRESENT, ends=NOW - 1)
    gone = decide(wanted, ended, {IMAP: "is not in the DNS"}, ISSUED, SERVER, NOW)
    assert "none of its names leads here" in report.complaint(gone, ISSUED, ended, NOW)


@pytest.mark.parametrize(
    ("failures", "eager", "wait"),
    [
        *((1, False, HOUR), (2, False, 2 * HOUR), (4, False, 8 * HOUR), (5, False, 16 * HOUR)),
        *((6, False, DAY), (60, False, DAY), (6, True, 900)),
    ],
)
def test_after_failures_it_is_asked_less_and_less_often(failures: int, eager: bool, wait: float) -> None:
    known = Known(failures=failures, failed_at=NOW, failed_names=(HOST, IMAP, SHOP), failed_server=SERVER, error="no")
    decision = decided(None, known=known, eager=eager)
    assert decision.not_before == NOW + wait
    assert not decision.is_due(NOW + wait - 1)
    assert decision.is_due(NOW + wait)


def test_another_question_is_asked_at_once() -> None:
    known = Known(failures=6, failed_at=NOW, failed_names=(HOST, IMAP), failed_server=SERVER, error="no")
    assert decided(None, known=known).is_due(NOW)
    assert not decided(None, {SHOP: "is not in the DNS"}, known).is_due(NOW)
    assert decided(None, {SHOP: "is not in the DNS"}, known, server="https://other.example/dir").is_due(NOW)


def test_people_read_what_is_the_matter_and_what_happens_next() -> None:
    own = replace(PRESENT, is_own=True)
    known = Known(failures=1, failed_at=NOW, failed_names=(HOST, IMAP, SHOP), failed_server=SERVER, error="no route.")
    said = report.complaint(decided(own, known=known), known, own, NOW)
    assert said.startswith(
        f"{HOST}: there is only the host's own, and none is issued: no route (the host's own is served; "
    )
    assert "asked again after 2027-01-1" in said
    lines = list(report.lines(decided(found={SHOP: "is not in the DNS"}), ISSUED, PRESENT, NOW))
    assert lines[0].startswith(
        f"{HOST}: good until 2027-04-14, 89 days, for {HOST}, {IMAP}, {SHOP}, from CN=Somebody; renewed from "
    )
    assert lines[1:] == [f"  left out: {SHOP} is not in the DNS"]
    ended = replace(PRESENT, ends=NOW - 1)
    assert "(ended on 2027-01-15" in report.complaint(decided(ended, known=known), known, ended, NOW)


def test_names_that_are_expected_are_missed() -> None:
    why = {IMAP: "is not in the DNS", SHOP: "leads to 198.51.100.7, which is not this host"}
    decision = decided(found=why)
    assert report.left_out(decision.left_out) == f"left out: {IMAP} {why[IMAP]}; {SHOP} {why[SHOP]}"
    assert (
        report.left_out(dict.fromkeys((IMAP, SHOP), "is not in the DNS"))
        == f"left out: {IMAP}, {SHOP} is not in the DNS"
    )
    assert report.missed(WANTED, decision) == f"{HOST}: left out: {IMAP} {why[IMAP]}; {SHOP} {why[SHOP]}"
    of_domain = replace(WANTED, of_domain=True)
    assert report.missed(of_domain, decision) == f"{HOST}: left out: {SHOP} {why[SHOP]}"
    assert report.missed(of_domain, decided(found={IMAP: "is not in the DNS"})) == ""
    assert report.missed(WANTED, decided()) == ""


# Where names lead to.

OURS = frozenset({"192.0.2.1", "2001:db8::1"})
ADDRESSES = {
    HOST: OURS,
    IMAP: frozenset({"192.0.2.1"}),
    SHOP: frozenset({"192.0.2.1", "198.51.100.7"}),
}


def settings(challenge: str = "http", addresses: tuple[str, ...] = ()) -> Settings:
    return Settings(SERVER, "", "", challenge, "", (), addresses, (WANTED,))


def looked_up(**changed: frozenset[str]) -> names.Lookup:
    known = {**ADDRESSES, **{f"{name}.example.org": value for name, value in changed.items()}}
    return lambda name: known.get(name, frozenset())


def test_a_name_leads_here_when_all_its_addresses_are_ours() -> None:
    found = names.where(settings(), looked_up(), OURS)
    assert found == {HOST: "", IMAP: "", SHOP: "leads to 198.51.100.7, which is not this host"}
    assert names.where(settings(addresses=("198.51.100.7",)), looked_up(), OURS)[SHOP] == ""
    assert names.where(settings(), looked_up(shop=frozenset()), OURS)[SHOP] == "is not in the DNS"


def test_behind_a_router_the_host_is_where_its_own_name_leads() -> None:
    private = frozenset({"10.0.0.2"})
    assert names.where(settings(), looked_up(), private)[IMAP] == ""
    assert names.where(settings(), looked_up(mail=frozenset()), private)[HOST] == "is not in the DNS"
    assert names.where(settings(), looked_up(mail=frozenset()), private)[IMAP].startswith("leads to 192.0.2.1")


def test_what_cannot_be_looked_up_is_said() -> None:
    def lookup(name: str) -> frozenset[str]:
        raise names.LookupFailedError("cannot be looked up: nobody answers")

    assert set(names.where(settings(), lookup, OURS).values()) == {"cannot be looked up: nobody answers"}


def test_an_authority_that_looks_into_the_dns_does_not_mind_where_a_name_leads() -> None:
    assert names.where(settings("dns"), looked_up(shop=frozenset()), OURS) == HERE
