"""Outgoing mail through another provider's server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from mailtest.deployment import Person, Shell
from mailtest.elsewhere import Elsewhere
from mailtest.mail import MailProgram
from mailtest.waiting import wait_for

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
    assert "TLS" in arrived.received


@pytest.mark.needs("unproved smarthosts")
@pytest.mark.parametrize("sender", ["sha512@moved.example", "bcrypt@moved.example"], ids=["STARTTLS", "implicit TLS"])
def test_a_smarthost_that_cannot_prove_who_it_is_gets_nothing(
    mail_program: Callable[..., MailProgram],
    elsewhere: Elsewhere,
    host: Shell,
    person: Callable[[str], Person],
    sender: str,
) -> None:
    sent = mail_program(person(sender)).send("someone@outside.example")
    waiting = wait_for(lambda: deferred(host, sender), f"a deferred message of {sender}")
    host.output("postsuper", "-d", waiting["queue_id"])
    reasons = [recipient["delay_reason"] for recipient in waiting["recipients"]]
    assert all(re.search("certificate (is )?not (trusted|verified)", reason) for reason in reasons), reasons
    assert elsewhere.arrivals(sent) == []


def deferred(host: Shell, sender: str) -> dict[str, Any]:
    """The sender's message in the queue that could not be passed on, empty when there is none."""
    queue = map(json.loads, host.output("postqueue", "-j").splitlines())
    found = (entry for entry in queue if entry["sender"] == sender and entry["queue_name"] == "deferred")
    return next(found, {})
