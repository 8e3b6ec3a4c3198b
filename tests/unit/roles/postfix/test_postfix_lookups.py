# SPDX-License-Identifier: GPL-3.0-or-later
"""What Postfix asks the directory, and its tables of expressions."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from postoffice_lookup import Database, Settings, answer
from role_templates import render

DIRECTORY = """
CREATE TABLE postfix_domain (name, class, nexthop);
CREATE TABLE postfix_alias (address, destination, keep_extension);
CREATE TABLE postfix_catch_all (domain, destination);
CREATE TABLE postfix_refused_recipient (address, reply);
CREATE TABLE postfix_mailbox (address);
CREATE TABLE postfix_sender (address, login);
CREATE TABLE postfix_relay_recipient (address);
INSERT INTO postfix_domain VALUES ('example.org', 'local', ''), ('example.net', 'local', ''),
    ('relay.example', 'relay', '[192.0.2.7]:25'), ('mx.example', 'relay', '');
INSERT INTO postfix_mailbox VALUES ('alice@example.org'), ('o''hara@example.org');
INSERT INTO postfix_alias VALUES ('alice@example.org', 'alice@example.org', 1),
    ('o''hara@example.org', 'o''hara@example.org', 1),
    ('sales@example.org', 'alice@example.org', 1), ('sales@example.org', 'bob@partner.example', 0);
INSERT INTO postfix_catch_all VALUES ('example.org', 'alice@example.org');
INSERT INTO postfix_refused_recipient VALUES ('off@example.org', '550 5.2.1 mailbox disabled');
INSERT INTO postfix_sender VALUES ('alice@example.org', 'alice@example.org'),
    ('alice@example.org', 'carol@example.org'), ('@example.net', 'alice@example.org'),
    ('news@example.net', 'carol@example.org');
INSERT INTO postfix_relay_recipient VALUES ('carol@relay.example'), ('@mx.example');
"""
Ask = Callable[..., list[str]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Ask as Postfix does: one map, one key, and rows that are joined by commas."""
    database = tmp_path / "lookup.sqlite3"
    with closing(sqlite3.connect(database)) as made:
        made.executescript(DIRECTORY)

    def lookup(name: str, key: str, **variables: Any) -> list[str]:
        given = {"postfix_directory": str(database), "postfix_root_mail_to": "root@example.org"} | variables
        path = tmp_path / "lookup.json"
        path.write_text(render("etc/postoffice/lookup.json.j2", **given), encoding="utf-8")
        with closing(Database(str(database))) as opened:
            reply = answer(Settings.read(path), opened, f"{name} {key}".encode())
        if reply == "NOTFOUND ":
            return []
        assert reply.startswith("OK ")
        return reply.removeprefix("OK ").split(",")

    return lookup


@pytest.mark.parametrize(
    ("key", "destinations"),
    [
        ("alice@example.org", ["alice@example.org"]),
        ("Alice+Tag@example.org", ["alice+tag@example.org"]),
        ("alice+a+b@example.org", ["alice+a+b@example.org"]),
        ("sales+x@example.org", ["alice+x@example.org", "bob@partner.example"]),
        ("o'hara+x@example.org", ["o'hara+x@example.org"]),
        ("nobody@example.org", []),
        ("+x@example.org", []),
        ("alice", []),
        ("@example.org", []),
    ],
)
def test_aliases_strip_the_tag_and_give_it_back(ask: Ask, key: str, destinations: list[str]) -> None:
    assert sorted(ask("aliases", key)) == sorted(destinations)


def test_without_a_delimiter_a_plus_is_a_letter(ask: Ask) -> None:
    assert ask("aliases", "alice+x@example.org", postfix_recipient_delimiter="") == []
    assert ask("aliases", "alice@example.org", postfix_recipient_delimiter="") == ["alice@example.org"]


def test_another_delimiter_is_heeded(ask: Ask) -> None:
    assert ask("aliases", "alice-x@example.org", postfix_recipient_delimiter="-") == ["alice-x@example.org"]


def test_the_catch_all_takes_whatever_has_a_local_part(ask: Ask) -> None:
    assert ask("catch_all", "anybody@example.org") == ["alice@example.org"]
    assert ask("catch_all", "anybody@example.net") == []


def test_domains_are_of_one_class(ask: Ask) -> None:
    assert ask("domains", "example.org") == ["example.org"]
    assert ask("domains", "relay.example") == []
    assert ask("relay_domains", "relay.example") == ["relay.example"]
    assert ask("relay_domains", "example.org") == []
    assert ask("relay_transports", "anybody@relay.example") == ["relay:[192.0.2.7]:25"]
    assert ask("relay_transports", "anybody@mx.example") == []


def test_a_host_name_that_is_a_mail_domain_is_left_to_the_directory(ask: Ask) -> None:
    assert ask("host_domains", "mail.example.org") == ["mail.example.org"]
    assert ask("host_domains", "other.example.org") == []
    assert ask("host_domains", "example.org", postfix_hostname="example.org") == []
    assert ask("system_users", "www-data@mail.example.org") == ["root@example.org"]
    assert ask("system_users", "www-data@example.org", postfix_hostname="example.org") == []


def test_mailboxes_and_refused_recipients_ignore_the_tag(ask: Ask) -> None:
    assert ask("mailboxes", "alice+x@example.org") == ["alice@example.org"]
    assert ask("mailboxes", "sales@example.org") == []
    assert ask("refused_recipients", "off+x@example.org") == ["550 5.2.1 mailbox disabled"]
    assert ask("refused_recipients", "alice@example.org") == []


def test_senders_are_owners_and_those_granted_the_domain(ask: Ask) -> None:
    assert sorted(ask("senders", "alice+x@example.org")) == ["alice@example.org", "carol@example.org"]
    assert ask("senders", "any@example.net") == ["alice@example.org"]
    assert sorted(ask("senders", "news@example.net")) == ["alice@example.org", "carol@example.org"]
    assert ask("senders", "any@example.org") == []


SRS: dict[str, Any] = {
    "postfix_srs_domain": "mail.example.org",
    "postfix_srs_forward_maps": ["tcp:127.0.0.1:1"],
    "postfix_srs_reverse_maps": ["tcp:127.0.0.1:2"],
}
SECOND_WAY = ["srs:[127.0.0.1]:10029"]


@pytest.mark.parametrize(
    ("key", "route"),
    [
        ("bob@partner.example", SECOND_WAY),
        ("Bob+Tag@Partner.Example", SECOND_WAY),
        ("carol@relay.example", SECOND_WAY),
        ("anybody@example.org", []),
        ("news@example.net", []),
        ("root@mail.example.org", []),
        ("root@localhost", []),
        ("@partner.example", []),
        ("<>", []),
        ("", []),
    ],
)
def test_mail_of_others_leaves_by_the_second_way(ask: Ask, key: str, route: list[str]) -> None:
    assert ask("forwards", key, **SRS) == route


def test_mail_of_users_who_may_send_as_others_leaves_as_it_is(ask: Ask, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "lookup.sqlite3")) as directory:
        directory.execute("INSERT INTO postfix_sender VALUES ('boss@partner.example', 'alice@example.org')")
        directory.execute("INSERT INTO postfix_sender VALUES ('@lists.example', 'alice@example.org')")
        directory.commit()
    assert ask("forwards", "boss+x@partner.example", **SRS) == []
    assert ask("forwards", "bob@partner.example", **SRS) == SECOND_WAY
    assert ask("forwards", "any@lists.example", **SRS) == []


def test_senders_with_a_smarthost_of_their_own_keep_it(ask: Ask) -> None:
    smarthosts = {"postfix_sender_smarthosts": {"Shop.example": {}, "boss@partner.example": {}}}
    assert ask("forwards", "any@shop.example", **SRS, **smarthosts) == []
    assert ask("forwards", "bob@partner.example", **SRS, **smarthosts) == SECOND_WAY


def test_relay_recipients_are_addresses_or_whole_domains(ask: Ask) -> None:
    assert ask("relay_recipients", "carol+x@relay.example") == ["carol@relay.example"]
    assert ask("relay_recipients", "dave@relay.example") == []
    assert ask("relay_recipients", "any@mx.example") == ["@mx.example"]


def test_role_addresses_exist_in_local_domains_only(ask: Ask) -> None:
    assert ask("role_addresses", "postmaster@example.net") == ["root@example.org"]
    assert ask("role_addresses", "abuse@example.org") == ["root@example.org"]
    assert ask("role_addresses", "sales@example.org") == []
    assert ask("role_addresses", "postmaster@relay.example") == []


def pcre(template: str, line: str, **variables: Any) -> str | None:
    """Return what the first matching row of a table says, as Postfix does: case ignored, a dot matches all."""
    for row in render(template, **variables).splitlines():
        if row.startswith("/"):
            pattern, _unused, result = row[1:].rpartition("/ ")
            found = re.search(pattern, line, re.IGNORECASE | re.DOTALL)
            if found:
                return found.expand(re.sub(r"\$(\d)", r"\\\1", result))
    return None


HEADERS = "etc/postfix/tables/submission_headers.pcre.j2"
RECEIVED = """Received: from laptop.home (unknown [203.0.113.9])
\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)
\t key-exchange X25519 server-signature ECDSA (prime256v1) server-digest SHA256)
\t(No client certificate requested)
\tby mail.example.org (Postfix) with ESMTPSA id 2BE58182913{recipient}; Sun, 22 Nov 2026 15:32:12 +0000 (UTC)"""


@pytest.mark.parametrize("recipient", ["", "\n\tfor <bob@example.org>"])
def test_the_own_received_header_keeps_host_id_and_time_only(recipient: str) -> None:
    assert pcre(HEADERS, RECEIVED.format(recipient=recipient)) == (
        "REPLACE Received: by mail.example.org (Postfix) id 2BE58182913; Sun, 22 Nov 2026 15:32:12 +0000 (UTC)"
    )


@pytest.mark.parametrize(
    ("header", "removed"),
    [
        ("Received: from phone by laptop.home with ESMTPSA id 1; today", True),
        ("X-Originating-IP: [192.168.1.5]", True),
        ("user-agent: Mutt", True),
        ("X-Mailer: Thing\n\tmore of it", True),
        ("X-Mailer-Daemon: no", False),
        ("Subject: User-Agent: and X-Mailer:", False),
    ],
)
def test_traces_of_the_client_go_and_nothing_else(header: str, removed: bool) -> None:
    assert pcre(HEADERS, header) == ("IGNORE" if removed else None)


def test_software_goes_from_the_comment_of_mime_version() -> None:
    table = "etc/postfix/tables/submission_mime_headers.pcre.j2"
    assert pcre(table, "MIME-Version: 1.0 (Mac OS X Mail 16.0)") == "REPLACE MIME-Version: 1.0"
    assert pcre(table, "MIME-Version: 1.0") is None


def test_alone_a_login_sends_as_itself_with_any_tag() -> None:
    table = "etc/postfix/tables/sender_is_login.pcre.j2"
    assert pcre(table, "alice@example.org") == "alice@example.org"
    assert pcre(table, "alice+news@example.org") == "alice@example.org"
    assert pcre(table, "alice.b@example.org", postfix_recipient_delimiter=".") == "alice@example.org"
    assert pcre(table, "alice+news@example.org", postfix_recipient_delimiter="") == "alice+news@example.org"


def test_addresses_beyond_ascii_are_refused() -> None:
    table = "etc/postfix/tables/addresses.pcre.j2"
    assert (pcre(table, "ülk@example.org") or "").startswith("553 5.6.7")
    assert pcre(table, "alice@example.org") is None


SMARTHOSTS: dict[str, Any] = {
    "postfix_smarthost": {"host": "out.example", "username": "me", "password": "a:b c"},
    "postfix_sender_smarthosts": {
        "example.net": {"host": "out.example", "port": 465, "username": "net", "password": "p", "tls": "encrypt"},
        "alice@example.org": {"host": "open.example", "port": 25, "tls": "may"},
        "direct.example": {},
    },
}


def rows(name: str, **variables: Any) -> list[str]:
    text = render(f"etc/postfix/tables/{name}.j2", **variables)
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_smarthosts_have_a_login_a_policy_and_a_route_each() -> None:
    assert rows("smarthost_logins", **SMARTHOSTS) == ["[out.example]:587 me:a:b c", "@example.net net:p"]
    assert rows("smarthost_tls", **SMARTHOSTS) == [
        "[open.example]:25 may",
        "[out.example]:465 encrypt",
        "[out.example]:587 secure match=nexthop",
    ]
    assert rows("sender_smarthosts", **SMARTHOSTS) == [
        "alice@example.org smarthost:[open.example]:25",
        "@direct.example smtp:",
        "@example.net smarthost-tls:[out.example]:465",
    ]


def test_host_aliases_have_short_and_full_names_and_own_aliases_win() -> None:
    table = rows("host_aliases", postfix_root_mail_to="op@example.org", postfix_local_aliases={"root": "x@example.org"})
    assert "root x@example.org" in table
    assert "root@mail.example.org x@example.org" in table
    assert "postmaster@localhost op@example.org" in table


MAIN = "etc/postfix/main.cf.j2"
ALONE: dict[str, Any] = {"postfix_certificate": "/c.pem", "postfix_certificate_key": "/k.pem"}


def settings(text: str) -> dict[str, str]:
    lines = [line.partition(" =") for line in text.splitlines() if line and not line.startswith("#")]
    assert len({name for name, _unused, _unused in lines}) == len(lines), "a parameter is set twice"
    return {name: value.strip() for name, _unused, value in lines}


def test_every_parameter_is_set_once_whatever_is_asked_for() -> None:
    everything = (
        ALONE
        | SMARTHOSTS
        | {
            "postfix_directory": "/d",
            "postfix_expressions": "/e",
            "postfix_sasl_socket": "/s",
            "postfix_root_mail_to": "op@example.org",
            "postfix_tls_policies": {"a.example": "none"},
            "postfix_settings": {
                "myhostname": "x.example.org",
                "smtpd_milters": ["inet:a:1", "inet:b:2"],
                "biff": True,
                "extra": 3,
            },
        }
    )
    parsed = settings(render(MAIN, **everything))
    assert parsed["myhostname"] == "x.example.org"
    assert parsed["smtpd_milters"] == "inet:a:1, inet:b:2"
    assert parsed["biff"] == "yes"
    assert parsed["extra"] == "3"
    assert set(settings(render(MAIN, **ALONE))) < set(parsed)


@pytest.mark.parametrize(
    ("sender", "route"),
    [
        ("bob@partner.example", SECOND_WAY[0]),
        ("bob@sub.example.org", SECOND_WAY[0]),
        ("alice@Example.org", None),
        ("<>", None),
    ],
)
def test_without_a_directory_a_table_knows_whose_senders_are_ours(sender: str, route: str | None) -> None:
    assert pcre("etc/postfix/tables/forwards.pcre.j2", sender, **SRS, postfix_virtual_domains=["example.org"]) == route


@pytest.mark.parametrize(
    ("recipient", "asked"),
    [
        ("SRS0=abcd=XY=partner.example=bob@mail.example.org", True),
        ("srs1=abcd=partner.example==abcd=XY=x.example=bob@Mail.example.org", True),
        ("SRS0=abcd=XY=partner.example=bob@mailxexample.org", False),
        ("alice@mail.example.org", False),
        ("SRS0@mail.example.org", False),
    ],
)
def test_only_what_looks_like_a_sender_of_ours_is_asked_about(recipient: str, asked: bool) -> None:
    assert (pcre("etc/postfix/tables/srs_recipients.pcre.j2", recipient, **SRS) is not None) is asked


def test_a_sender_that_was_not_rewritten_becomes_nobody_and_one_that_was_stays() -> None:
    table = "etc/postfix/tables/srs_senders.pcre.j2"
    assert pcre(table, "SRS0=abcd=XY=x.example=bob@partner.example", **SRS) == "double-bounce@mail.example.org"
    assert pcre(table, "SRS0=abcd=XY=x.example=bob@Mail.example.org", **SRS) is None


def test_forwards_are_rewritten_on_their_second_way_only() -> None:
    parsed = settings(render(MAIN, **ALONE, **SRS, **SMARTHOSTS, postfix_directory="/d"))
    assert "sender_canonical_maps" not in parsed
    assert parsed["srs_sender_maps"] == "tcp:127.0.0.1:1, pcre:/etc/postfix/tables/srs_senders.pcre"
    assert parsed["virtual_alias_maps"].startswith(
        "pipemap:{pcre:/etc/postfix/tables/srs_recipients.pcre, tcp:127.0.0.1:2}, "
    )
    assert [name.rpartition("/")[2] for name in parsed["sender_dependent_default_transport_maps"].split(", ")] == [
        "sender_smarthosts",
        "lookup.sock:forwards",
    ]
    services = render("etc/postfix/master.cf.j2", **SRS)
    assert "127.0.0.1:10029 inet" in services
    assert "10029" not in render("etc/postfix/master.cf.j2")
    assert "srs" not in render(MAIN, **ALONE, postfix_directory="/d")


def test_every_map_that_postfix_asks_for_has_a_query() -> None:
    given: dict[str, Any] = {
        "postfix_directory": "/d", "postfix_sasl_socket": "/s", "postfix_root_mail_to": "a@b.example", **SRS
    }  # fmt: skip
    asked = set(re.findall(r"socketmap:unix:[^:]+:(\w+)", render(MAIN, **ALONE, **given)))
    assert asked == set(json.loads(render("etc/postoffice/lookup.json.j2", **given))["queries"])


def test_aliases_come_before_expressions_and_the_catch_all_last() -> None:
    parsed = settings(
        render(MAIN, **ALONE, postfix_directory="/d", postfix_expressions="/e", postfix_root_mail_to="a@b.example")
    )
    assert [re.split("[/:]", name)[-1] for name in parsed["virtual_alias_maps"].split(", ")] == [
        "aliases", "e", "catch_all", "role_addresses", "host_aliases",
    ]  # fmt: skip


def test_dane_takes_a_resolver_that_validates() -> None:
    assert settings(render(MAIN, **ALONE))["smtp_tls_security_level"] == "may"
    validating = ALONE | {"postfix_wired_validating_resolver": True}
    assert settings(render(MAIN, **validating))["smtp_tls_security_level"] == "dane"
    assert settings(render(MAIN, **validating, postfix_dane=False))["smtp_tls_security_level"] == "may"


def test_policies_of_the_operator_come_before_those_of_others() -> None:
    parsed = settings(
        render(MAIN, **ALONE, postfix_tls_policies={"a.example": "none"}, postfix_wired_tls_policy_maps=["static:x"])
    )
    assert parsed["smtp_tls_policy_maps"] == "texthash:/etc/postfix/tables/tls_policies, static:x"
    assert "smtp_tls_policy_maps" not in settings(render(MAIN, **ALONE))


def test_recipients_are_refused_before_policy_services_are_asked() -> None:
    parsed = settings(render(MAIN, **ALONE, postfix_directory="/d", postfix_wired_policy_services=["unix:/q"]))
    assert parsed["smtpd_recipient_restrictions"].endswith("reject_unlisted_recipient, check_policy_service unix:/q")
    assert "permit" not in parsed["smtpd_relay_restrictions"]


def test_no_line_of_the_services_is_indented_by_mistake() -> None:
    text = render(
        "etc/postfix/master.cf.j2", postfix_sasl_socket="/s", postfix_root_mail_to="a@b.example", **SMARTHOSTS
    )
    assert all(line.startswith("    -o ") for line in text.splitlines() if line.startswith(" "))
    services = [line.split() for line in text.splitlines() if line and line[0] not in " #"]
    assert all(len(service) == 8 and service[4] == "n" for service in services)
    assert [service[0] for service in services if service[1] == "inet"] == ["25", "587", "465"]


def test_the_unit_of_the_older_release_is_mended_before_it_starts() -> None:
    template = "etc/systemd/system/postfix.service.d/postoffice.conf.j2"
    older = {"versions": {"postfix": "3.7.11"}, "missing": []}
    assert "ExecStartPre=+/usr/sbin/postfix check" in render(template, __postfix_packages=older)
    assert "ExecStartPre" not in render(template)
