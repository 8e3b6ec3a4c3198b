"""Outgoing mail through another provider's server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mailtest.deployment import Person
from mailtest.elsewhere import Elsewhere
from mailtest.mail import MailProgram

pytestmark = pytest.mark.needs("smarthost", "elsewhere")


def test_mail_of_the_site_goes_through_the_smarthost(
    mail_program: Callable[..., MailProgram], elsewhere: Elsewhere, alice: Person
) -> None:
    arrived = elsewhere.wait_for(mail_program(alice).send("someone@outside.example"))
    assert arrived.login == "relay@elsewhere.test"
    assert "TLS" in arrived.received, "no password goes over the wire in cleartext"


def test_mail_of_a_domain_goes_through_a_smarthost_of_its_own(
    mail_program: Callable[..., MailProgram], elsewhere: Elsewhere, person: Callable[[str], Person]
) -> None:
    arrived = elsewhere.wait_for(mail_program(person("carol@example.com")).send("someone@outside.example"))
    assert arrived.login == "shop@elsewhere.test"
