# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import check_postfix
import pytest
from check_postfix import Findings, Host, Places, Run, Setting

MAIN = """\
# a comment
myhostname = mail.example.org
smtpd_recipient_restrictions =
    reject_unlisted_recipient,
# inside
    permit
relay_domains =
"""
MASTER = """\
25   inet n - n - - smtpd
587  inet n - n - - smtpd
    -o smtpd_milters=$submission_milters
    -o { smtpd_banner = hello there }
smtp unix - - n - - smtp
"""
PROGRAM = (
    b"\0reject_unlisted_recipient\0xdefer_if_permit\0check_client_access\0"
    b"reject_rbl_client\0sleep_time\0warn_if_reject\0"
)
KNOWN = check_postfix.known_restrictions(PROGRAM)
PLACES = Places(MAIN, MASTER)


def findings_of(name: str, value: str, classes: frozenset[str] = frozenset()) -> list[str]:
    findings = Findings()
    check_postfix.check_restrictions(Setting(name, value, "main.cf:1"), KNOWN, classes, findings)
    return findings.lines


def host(**changes: object) -> Host:
    values: dict[str, object] = {
        "defaults": {},
        "table_types": frozenset({"texthash", "sqlite", "inline", "pipemap", "hash", "socketmap"}),
        "user": "postfix",
        "proxied": frozenset({"proxy:sqlite:/etc/postfix/named.cf"}),
        "before_installation": False,
    }
    return Host(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[tuple[str, ...], str | None]]]:
    """Let Postfix's programs answer what a test wants, and record how they were called."""

    def answer(
        status: int = 1, errors: tuple[str, ...] = (), output: str = ""
    ) -> list[tuple[tuple[str, ...], str | None]]:
        calls: list[tuple[tuple[str, ...], str | None]] = []

        def run(*arguments: str, user: str | None = None) -> Run:
            calls.append((arguments, user))
            return Run(status, output, list(errors))

        monkeypatch.setattr(check_postfix, "run", run)
        return calls

    return answer


def test_continuation_lines_belong_to_the_line_they_continue() -> None:
    assert list(check_postfix.logical_lines(MAIN)) == [
        (2, "myhostname = mail.example.org"),
        (3, "smtpd_recipient_restrictions = reject_unlisted_recipient, permit"),
        (7, "relay_domains ="),
    ]


def test_lists_are_split_outside_of_braces() -> None:
    assert check_postfix.split_list("a, b  c,{d, e f},\n g") == ["a", "b", "c", "d, e f", "g"]
    assert check_postfix.split_list("") == []


def test_places_are_those_of_parameters_services_and_overrides() -> None:
    assert PLACES.of_parameter("smtpd_recipient_restrictions") == "main.cf:3"
    assert PLACES.of_parameter("smtpd_milters") == "master.cf:3"
    assert PLACES.of_parameter("smtpd_banner") == "master.cf:4"
    assert PLACES.of_parameter("nothing") == "main.cf"
    assert PLACES.of_service("smtp/unix") == "master.cf:5"
    assert PLACES.of_service("587/inet") == "master.cf:2"


def test_restrictions_are_found_in_the_program_even_where_texts_share_an_end() -> None:
    assert {"defer_if_permit", "permit", "reject_unlisted_recipient", "warn_if_reject"} <= KNOWN
    assert "sleep_time" not in KNOWN


@pytest.mark.parametrize(
    "value",
    [
        "",
        "permit",
        "reject_unlisted_recipient, permit",
        "check_client_access texthash:/etc/x, permit",
        "check_client_access {inline:{a=b}}",
        "warn_if_reject reject_rbl_client zen.example",
        "{reject_rbl_client zen.example}, 554",
    ],
)
def test_proper_restriction_lists_pass(value: str) -> None:
    assert findings_of("smtpd_client_restrictions", value) == []


@pytest.mark.parametrize(
    ("value", "finding"),
    [
        (
            "reject_unlistd_recipient",
            "reject_unlistd_recipient is no restriction (did you mean reject_unlisted_recipient?)",
        ),
        ("qwertz", "qwertz is no restriction"),
        ("check_client_access, permit", "check_client_access lacks its argument"),
        ("check_client_access /etc/x", "check_client_access wants a table (type:name), not /etc/x"),
        ("reject_rbl_client", "reject_rbl_client lacks its argument"),
        ("permit, reject_unlisted_recipient", "nothing after permit is ever looked at"),
    ],
)
def test_wrong_restriction_lists_are_named_with_their_place(value: str, finding: str) -> None:
    assert findings_of("smtpd_client_restrictions", value) == [f"main.cf:1: smtpd_client_restrictions: {finding}"]


def test_restriction_classes_are_restrictions() -> None:
    assert findings_of("smtpd_client_restrictions", "greylist", frozenset({"greylist"})) == []


@pytest.mark.parametrize(
    ("value", "default", "wrong"),
    [
        ("yes", "no", False),
        ("yess", "no", True),
        ("", "yes", True),
        ("5d", "5d", False),
        ("90", "5d", False),
        ("5x", "300s", True),
        ("10", "20", False),
        ("many", "100", True),
        ("$default_process_limit", "100", False),
        ("anything", "", False),
    ],
)
def test_values_are_of_the_kind_of_the_default(value: str, default: str, wrong: bool) -> None:
    findings = Findings()
    check_postfix.check_value(Setting("some_parameter", value, "main.cf:1"), default, findings)
    assert bool(findings.lines) == wrong


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("smtp_tls_security_level", "dane", False),
        ("smtp_tls_security_level", "encrypted", True),
        ("smtpd_tls_security_level", "dane", True),
        ("smtpd_tls_mandatory_ciphers", "hi", True),
        ("smtpd_forbid_bare_newline", "reject", False),
        ("smtpd_forbid_bare_newline", "rejct", True),
    ],
)
def test_values_with_few_choices_are_among_them(name: str, value: str, wrong: bool) -> None:
    findings = Findings()
    check_postfix.check_value(Setting(name, value, "main.cf:1"), "no" if "newline" in name else "", findings)
    assert bool(findings.lines) == wrong


def test_tables_are_found_in_maps_and_restrictions_but_not_where_sockets_stand() -> None:
    def tables(name: str, value: str) -> list[tuple[bool, str, str]]:
        return list(check_postfix.tables_in(Setting(name, value, "main.cf")))

    assert tables("virtual_alias_maps", "proxy:sqlite:/a.cf, pcre:/b") == [
        (True, "sqlite", "/a.cf"),
        (False, "pcre", "/b"),
    ]
    assert tables("smtpd_x_restrictions", "check_policy_service unix:/s, check_sender_access hash:/h") == [
        (False, "hash", "/h")
    ]
    assert tables("smtpd_milters", "unix:/run/milter.sock") == []
    assert tables("mynetworks", "127.0.0.0/8 [::1]/128") == []


def check_table(kind: str, name: str, proxied: bool = False, **changes: object) -> list[str]:
    findings = Findings()
    check_postfix.check_table(Setting("some_maps", "", "main.cf:9"), proxied, kind, name, host(**changes), findings)
    return findings.lines


def test_a_table_that_answers_or_knows_nothing_is_fine(programs: Callable[..., list[object]]) -> None:
    for status in (0, 1):
        programs(status=status)
        assert check_table("texthash", "/etc/x") == []


def test_tables_behind_proxymap_are_asked_as_the_user_of_proxymap(programs: Callable[..., list[object]]) -> None:
    calls = programs(status=1)
    assert check_table("sqlite", "/etc/postfix/named.cf", proxied=True) == []
    assert [user for _unused, user in calls] == ["postfix"]  # type: ignore[misc]


def test_unknown_types_missing_tables_and_unnamed_proxies_are_found(programs: Callable[..., list[object]]) -> None:
    programs(status=1, errors=("postmap: fatal: open database /etc/x: No such file or directory",))
    assert check_table("texthsh", "/etc/x") == [
        "main.cf:9: some_maps: texthsh:/etc/x: no such type of table (did you mean texthash?)"
    ]
    assert check_table("texthash", "/etc/x") == [
        "main.cf:9: some_maps: open database /etc/x: No such file or directory"
    ]
    assert check_table("sqlite", "/etc/other.cf", proxied=True) == [
        "main.cf:9: some_maps: proxy:sqlite:/etc/other.cf is not in proxy_read_maps, so proxymap refuses it"
    ]


def test_before_installation_tables_and_databases_may_be_missing(
    tmp_path: Path, programs: Callable[..., list[object]]
) -> None:
    calls = programs(status=1, errors=("postmap: fatal: no",))
    definition = tmp_path / "lookup.cf"
    definition.write_text(f"dbpath = {tmp_path}/lookup.sqlite3\nquery = SELECT 1\n", encoding="utf-8")
    assert check_table("sqlite", str(definition), before_installation=True) == []
    assert check_table("texthash", str(tmp_path / "none"), before_installation=True) == []
    assert calls == []
    (tmp_path / "lookup.sqlite3").touch()
    assert check_table("sqlite", str(definition), before_installation=True) != []


def test_servers_of_tables_are_asked_as_postfix_once_they_are_there(
    tmp_path: Path, programs: Callable[..., list[object]]
) -> None:
    calls = programs(status=1, errors=("postmap: warning: no such map",))
    assert check_table("socketmap", f"unix:{tmp_path}/socket:aliases", before_installation=True) == []
    assert calls == []
    assert check_table("socketmap", f"unix:{tmp_path}/socket:aliases") != []
    assert [user for _unused, user in calls] == ["postfix"]  # type: ignore[misc]


def test_what_several_programs_say_is_said_once() -> None:
    findings = Findings()
    parameters = ["smtpd_sender_restrictions"]
    check_postfix.check_complaints(
        [
            "/usr/sbin/postconf: warning: /etc/postfix/main.cf: unused parameter: myhostname=x",
            "postconf: fatal: file /etc/postfix/master.cf: line 68: bad field count",
            "postconf: warning: /etc/postfix/main.cf, line 7: overriding earlier entry: a=b",
        ],
        PLACES,
        parameters,
        findings,
    )
    assert findings.lines == [
        "main.cf:2: myhostname: no such parameter",
        "master.cf:68: bad field count",
        "main.cf:7: overriding earlier entry: a=b",
    ]
    assert findings.hear(["postmap: warning: /etc/postfix/main.cf, line 7: overriding earlier entry: a=b"]) == []


def test_services_run_programs_that_exist_and_transports_are_services(
    tmp_path: Path, programs: Callable[..., list[object]]
) -> None:
    (tmp_path / "smtpd").touch()
    programs(status=0, output="25         inet  n - n - - smtpd\nsmtp unix - - n - - smtpx\n    -o a=b\n")
    findings = Findings()
    check_postfix.check_services(
        Places(MAIN, MASTER + "smtp unix - - n - - smtp\n"),
        [
            Setting("virtual_transport", "lmtp:unix:/x", "main.cf:4"),
            Setting("cleanup_service_name", "smtp", "master.cf:2"),
        ],
        tmp_path,
        findings,
    )
    assert findings.lines == [
        "master.cf:5: smtp: smtpx is no program of Postfix",
        "master.cf:5: smtp: is there twice",
        "main.cf:4: virtual_transport: lmtp is no service in master.cf (did you mean smtp?)",
    ]


def test_certificates_exist_and_can_be_read(tmp_path: Path) -> None:
    certificate, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    setting = Setting("smtpd_tls_chain_files", f"{key}, {certificate}", "main.cf:3")
    findings = Findings()
    check_postfix.check_certificates([setting], host(before_installation=True), findings)
    assert findings.lines == []
    check_postfix.check_certificates([setting], host(), findings)
    assert findings.lines == [f"main.cf:3: smtpd_tls_chain_files: {key} does not exist"]
    certificate.write_text("nonsense", encoding="ascii")
    key.write_text("nonsense", encoding="ascii")
    findings = Findings()
    check_postfix.check_certificates([setting], host(), findings)
    assert len(findings.lines) == 1
    assert "cannot be read" in findings.lines[0]


def test_certificates_for_further_names_exist_and_can_be_read(tmp_path: Path) -> None:
    table, certificate, key = (tmp_path / name for name in ("table", "chain.pem", "key.pem"))
    setting = Setting("tls_server_sni_maps", f"texthash:{table}", "main.cf:4")
    findings = Findings()
    check_postfix.check_certificates([setting], host(), findings)
    assert findings.lines == []
    table.write_text(f"# names\nmail.example.net {key}, {certificate}\n", encoding="ascii")
    check_postfix.check_certificates([setting], host(before_installation=True), findings)
    assert findings.lines == []
    check_postfix.check_certificates([setting], host(), findings)
    assert findings.lines == [f"main.cf:4: tls_server_sni_maps: {key} does not exist"]
    for path in (certificate, key):
        path.write_text("nonsense", encoding="ascii")
    findings = Findings()
    check_postfix.check_certificates([setting], host(), findings)
    assert len(findings.lines) == 1
    assert "cannot be read" in findings.lines[0]


def test_before_installation_postfix_may_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(check_postfix, "POSTCONF", str(tmp_path / "postconf"))
    assert check_postfix.check(before_installation=True).lines == []


def postscreen_findings(name: str, value: str) -> list[str]:
    findings = Findings()
    check_postfix.check_postscreen(Setting(name, value, "main.cf:1"), findings)
    return findings.lines


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("postscreen_dnsbl_sites", "zen.example=127.0.0.[2..11]*3, list.example=127.0.[0..255].[1;2]*-2 b.a=127.0.0.2"),
        ("postscreen_dnsbl_sites", ""),
        ("postscreen_access_list", "permit_mynetworks, cidr:/etc/x"),
        ("postscreen_greet_wait", "${stress?{2}:{6}}s"),
        ("postscreen_greet_wait", "2s"),
        ("postscreen_dnsbl_threshold", "x"),
    ],
)  # fmt: skip
def test_proper_settings_of_postscreen_pass(name: str, value: str) -> None:
    assert postscreen_findings(name, value) == []


@pytest.mark.parametrize(
    ("name", "value", "finding"),
    [
        ("postscreen_dnsbl_sites", "zen.example*3", "zen.example*3 lacks a filter such as zen.example=127.0.0.[2..11]"),
        ("postscreen_dnsbl_sites", "zen.example=127.0.0.2*x", "zen.example=127.0.0.2*x is not zone=filter*weight"),
        ("postscreen_dnsbl_sites", "Dnsbl.Sorbs.net=127.0.0.2", "Dnsbl.Sorbs.net was given up"),
        ("postscreen_access_list", "permit_mynetwork", "permit_mynetwork is neither a table"),
        ("postscreen_greet_wait", "soon", "soon is not a time"),
        ("postscreen_cache_retention_time", "", "nothing is not a time"),
    ],
)
def test_wrong_settings_of_postscreen_are_named(name: str, value: str, finding: str) -> None:
    (line,) = postscreen_findings(name, value)
    assert line.startswith(f"main.cf:1: {name}: {finding}")


def test_actions_of_postscreen_are_among_its_own() -> None:
    findings = Findings()
    check_postfix.check_value(Setting("postscreen_greet_action", "reject", "main.cf:1"), "ignore", findings)
    check_postfix.check_value(Setting("postscreen_dnsbl_action", "drop", "main.cf:2"), "ignore", findings)
    assert findings.lines == ["main.cf:1: postscreen_greet_action: reject is none of drop, enforce, ignore"]


def test_lists_that_were_given_up_are_refused_in_restrictions_as_well() -> None:
    (line,) = findings_of("smtpd_client_restrictions", "reject_rbl_client ix.dnsbl.manitu.net=127.0.0.2")
    assert line.startswith("main.cf:1: smtpd_client_restrictions: ix.dnsbl.manitu.net was given up")


def test_postscreen_has_the_services_that_it_hands_on_to(tmp_path: Path, programs: Callable[..., list[object]]) -> None:
    for name in ("postscreen", "smtpd", "dnsblog"):
        (tmp_path / name).touch()
    programs(
        status=0,
        output="25 inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\ndnsblog unix - - n - 0 dnsblog\n",
    )
    findings = Findings()
    check_postfix.check_services(Places(MAIN, MASTER), [], tmp_path, findings)
    assert findings.lines == ["master.cf:1: postscreen: lacks its service tlsproxy, type unix"]
