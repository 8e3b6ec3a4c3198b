# SPDX-License-Identifier: GPL-3.0-or-later
"""Which From fields are accepted, and as whose."""

from __future__ import annotations

import base64
import email.policy
import email.utils
from email.message import Message

import idna
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from postoffice_milter.addresses import (
    FIELD_LIMIT,
    Address,
    AddressError,
    addresses_in_name,
    parse_address,
    parse_envelope,
    parse_mailboxes,
)


def authors(value: str | bytes) -> list[str]:
    raw = value.encode() if isinstance(value, str) else value
    return [str(mailbox.address) for mailbox in parse_mailboxes(raw)]


@pytest.mark.parametrize(
    "value",
    [
        "alice@example.org",
        "  alice@example.org\t",
        "<alice@example.org>",
        "Alice <alice@example.org>",
        "Alice<alice@example.org>",
        "Alice Liddell <Alice@Example.ORG>",
        "John Q. Public <alice@example.org>",
        '"Liddell, Alice (she)" <alice@example.org>',
        '"a \\"quote\\" <x>" <alice@example.org>',
        '"" <alice@example.org>',
        "Jürgen Müller <alice@example.org>",
        "=?utf-8?q?J=C3=BCrgen?= <alice@example.org>",
        "=?UTF-8?B?SsO8?= =?utf-8?B?cmdlbg==?= <alice@example.org>",
        "=?iso-8859-1*de?Q?J=FCrgen?= <alice@example.org>",
        "=?windows-1252?Q?J=FCrgen?= <alice@example.org>",
        "\n alice@example.org",
        "Alice\r\n\t<alice@example.org>",
    ],
)
def test_one_author(value: str) -> None:
    assert authors(value) == ["alice@example.org"]


def test_a_character_split_between_two_encoded_words_is_put_together() -> None:
    (mailbox,) = parse_mailboxes(b"=?utf-8?q?J=C3?= =?utf-8?q?=BCrgen?= <a@b.example>")
    assert mailbox.names[-1] == "Jürgen"


def test_several_authors() -> None:
    value = 'Alice <alice@example.org>, "B, ob" <bob@example.org>,\n carol@example.org'
    assert authors(value) == ["alice@example.org", "bob@example.org", "carol@example.org"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "complete address"),
        ("   ", "complete address"),
        ("alice", "complete address"),
        ("Alice", "complete address"),
        ("@example.org", "unexpected '@'"),
        ("alice@", "complete address"),
        ("<>", "complete address"),
        ("Alice <alice>", "complete address"),
        ("alice@example.org,", "complete address"),
        (",alice@example.org", "unexpected ','"),
        ("alice@example.org,,bob@example.org", "unexpected ','"),
        ("alice@example.org bob@example.org", "unexpected 'b'"),
        ("alice@example.org <bob@example.org>", "unexpected '<'"),
        ("<alice@example.org> <bob@example.org>", "unexpected '<'"),
        ("<alice@example.org> Bob", "unexpected 'B'"),
        ("Alice alice@example.org", "needs < and >"),
        ("bob@example.org Bob <alice@example.org>", "unexpected 'B'"),
        ("Alice <alice@example.org", "matching >"),
        ("alice@example.org>", "unexpected '>'"),
        ("Alice <<alice@example.org>>", "before the @"),
        ("Alice <alice@example.org>>", "unexpected '>'"),
        ("Alice < alice@example.org >", "before the @"),
        ("alice @example.org", "unexpected '@'"),
        ("alice@ example.org", "complete address"),
        ("alice@example. org", "domain name"),
        ("alice@example .org", "unexpected '.'"),
        ("Alice <alice@example.org\n >", "domain name"),
        ("alice@example.org (Alice)", "comments"),
        ("(Alice) alice@example.org", "comments"),
        ("alice(x)@example.org", "comments"),
        ("Alice <alice@example.org(x)>", "domain name"),
        ("bob@example.org (<alice@example.org>)", "comments"),
        ("Team: alice@example.org;", "groups"),
        ("undisclosed-recipients:;", "groups"),
        ("Alice <@example.net:alice@example.org>", "before the @"),
        ("Alice <@example.net,@x.example:alice@example.org>", "before the @"),
        ("alice@example.org;", "groups"),
        ("alice@[192.0.2.1]", "literals"),
        ("<alice@[192.0.2.1]>", "domain name"),
        ('"alice"@example.org', "quotation marks around"),
        ('"alice".x@example.org', "quotation marks around"),
        ('<"alice"@example.org>', "before the @"),
        ('"bob@example.org" alice@example.org', "needs < and >"),
        ('"ali""ce" <alice@example.org>', "blanks between"),
        ('Ali"ce" <alice@example.org>', "blanks between"),
        ('"Alice <alice@example.org>', "no partner"),
        ('"Alice\\', "no partner"),
        ("Al\\ice <alice@example.org>", "backslash"),
        ("alice..x@example.org", "dot"),
        (".alice@example.org", "dot"),
        (". <alice@example.org>", "dot"),
        ("alice@example.org\u00a0", "domain name"),
        ("alice@example.org\u200b", "domain name"),
        ("alice@example.org\uff0c bob@example.org", "domain name"),
        ("alice.@example.org", "dot"),
        ("alice@example..org", "domain name"),
        ("alice@example.org.", "domain name"),
        ("alice@-example.org", "domain name"),
        ("alice@exa_mple.org", "domain name"),
        ("alice@bob@example.org", "before the @"),
        ("älice@example.org", "before the @"),
        ("=?utf-8?q?bob=40bank.example?=@example.org", "encoded word"),
        ("=?utf-8?q?bob=40bank.example=00?=@example.org", "encoded word"),
        ("=?utf-8?q?alice?= <=?utf-8?q?bob?=@example.org>", "encoded word"),
        ("Alice\n \n alice@example.org", "empty line"),
        ("alice@example.org\n ", "empty line"),
        ("\n \n alice@example.org", "empty line"),
        ("alice@example.org\nFrom: bob@example.org", "folded"),
        ("alice@example.org\r bob", "control"),
        ("alice@example.org\0", "control"),
        ("Ali\x1bce <alice@example.org>", "control"),
        ("Ali\x85ce <alice@example.org>", "control"),
        ("Ali\u2028ce <alice@example.org>", "control"),
        ("Ali\u202ece <alice@example.org>", "control"),
        ('"Ali\rce" <alice@example.org>', "control"),
        ("=?utf-8?q?a=00?= <alice@example.org>", "control"),
        ("=?utf-8?q?a=0AFrom=3A_x?= <alice@example.org>", "control"),
        ('"=?utf-8?q?a=0D?=" <alice@example.org>', "control"),
        ("=?utf-8?b?4oCu?= <alice@example.org>", "control"),
        ("=?utf-7?q?+AEA-?= <alice@example.org>", "character set"),
        ("=?x-unknown?q?a?= <alice@example.org>", "character set"),
        ("=?rot13?q?a?= <alice@example.org>", "character set"),
        ("=?utf-8?b?4oCu=A?= <alice@example.org>", "encoded correctly"),
        ("=?utf-8?q?=FF?= <alice@example.org>", "encoded correctly"),
        ("=?utf-8?q?ä?= <alice@example.org>", "encoded correctly"),
        ("=?utf-8?q?bob?=40bank.example=? <alice@example.org>", "encoded correctly"),
        ("=?utf-8?q?=3D=3Futf-8=3Fq=3Fbob=3F=3D?= <alice@example.org>", "encoded correctly"),
        ('"=?utf-8?q?bob" <alice@example.org>', "encoded correctly"),
        (b"J\xfcrgen <alice@example.org>", "UTF-8"),
        ("x" * 65 + "@example.org", "64"),
        ("a@" + ".".join(["x" * 63] * 4), "domain name"),
        ("a@" + "x" * 64 + ".example", "domain name"),
        ("x " * FIELD_LIMIT, "too long"),
    ],
)
def test_refused_with_the_reason(value: str | bytes, says: str) -> None:
    with pytest.raises(AddressError, match=says):
        authors(value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Alice@BÜCHER.example", "alice@xn--bcher-kva.example"),
        ("alice@XN--BCHER-KVA.example", "alice@xn--bcher-kva.example"),
        ("alice@bu\u0308cher.example", "alice@xn--bcher-kva.example"),
        ("alice@straße.example", "alice@xn--strae-oqa.example"),
    ],
)
def test_international_domains_have_one_form(text: str, address: str) -> None:
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text", ["a@example\u3002org", "a@example\uff0eorg", "a@ex\u00adample.org", "a@\u212a.example"]
)
def test_look_alikes_of_a_domain_are_not_that_domain(text: str) -> None:
    try:
        assert str(parse_address(text)) not in ("a@example.org", "a@k.example")
    except AddressError:
        return


def valid_labels() -> st.SearchStrategy[str]:
    def valid(label: str) -> bool:
        try:
            idna.encode(label)
        except idna.IDNAError:
            return False
        return True

    return st.text(st.characters(min_codepoint=0x61, max_codepoint=0x6FF), min_size=1, max_size=20).filter(valid)


@given(valid_labels())
@example("\u06fd\u06fe")
def test_domains_agree_with_the_idna_library(label: str) -> None:
    assert parse_address(f"a@{label}.example").domain == idna.encode(f"{label}.example").decode()


@pytest.mark.parametrize(
    ("address", "delimiter", "plain"),
    [
        ("alice+tag@x.example", "+", "alice@x.example"),
        ("alice+tag+more@x.example", "+", "alice@x.example"),
        ("alice@x.example", "+", "alice@x.example"),
        ("+tag@x.example", "+", "+tag@x.example"),
        ("++tag@x.example", "+", "+@x.example"),
        ("alice-a+b@x.example", "+-", "alice@x.example"),
        ("alice+tag@x.example", "", "alice+tag@x.example"),
    ],
)
def test_tags(address: str, delimiter: str, plain: str) -> None:
    assert str(parse_address(address).without_tag(delimiter)) == plain


@pytest.mark.parametrize("path", ["<>", "", "<postmaster>", '<"a b"@example.org>', "<a@[192.0.2.1]>"])
def test_envelope_addresses_that_the_directory_cannot_know(path: str) -> None:
    assert parse_envelope(path) is None


def test_envelope_address() -> None:
    for path in (
        "<Alice+x@Example.ORG>",
        '<"alice+x"@example.org>',
        '<"al\\ice+x"@example.org>',
        "<@a,@b:alice+x@example.org>",
    ):
        assert parse_envelope(path) == Address("alice+x", "example.org")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Alice", []),
        ("Alice @ Example", []),
        ("@alice", []),
        ("alice@home", []),
        ("boss@bank.example", ["boss@bank.example"]),
        ("boss@bank.example via Alice", ["boss@bank.example"]),
        ("<boss@bank.example>", ["boss@bank.example"]),
        ("(boss@bank.example), x@y.example.", ["boss@bank.example", "x@y.example"]),
        ("boss\uff20bank\uff0eexample", ["boss@bank.example"]),
        ("boss\ufe6bbank.example", ["boss@bank.example"]),
        ("boss@bank\u3002example", ["boss@bank.example"]),
        ("boss@\u200bbank.ex\u00adample", ["boss@bank.example"]),
    ],
)
def test_addresses_in_names(name: str, found: list[str]) -> None:
    assert list(addresses_in_name(name)) == found


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    try:
        mailboxes = parse_mailboxes(value)
    except AddressError:
        mailboxes = ()
    assert all(parse_address(str(mailbox.address)) == mailbox.address for mailbox in mailboxes)


PIECES = (*'ab@.<>,:;()[]\\" \t\n=?_+-é\r', "=?utf-8?q?", "?=", "=40", "\n ", "a@b.c", "<a@b.c>", '"a"')
SPECIALS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@given(SPECIALS.map(lambda text: f"{text}alice@example.org") | SPECIALS)
def test_what_is_accepted_another_parser_reads_alike(value: str) -> None:
    """What passes has the same authors by Python's own, tolerant parsers."""
    try:
        mailboxes = parse_mailboxes(value.encode())
    except AddressError:
        return
    ours = [str(mailbox.address) for mailbox in mailboxes]
    unfolded = value.replace("\r\n", "").replace("\n", "")
    loose = [address.lower() for _unused, address in email.utils.getaddresses([unfolded])]
    assert ours == loose
    try:
        modern = email.policy.default.header_factory("From", unfolded)
    except AttributeError:  # the library cannot read a dot directly before <
        assert ".<" in unfolded
        return
    assert ours == [f"{each.username}@{each.domain}".lower() for each in modern.addresses]  # type: ignore[attr-defined]


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co", "Zl", "Zp", "Cf")), max_size=40
).filter(lambda name: "@" not in name and "=?" not in name and "\uff20" not in name and "\ufe6b" not in name)


@given(NAMES)
def test_what_a_mail_program_writes_is_accepted(name: str) -> None:
    # Folded by the older policy: the newer one decodes what formataddr wrote and forgets quotation marks.
    message = Message(policy=email.policy.compat32.clone(linesep="\r\n"))
    message["From"] = email.utils.formataddr((name, "alice@example.org"))
    field = message.as_bytes().partition(b"\r\n\r\n")[0].removeprefix(b"From:")
    assert authors(field) == ["alice@example.org"]


@given(NAMES)
def test_names_encoded_in_base64_are_accepted(name: str) -> None:
    words = [base64.b64encode(name[at : at + 8].encode()).decode() for at in range(0, len(name), 8)]
    field = "\r\n ".join(f"=?UTF-8?B?{word}?=" for word in words) + " <alice@example.org>"
    (mailbox,) = parse_mailboxes(field.strip().encode())
    assert name == "" or mailbox.names[-1] == name
