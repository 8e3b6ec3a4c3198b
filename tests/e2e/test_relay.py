"""Domains whose mail is passed on to another server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mailtest.deployment import Person
from mailtest.elsewhere import Elsewhere
from mailtest.mail import MailProgram, Outside

pytestmark = pytest.mark.needs("relay", "elsewhere")


def test_mail_for_a_relayed_domain_is_passed_on(outside: Outside, elsewhere: Elsewhere) -> None:
    arrived = elsewhere.wait_for(outside.send("known@relayed.example"))
    assert arrived.recipients == ["known@relayed.example"]
    assert arrived.login == "", "to the domain's own server, not through the smarthost"
    assert "TLS" in arrived.received, "encrypted, since that server can"


def test_its_unknown_recipients_are_refused_here(outside: Outside) -> None:
    assert outside.ask("unknown@relayed.example").code == 550


def test_a_domain_may_have_every_recipient_passed_on(outside: Outside, elsewhere: Elsewhere) -> None:
    sent = outside.send("anybody-at-all@relayed-whole.example")
    assert elsewhere.wait_for(sent).recipients == ["anybody-at-all@relayed-whole.example"]


def test_users_write_to_a_relayed_domain(
    mail_program: Callable[..., MailProgram], elsewhere: Elsewhere, alice: Person
) -> None:
    arrived = elsewhere.wait_for(mail_program(alice).send("known@relayed.example"))
    assert arrived.login == ""
