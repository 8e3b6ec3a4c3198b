# SPDX-License-Identifier: GPL-3.0-or-later
"""What Postfix is told about a destination: a daemon over a real socket, a DNS that says what the tests want."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import postoffice_tls_policy as program
import pytest
from postoffice_tls_policy import Found, Settings, UnknownError, answer, is_confirmed, netstring, wants_dane

RIGHT = f"3 1 1 {'ab' * 32}"


class Names:
    """A DNS with these names: `(name, type)` to whether it is genuine, the full name, and data."""

    def __init__(self, known: Mapping[tuple[str, str], tuple[bool, str, list[str]] | None]) -> None:
        self.known = known
        self.asked: list[str] = []

    async def ask(self, name: str, kind: str) -> Found:
        self.asked.append(f"{name} {kind}")
        said = self.known.get((name, kind), (False, name, []))
        if said is None:
            raise UnknownError(f"{name} {kind}: SERVFAIL")
        genuine, full, data = said
        records = [dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), text) for text in data]
        return Found(records, genuine, full)


def domain(genuine: bool = True, *servers: str) -> dict[tuple[str, str], tuple[bool, str, list[str]] | None]:
    """`d.example` whose servers have genuine addresses."""
    names = servers or ("a.d.example",)
    known: dict[tuple[str, str], tuple[bool, str, list[str]] | None] = {
        ("d.example", "MX"): (genuine, "d.example", [f"10 {name}." for name in names])
    }
    known |= {(name, "A"): (True, name, ["192.0.2.1"]) for name in names}
    return known


def dane(names: Names) -> bool:
    return asyncio.run(wants_dane(names, "d.example", 25))


TLSA = ("_25._tcp.a.d.example", "TLSA")


def test_genuine_records_of_a_genuine_server_are_dane() -> None:
    assert dane(Names({**domain(), TLSA: (True, "", [RIGHT])}))


def test_no_records_are_none() -> None:
    assert not dane(Names(domain()))


def test_a_server_that_anybody_may_have_named_does_not_count() -> None:
    names = Names({**domain(genuine=False), TLSA: (True, "", [RIGHT])})
    assert not dane(names)
    assert names.asked == ["d.example MX"]


def test_records_that_anybody_may_have_made_do_not_count() -> None:
    assert not dane(Names({**domain(), TLSA: (False, "", [RIGHT])}))


def test_servers_whose_addresses_are_unsigned_are_not_asked_about() -> None:
    """Their name servers may not even know the question (RFC 7672, 2.1.2)."""
    names = Names({**domain(), ("a.d.example", "A"): (False, "a.d.example", ["192.0.2.1"]), TLSA: None})
    assert not dane(names)


def test_one_of_several_servers_is_enough() -> None:
    assert dane(Names({**domain(True, "b.d.example", "a.d.example"), TLSA: (True, "", [RIGHT])}))


def test_a_domain_without_mx_is_its_own_server() -> None:
    names = {
        ("d.example", "MX"): (True, "d.example", list[str]()),
        ("d.example", "A"): (True, "d.example", ["192.0.2.1"]),
        ("_25._tcp.d.example", "TLSA"): (True, "", [RIGHT]),
    }
    assert dane(Names(names))


def test_a_domain_that_takes_no_mail_has_no_server() -> None:
    assert not dane(Names({("d.example", "MX"): (True, "d.example", ["0 ."])}))


@pytest.mark.parametrize("question", [("d.example", "MX"), ("a.d.example", "A"), TLSA])
def test_what_the_dns_cannot_tell_is_not_taken_for_no(question: tuple[str, str]) -> None:
    with pytest.raises(UnknownError):
        dane(Names({**domain(), question: None}))


@pytest.mark.parametrize(
    ("record", "counts"),
    [
        (RIGHT, True),
        (f"2 0 2 {'ab' * 64}", True),
        ("3 1 0 abcdef", True),
        (f"1 1 1 {'ab' * 32}", False),
        (f"3 2 1 {'ab' * 32}", False),
        (f"3 1 3 {'ab' * 32}", False),
    ],
)
def test_records_that_cannot_confirm_a_mail_server_do_not_count(record: str, counts: bool) -> None:
    assert dane(Names({**domain(), TLSA: (True, "", [record])})) is counts


@pytest.mark.parametrize(("form", "length", "counts"), [(1, 32, True), (1, 31, False), (2, 32, False), (0, 5, True)])
def test_digests_of_a_wrong_length_do_not_count(form: int, length: int, counts: bool) -> None:
    assert program.usable(SimpleNamespace(usage=3, selector=1, mtype=form, cert=b"x" * length)) is counts


ALIAS = "real.host.example"


@pytest.mark.parametrize(
    ("address", "cname", "at", "confirmed"),
    [
        (True, True, ALIAS, True),
        (True, True, "mx.d.example", True),
        (False, True, "mx.d.example", True),
        (False, True, ALIAS, False),
        (False, False, "mx.d.example", False),
    ],
)
def test_aliases_are_asked_for_where_they_are_genuine(address: bool, cname: bool, at: str, confirmed: bool) -> None:
    """The records are with the full name, else with the alias (RFC 7672, 2.2.2)."""
    names = {
        ("mx.d.example", "A"): (address, ALIAS, ["192.0.2.1"]),
        ("mx.d.example", "CNAME"): (cname, "mx.d.example", [f"{ALIAS}."]),
        (f"_25._tcp.{at}", "TLSA"): (True, "", [RIGHT]),
    }
    assert asyncio.run(is_confirmed(Names(names), "mx.d.example", 25)) is confirmed


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "settings.json"
    given = {
        "socket": str(tmp_path / "socket"),
        "daemon": str(tmp_path / "daemon"),
        "daemon_settings": "",
        "dane": True,
    }
    path.write_text(json.dumps({**given, "timeout": 2}))
    return Settings.read(path)


POLICY = "OK secure match=mx.d.example servername=hostname"


def told(settings: Settings, request: str, policies: Mapping[str, str] | None, names: Names | None = None) -> str:
    """The answer to Postfix where the daemon has these policies; None is a daemon that is not there."""

    async def daemon(stream: asyncio.StreamReader, replies: asyncio.StreamWriter) -> None:
        asked = (await program.read_netstring(stream, 1000)).decode().partition(" ")[2]
        replies.write(netstring((policies or {}).get(asked, "NOTFOUND ")))
        await replies.drain()
        replies.close()

    async def talk() -> str:
        if policies is None:
            return await answer(settings, request.encode())
        async with await asyncio.start_unix_server(daemon, settings.daemon):
            return await answer(settings, request.encode())

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(program, "Dns", lambda: names or Names({}))
        return asyncio.run(talk())


@pytest.fixture
def confirmed() -> Names:
    return Names({**domain(), TLSA: (True, "", [RIGHT])})


def test_a_policy_is_passed_on_where_there_is_no_dane(settings: Settings) -> None:
    assert told(settings, "policy d.example", {"d.example": POLICY}) == POLICY
    assert told(settings, "policy D.Example:25", {"d.example": POLICY}) == POLICY


def test_dane_comes_before_a_policy(settings: Settings, confirmed: Names) -> None:
    assert told(settings, "policy d.example", {"d.example": POLICY}, confirmed) == "OK dane-only"
    assert told(settings, "policy d.example:smtp", {"d.example": POLICY}, confirmed) == "OK dane-only"
    assert told(settings, "policy d.example:26", {"d.example": POLICY}, confirmed) == POLICY


def test_a_mail_server_without_dane_heeds_the_policy(settings: Settings, confirmed: Names) -> None:
    assert told(replace(settings, dane=False), "policy d.example", {"d.example": POLICY}, confirmed) == POLICY


def test_the_dns_is_not_asked_about_those_without_a_policy(settings: Settings, confirmed: Names) -> None:
    assert told(settings, "policy d.example", {}, confirmed) == "NOTFOUND "
    assert confirmed.asked == []


def test_a_dns_that_cannot_tell_defers(settings: Settings) -> None:
    names = Names({**domain(), TLSA: None})
    assert told(settings, "policy d.example", {"d.example": POLICY}, names).startswith("TEMP ")


def test_a_daemon_that_is_not_there_defers(settings: Settings) -> None:
    assert told(settings, "policy d.example", None).startswith("TEMP ")


@pytest.mark.parametrize(
    "key", [".d.example", "[d.example]", "[mx.d.example]:25", "192.0.2.1", "[192.0.2.1]:25", "x@d.example", "d", ""]
)
def test_what_is_no_domain_has_no_policy(settings: Settings, key: str) -> None:
    assert told(settings, f"policy {key}", None) == "NOTFOUND "


def test_it_says_with_which_settings_it_answers_when_the_daemon_is_there(settings: Settings) -> None:
    assert told(settings, "postoffice-tls-policy settings", {}) == f"OK {settings.digest}"
    assert told(settings, "postoffice-tls-policy settings", None).startswith("TEMP ")


@pytest.mark.parametrize(
    ("servers", "trusted"),
    [(["127.0.0.1"], True), (["::1"], True), (["127.0.0.1", "192.0.2.53"], False), (["192.0.2.53"], False)],
)
def test_only_a_resolver_on_the_host_is_believed(tmp_path: Path, servers: list[str], trusted: bool) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("".join(f"nameserver {server}\n" for server in servers))
    assert program.Dns(str(path)).trusted is trusted


def test_without_a_resolver_nothing_is_known(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("# none\n")
    with pytest.raises(UnknownError):
        program.Dns(str(path))


def test_the_check_says_when_the_daemon_is_not_installed(settings: Settings) -> None:
    assert program.check(settings) == program.NOT_INSTALLED


def test_the_probe_says_what_is_wrong(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.probe(settings) == 1
    assert "No such file" in capsys.readouterr().err
