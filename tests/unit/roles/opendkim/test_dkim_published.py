# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping, Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from dkim_published import Ask, DnsError, nameservers, problems, question, read, tags

RESOLVER = "192.0.2.53"
SERVERS = {"ns1.example.org": ["192.0.2.1"], "ns2.example.org": ["2001:db8::2", "192.0.2.2"]}
NAME = "mail._domainkey.example.org"
VALUE = f"v=DKIM1; h=sha256; k=rsa; p={'A' * 392}"
RECORDS = [{"name": NAME, "value": VALUE}]


def txt(value: str) -> str:
    return " ".join(f'"{value[start : start + 255]}"' for start in range(0, len(value), 255))


def world(answers: Mapping[str, Sequence[str] | None]) -> Ask:
    """Nameservers that give these TXT values by their address; None is silence. The resolver knows who they are."""

    def ask(address: str, message: bytes) -> bytes:
        asked = dns.message.from_wire(message)
        answer = dns.message.make_response(asked)
        (query,) = asked.question
        if address == RESOLVER:
            assert asked.flags & dns.flags.RD
            if str(query.name) == "example.org.":
                answer.answer = [dns.rrset.from_text(query.name, 60, "IN", "NS", *(f"{name}." for name in SERVERS))]
            return answer.to_wire()
        assert not asked.flags & dns.flags.RD
        values = answers.get(address, [VALUE])
        if values is None:
            raise DnsError("does not answer: timed out")
        if values:
            answer.answer = [dns.rrset.from_text(query.name, 60, "IN", "TXT", *map(txt, values))]
        return answer.to_wire()

    return ask


def found(answers: Mapping[str, Sequence[str] | None]) -> list[str]:
    return list(problems(RECORDS, [RESOLVER], world(answers), lambda server: SERVERS[server]))


def test_all_have_it() -> None:
    assert found({}) == []


def test_blanks_mean_nothing() -> None:
    assert found({"192.0.2.1": [VALUE.replace("; ", ";").replace("AAAA", "AA AA", 1)]}) == []


def test_one_does_not_have_it() -> None:
    assert found({"192.0.2.1": []}) == [f"{NAME}: ns1.example.org does not have it"]


def test_one_has_another_key() -> None:
    assert found({"192.0.2.2": [VALUE.replace("A", "B")]}) == [f"{NAME}: ns2.example.org has another one"]


def test_one_has_two() -> None:
    assert found({"192.0.2.2": [VALUE, "v=DKIM1; p="]}) == [f"{NAME}: ns2.example.org has 2 of that name"]


def test_one_address_of_a_server_is_enough() -> None:
    assert found({"2001:db8::2": None}) == []


def test_a_silent_server_is_named() -> None:
    (problem,) = found({"2001:db8::2": None, "192.0.2.2": None})
    assert problem.startswith(f"{NAME}: ns2.example.org 192.0.2.2 does not answer")


def test_the_zone_is_the_closest_name_that_has_servers() -> None:
    assert nameservers(world({}), [RESOLVER], NAME) == sorted(SERVERS)


def test_a_resolver_that_fails_is_not_taken_for_one_that_knows_nobody() -> None:
    def failing(_address: str, message: bytes) -> bytes:
        answer = dns.message.make_response(dns.message.from_wire(message))
        answer.set_rcode(dns.rcode.SERVFAIL)
        return answer.to_wire()

    with pytest.raises(DnsError, match="cannot say"):
        nameservers(failing, [RESOLVER], NAME)


@pytest.mark.parametrize("damaged", [b"", b"\0" * 5, b"\xc0" * 40])
def test_nonsense_is_no_answer(damaged: bytes) -> None:
    asked = question(NAME, 16, recursive=False)
    with pytest.raises(DnsError):
        read(asked[:2] + damaged, asked)
    with pytest.raises(DnsError):
        read(bytes([asked[0] ^ 1]) + asked[1:], asked)


def test_a_question_is_one_that_others_read() -> None:
    asked = dns.message.from_wire(question(NAME, 16, recursive=True))
    assert str(asked.question[0]) == f"{NAME}. IN TXT"
    assert asked.payload == 1232


def test_tags_have_no_order() -> None:
    assert tags("k=rsa; v=DKIM1; p=A B") == tags("v=DKIM1;k=rsa;p=AB;")
