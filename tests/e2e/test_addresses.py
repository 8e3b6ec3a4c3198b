"""Which address means whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mailtest.elsewhere import Elsewhere
from mailtest.imap import Mailbox
from mailtest.mail import Outside
from mailtest.waiting import wait_for

REACHES = [
    # recipient, mailbox, what the deployment needs for it
    pytest.param("sales@example.org", "alice@example.org", id="alias of a mailbox", marks=pytest.mark.needs("aliases")),
    pytest.param("news@example.org", "bob@example.org", id="alias", marks=pytest.mark.needs("aliases")),
    pytest.param("team@example.org", "bob@example.org", id="alias of an alias", marks=pytest.mark.needs("aliases")),
    pytest.param(
        "sales+spring@example.org", "alice@example.org", id="tag on an alias", marks=pytest.mark.needs("aliases")
    ),
    pytest.param("alice+shop@example.org", "alice@example.org", id="tag on a mailbox"),
    pytest.param(
        "alice+shop@example.org",
        "alice@example.org",
        id="tag on a mailbox beside a matching expression",
        marks=pytest.mark.needs("expressions"),
    ),
    pytest.param("alice-shop@example.org", "bob@example.org", id="expression", marks=pytest.mark.needs("expressions")),
    pytest.param(
        "ask-wine@example.org",
        "filer@example.org",
        id="expression with a group",
        marks=pytest.mark.needs("expressions"),
    ),
    pytest.param(
        "order-4711@example.com",
        "dave@example.com",
        id="expression before catch-all",
        marks=pytest.mark.needs("expressions"),
    ),
    pytest.param(
        "order-1@example.com",
        "carol@example.com",
        id="explicit address before expression",
        marks=pytest.mark.needs("expressions"),
    ),
    pytest.param("whatever@example.com", "carol@example.com", id="catch-all", marks=pytest.mark.needs("catch-all")),
    pytest.param(
        "dave@example.com", "dave@example.com", id="mailbox before catch-all", marks=pytest.mark.needs("catch-all")
    ),
    pytest.param(
        "dave+tag@example.com",
        "dave@example.com",
        id="tagged mailbox before catch-all",
        marks=pytest.mark.needs("catch-all"),
    ),
    pytest.param(
        "hello@example.com", "dave@example.com", id="alias before catch-all", marks=pytest.mark.needs("catch-all")
    ),
    pytest.param("alice@example.net", "alice@example.org", id="alias domain", marks=pytest.mark.needs("alias domain")),
    pytest.param(
        "alice+tag@example.net", "alice@example.org", id="tag, alias domain", marks=pytest.mark.needs("alias domain")
    ),
    pytest.param(
        "sales@example.net",
        "alice@example.org",
        id="alias, alias domain",
        marks=pytest.mark.needs("alias domain", "aliases"),
    ),
    pytest.param(
        "alice-shop@example.net",
        "bob@example.org",
        id="expression, alias domain",
        marks=pytest.mark.needs("alias domain", "expressions"),
    ),
    pytest.param(
        "whatever@shop.example",
        "carol@example.com",
        id="catch-all, alias domain",
        marks=pytest.mark.needs("catch-all"),
    ),
    pytest.param(
        "leser@xn--bcher-kva.example",
        "leser@xn--bcher-kva.example",
        id="international domain",
        marks=pytest.mark.needs("international domain"),
    ),
    pytest.param(
        "archive@example.org", "archive@example.org", id="receive-only mailbox", marks=pytest.mark.needs("states")
    ),
]


@pytest.mark.parametrize(("recipient", "owner"), REACHES)
def test_mail_reaches(outside: Outside, mailbox: Callable[[str], Mailbox], recipient: str, owner: str) -> None:
    sent = outside.send(recipient)
    wait_for(lambda: mailbox(owner).folders_with(sent), f"mail for {recipient} in {owner}'s mailbox")
    assert len(mailbox(owner).folders_with(sent)) == 1


@pytest.mark.needs("tag folders")
def test_tagged_mail_is_filed_in_the_folder_of_that_name(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    sent = outside.send("bob+recipes@example.org")
    assert mailbox("bob@example.org").wait_for(sent, "recipes")


@pytest.mark.needs("aliases")
def test_an_alias_with_two_destinations_reaches_both(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    sent = outside.send("info@example.org")
    assert mailbox("alice@example.org").wait_for(sent)
    assert mailbox("bob@example.org").wait_for(sent)


@pytest.mark.needs("aliases", "elsewhere")
def test_an_alias_forwards_to_another_server(outside: Outside, elsewhere: Elsewhere) -> None:
    sent = outside.send("partner@example.org")
    assert elsewhere.wait_for(sent).recipients == ["friend@partner.example"]


@pytest.mark.needs("aliases", "elsewhere")
def test_an_alias_reaches_a_mailbox_and_another_server(
    outside: Outside, mailbox: Callable[[str], Mailbox], elsewhere: Elsewhere
) -> None:
    sent = outside.send("both@example.org")
    assert mailbox("alice@example.org").wait_for(sent)
    assert elsewhere.wait_for(sent).recipients == ["friend@partner.example"]


@pytest.mark.needs("catch-all")
@pytest.mark.parametrize("recipient", ["dave@example.com", "hello@example.com", "order-4711@example.com"])
def test_the_catch_all_gets_only_what_nobody_else_gets(
    outside: Outside, mailbox: Callable[[str], Mailbox], recipient: str
) -> None:
    sent = outside.send([recipient, "nobody-else@example.com"])
    other = outside.send(recipient)
    mailbox("dave@example.com").wait_for(other)
    assert mailbox("carol@example.com").wait_for(sent)
    assert not mailbox("carol@example.com").holds(other)


REFUSED = [
    pytest.param("nobody-at-all@example.org", id="unknown user"),
    pytest.param("nobody-at-all+tag@example.org", id="unknown user with a tag"),
    pytest.param("nobody@example.net", id="unknown user of an alias domain", marks=pytest.mark.needs("alias domain")),
    pytest.param("xalice-shop@example.org", id="beside an expression", marks=pytest.mark.needs("expressions")),
    pytest.param("former@example.org", id="disabled mailbox", marks=pytest.mark.needs("states")),
    pytest.param("former+tag@example.org", id="disabled mailbox with a tag", marks=pytest.mark.needs("states")),
    pytest.param(
        "former@example.net", id="disabled mailbox, alias domain", marks=pytest.mark.needs("states", "alias domain")
    ),
    pytest.param("ex@example.org", id="alias of a disabled mailbox", marks=pytest.mark.needs("states")),
    pytest.param("printer@example.org", id="send-only mailbox", marks=pytest.mark.needs("states")),
]


@pytest.mark.parametrize("recipient", REFUSED)
def test_mail_is_refused_while_the_sender_listens(outside: Outside, recipient: str) -> None:
    assert outside.ask(recipient).code == 550


@pytest.mark.needs("states")
@pytest.mark.parametrize(
    ("recipient", "reason"),
    [
        ("former@example.org", "mailbox disabled"),
        ("former+tag@example.net", "mailbox disabled"),
        ("ex@example.org", "mailbox disabled"),
        ("printer@example.org", "mailbox does not receive mail"),
    ],
)
def test_the_sender_is_told_why(outside: Outside, recipient: str, reason: str) -> None:
    """Who wrote to somebody for years and reads `unknown user` takes the address for misspelt."""
    text = outside.ask(recipient).text
    assert text.startswith("5.2.1")
    assert reason in text
