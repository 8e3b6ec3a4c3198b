# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes are reported with their path in the user's own structure, all of them."""

from __future__ import annotations

from typing import Any

import pytest
from mail_model import HASH, INVENTORY

from ansible_collections.postoffice.mail.plugins.module_utils.directory import fields
from ansible_collections.postoffice.mail.plugins.module_utils.directory.errors import InvalidInput
from ansible_collections.postoffice.mail.plugins.module_utils.directory.parse import PROBLEM_LIMIT, parse
from ansible_collections.postoffice.mail.plugins.module_utils.directory.reconcile import validate


def problems(structure: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        validate(parse(structure, "inventory"), INVENTORY)
    return caught.value.problems


def domain(**given: Any) -> list[dict[str, Any]]:
    return [{"name": "example.org", **given}]


def mailbox(**given: Any) -> list[dict[str, Any]]:
    return domain(mailboxes=[{"name": "alice", **given}])


D = "mail_domains[0]"
M = "mail_domains[0].mailboxes[0]"


@pytest.mark.parametrize(
    ("structure", "path", "says"),
    [
        ({}, "mail_domains", "is a mapping; a list is wanted"),
        (["example.org"], D, "is text; a mapping"),
        ([{}], D, "has no name"),
        ([{"name": 5}], f"{D}.name", "is a number; text"),
        ([{"name": "x"}], f"{D}.name", "write it in full"),
        (domain(mailbox=[]), D, "'mailbox' is no field here"),
        (domain() + domain(), "mail_domains[1]", "declared at mail_domains[0] already"),
        (domain(alias_of="a.example", relay_to={"host": "h"}), D, "both alias_of and relay_to"),
        (domain(alias_of="a.example", mailboxes=[{"name": "a"}]), f"{D}.mailboxes", "has none"),
        (domain(alias_of="a.example"), f"{D}.alias_of", "does not exist"),
        (domain(alias_of="example.org"), f"{D}.alias_of", "the domain itself"),
        (domain(relay_to={}), f"{D}.relay_to", "has no host"),
        (domain(relay_to="h"), f"{D}.relay_to", "is text; a mapping"),
        (domain(relay_to={"host": "a b"}), f"{D}.relay_to.host", "neither a host name"),
        (domain(relay_to={"host": "h:25"}), f"{D}.relay_to.host", "the port has its own field"),
        (domain(relay_to={"host": "h", "port": 0}), f"{D}.relay_to.port", "from 1 to 65535"),
        (
            domain(relay_to={"host": "h", "recipients": ["a@b.example"]}),
            f"{D}.relay_to.recipients[0]",
            "another domain",
        ),
        (domain(mailboxes="alice"), f"{D}.mailboxes", "is text; a list"),
        (domain(mailboxes=["alice"]), M, "is text; a mapping"),
        (domain(mailboxes=[{}]), M, "has no name"),
        (mailbox(name="al ice"), f"{M}.name", "cannot stand before"),
        (mailbox(name="alice@other.example"), f"{M}.name", "another domain"),
        (mailbox(password=123), f"{M}.password", "is a number; a password is text, quote it"),
        (mailbox(password=True), f"{M}.password", "is true or false; a password is text, quote it"),
        (mailbox(password=None), f"{M}.password", "is empty"),
        (mailbox(password=""), f"{M}.password", "is empty"),
        (mailbox(password="a\nb"), f"{M}.password", "line break"),
        (mailbox(password="a" * 600), f"{M}.password", "more than 512"),
        (mailbox(password="a", password_hash=HASH), M, "both password and password_hash"),
        (mailbox(password_hash=5), f"{M}.password_hash", "is a number"),
        (mailbox(password_hash="{MD5-CRYPT}$1$abc$def"), f"{M}.password_hash", "Dovecot 2.4 no longer verifies it"),
        (mailbox(quota="5X"), f"{M}.quota", "is not a size"),
        (mailbox(quota=5), f"{M}.quota", "write a unit"),
        (mailbox(quota=True), f"{M}.quota", "is true or false"),
        (mailbox(state="off"), f"{M}.state", "choose one of active, disabled, send-only, receive-only"),
        (mailbox(state=False), f"{M}.state", "quote it"),
        (mailbox(display_name=["a"]), f"{M}.display_name", "is a list"),
        (mailbox(display_name="a\nb"), f"{M}.display_name", "line break"),
        (mailbox(display_name="a" * 201), f"{M}.display_name", "more than 200"),
        (mailbox(aliases="sales"), f"{M}.aliases", "is text; a list"),
        (mailbox(aliases=["sa les"]), f"{M}.aliases[0]", "cannot stand before"),
        (mailbox(aliases=["alice"]), f"{M}.aliases[0]", "is a mailbox as well (mail_domains[0].mailboxes[0])"),
        (mailbox(aliases=["a@elsewhere.example"]), f"{M}.aliases[0]", "elsewhere.example does not exist here"),
        (mailbox(aliases=["a", "a"]), f"{M}.aliases[1]", f"declared at {M}.aliases[0] already"),
        (mailbox(may_send_as=["@"]), f"{M}.may_send_as[0]", "is empty"),
        (mailbox(may_send_as=["a", "a@example.org"]), f"{M}.may_send_as[1]", "is in the list already"),
        (mailbox(sending_limits=5), f"{M}.sending_limits", "is a number; a mapping"),
        (mailbox(sending_limits={"per_day": 5}), f"{M}.sending_limits", "'per_day' is no field here"),
        (mailbox(sending_limits={"messages_per_day": "many"}), f"{M}.sending_limits.messages_per_day", "whole number"),
        (mailbox(sending_limits={"messages_per_day": -1}), f"{M}.sending_limits.messages_per_day", "whole number"),
        (
            domain(defaults={"sending_limits": {"messages_per_day": 1.5}}),
            f"{D}.defaults.sending_limits.messages_per_day",
            "whole number",
        ),
        (mailbox(sieve=["keep;"]), f"{M}.sieve", "is a list; text"),
        (domain(sieve=5), f"{D}.sieve", "is a number; text"),
        (mailbox(spam={"score": 3}), f"{M}.spam", "'score' is no field here"),
        (mailbox(spam={"junk_from": "3"}), f"{M}.spam.junk_from", "points from 0 to 1000"),
        (domain(spam={"junk_from": -1}), f"{D}.spam.junk_from", "points from 0 to 1000"),
        (mailbox(spam={"allow": ["@"]}), f"{M}.spam.allow[0]", "is empty"),
        (domain(spam=5), f"{D}.spam", "is a number; a mapping"),
        (domain(mailboxes=[{"name": "a"}, {"name": "A"}]), f"{D}.mailboxes[1].name", f"declared at {M} already"),
        (domain(aliases=[{"name": "a"}]), f"{D}.aliases[0]", "has no destinations"),
        (domain(aliases=[{"name": "a", "destinations": []}]), f"{D}.aliases[0]", "has no destinations"),
        (domain(aliases=[{"name": "a", "destinations": "b"}]), f"{D}.aliases[0]", "names no mailbox or alias"),
        (domain(aliases=[{"name": "ä", "destinations": "b@c.example"}]), f"{D}.aliases[0].name", "not ASCII"),
        (
            domain(aliases=[{"name": "a", "destinations": ["x@y.example"] * 2}]),
            f"{D}.aliases[0].destinations[1]",
            "already",
        ),
        (domain(aliases=[{"name": "a", "destinations": "a"}]), f"{D}.aliases[0]", "a@example.org -> a@example.org"),
        (domain(catch_all="nobody"), f"{D}.catch_all", "names no mailbox or alias of example.org"),
        (domain(catch_all=5), f"{D}.catch_all", "is a number; a list"),
        (
            domain(expressions=[{"pattern": "(", "destinations": "a@b.example"}]),
            f"{D}.expressions[0].pattern",
            "not a reg",
        ),
        (
            domain(expressions=[{"pattern": "a", "destinations": "$1@b.example"}]),
            f"{D}.expressions[0].destinations[0]",
            "gr",
        ),
        (domain(expressions=[{"pattern": "(a)", "destinations": "a@$1.example"}]), f"{D}.expressions[0]", "domain out"),
        (domain(expressions=[{"pattern": "(a)", "destinations": "$1"}]), f"{D}.expressions[0]", "alice+$1@example.org"),
        (domain(expressions=[{"pattern": "a"}]), f"{D}.expressions[0]", "has no destinations"),
        (
            domain(expressions=[{"pattern": "a@b", "destinations": "a@b.example"}]),
            f"{D}.expressions[0].pattern",
            "an @",
        ),
        (
            domain(expressions=[{"pattern": "a b", "destinations": "a@b.example"}]),
            f"{D}.expressions[0].pattern",
            "blank",
        ),
        (domain(defaults={"quotas": "5G"}), f"{D}.defaults", "'quotas' is no field here"),
        (domain(limits={"max_mailboxes": -1}), f"{D}.limits.max_mailboxes", "whole number"),
        (domain(limits={"max_mailboxes": 0}, mailboxes=[{"name": "a"}]), D, "has 1 mailboxes, its limit is 0"),
        (domain(limits={"max_aliases": 1}, mailboxes=[{"name": "a", "aliases": ["b", "c"]}]), D, "has 2 aliases"),
        (domain(limits={"max_quota": "1G"}, mailboxes=[{"name": "a", "quota": "2G"}]), f"{M}.quota", "2G is more than"),
        (domain(limits={"max_quota": "1G"}, mailboxes=[{"name": "a", "quota": 0}]), f"{M}.quota", "no limit is more"),
        (domain(limits={"max_total_quota": "1G"}, mailboxes=[{"name": "a", "quota": "2G"}]), D, "add up to 2G"),
    ],
)
def test_a_mistake_is_named_with_its_path(structure: Any, path: str, says: str) -> None:
    found = problems(structure)
    assert len(found) == 1, found
    assert found[0].startswith(path)
    assert says in found[0]


def test_every_mistake_is_reported_but_not_without_end() -> None:
    structure = [
        {"name": "a.example", "mailboxes": [{"name": f"x {n}"} for n in range(PROBLEM_LIMIT + 9)]},
        {"name": "y"},
    ]
    with pytest.raises(InvalidInput) as caught:
        parse(structure, "inventory")
    assert len(caught.value.problems) == PROBLEM_LIMIT
    assert caught.value.omitted == 10
    assert str(caught.value).endswith("and 10 more of the kind")


@pytest.mark.parametrize("secret", ["s3cret\n", 123456789, "x" * 513, ["s3cret"]])
def test_a_refused_password_is_not_shown(secret: Any) -> None:
    text = "\n".join(problems(mailbox(password=secret)) + problems(mailbox(password_hash=secret)))
    assert "s3cret" not in text
    assert "123456789" not in text
    assert "xxx" not in text


def test_an_alias_domain_is_not_an_alias_of_an_alias_domain() -> None:
    chain = [{"name": "a.example"}, {"name": "b.example", "alias_of": "a.example"}]
    chain.append({"name": "c.example", "alias_of": "b.example"})
    assert "is itself an alias of a.example; name that domain" in problems(chain)[0]


def test_a_loop_is_shown_as_a_path() -> None:
    aliases = [
        {"name": name, "destinations": [to, "x@y.example"]} for name, to in (("a", "b"), ("b", "c+t"), ("c", "a"))
    ]
    assert problems(domain(aliases=aliases)) == [
        f"{D}.aliases[0]: the aliases form a loop: a@example.org -> b@example.org -> c@example.org -> a@example.org"
    ]


def test_a_loop_through_an_alias_domain() -> None:
    structure = domain(aliases=[{"name": "a", "destinations": "a@example.net"}])
    assert "loop" in problems([*structure, {"name": "example.net", "alias_of": "example.org"}])[0]


def test_a_long_chain_of_aliases_is_no_loop() -> None:
    aliases = [{"name": f"a{n}", "destinations": f"a{n + 1}"} for n in range(3000)]
    validate(parse(domain(mailboxes=[{"name": "a3000"}], aliases=aliases), "inventory"), INVENTORY)


def test_what_is_written_is_normalised() -> None:
    declared = parse(
        [
            {
                "name": "BÜCHER.example",
                "defaults": {"quota": "1G"},
                "mailboxes": [
                    {"name": "Alice@bücher.example", "aliases": ["Sales"], "may_send_as": ["News", "@X.example"]}
                ],
                "catch_all": ["ALICE+Tag"],
                "expressions": [{"pattern": "^x(.*)$", "destinations": "Alice+$1"}],
            }
        ],
        "inventory",
    ).directory
    name = "xn--bcher-kva.example"
    assert declared.mailboxes == {f"alice@{name}": (f"alice@{name}", "", 1 << 30, "active", "inventory", None)}
    assert declared.aliases == {f"sales@{name}": (f"sales@{name}", (f"alice@{name}",), "inventory", None)}
    assert declared.senders == {f"alice@{name}": ("@x.example", f"news@{name}")}
    assert declared.domains[name].catch_all == (f"alice+tag@{name}",)
    assert declared.domains[name].expressions == (("x(.*)", (f"alice+${{1}}@{name}",)),)


def test_passwords_and_hashes_are_kept_apart_from_rows_and_from_what_is_printed() -> None:
    structure = domain(mailboxes=[{"name": "a", "password": "s3cret %"}, {"name": "b", "password_hash": HASH}])
    declared = parse(structure, "inventory")
    assert declared.passwords == {"a@example.org": "s3cret %"}
    assert declared.hashes == {"b@example.org": HASH}
    assert "s3cret" not in repr(declared)
    assert HASH not in repr(declared)


def test_the_reference_names_every_field() -> None:
    text = fields.reference()
    assert all(f"| `{field.name}` |" in text for _title, table in fields.TABLES for field in table)
