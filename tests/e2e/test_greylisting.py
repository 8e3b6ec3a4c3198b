"""Strangers are asked to come back, once: servers do."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from mailtest.deployment import Deployment, Person, Shell
from mailtest.imap import Mailbox
from mailtest.internet import Internet
from mailtest.mail import Outside, compose
from mailtest.smtp import Reply
from mailtest.waiting import wait_for

pytestmark = pytest.mark.needs("internet", "greylisting")

RECIPIENT = "alice@example.org"
FIRST, SECOND = "sts-ok.example", "sts-bad.example"  # two machines in one network, as a big sender has them

# Sends a message with a user's password, from an address that nobody knows.
TRAVELLING = """
import json, smtplib, ssl, sys
asked = json.load(sys.stdin)
context = ssl._create_unverified_context()
source = (asked["source"], 0)
if asked["port"] == 465:
    client = smtplib.SMTP_SSL(asked["server"], 465, context=context, source_address=source, timeout=30)
else:
    client = smtplib.SMTP(asked["server"], asked["port"], source_address=source, timeout=30)
    client.starttls(context=context)
with client:
    client.login(asked["user"], asked["password"])
    client.sendmail(asked["user"], asked["to"], asked["message"])
"""


@pytest.fixture(scope="module", autouse=True)
def forgotten(host: Shell) -> None:
    """Nobody is known from earlier."""
    host.run("systemctl", "stop", "postgrey.service")
    host.run("find", "/var/lib/postgrey", "-mindepth", "1", "-delete")
    host.run("systemctl", "start", "postgrey.service")
    answers(host)


def answers(host: Shell) -> None:
    host.run("/usr/local/lib/postoffice/postgrey-config", "probe", "/run/postgrey/postgrey.sock")


def somebody() -> str:
    return f"{uuid.uuid4().hex}@letters.example"


def tried(internet: Internet, sender: str, domain: str = FIRST, *, to: str = RECIPIENT, version: int = 4) -> Reply:
    """The answer to the recipient, or what came before it."""
    said = internet.send_from(domain, to, envelope_sender=sender, version=version)
    return said.reply(f"RCPT {to}")


def deferred(reply: Reply) -> bool:
    return reply.code == 450 and "Greylisted, please try again in" in reply.text


@pytest.mark.parametrize("version", [4, 6])
def test_the_first_try_is_deferred_and_one_after_the_delay_accepted(internet: Internet, version: int) -> None:
    sender = somebody()
    assert deferred(tried(internet, sender, version=version))
    wait_for(lambda: tried(internet, sender, version=version).ok, "to be let in")
    assert tried(internet, sender, version=version).ok, "and is known from now on"


def test_a_server_that_tries_again_delivers(internet: Internet, mailbox: Callable[[str], Mailbox]) -> None:
    sender = somebody()
    message = compose(to=RECIPIENT, sender=sender)
    first = internet.send_from(FIRST, RECIPIENT, message=message, envelope_sender=sender)
    assert deferred(first.last)
    wait_for(
        lambda: internet.send_from(FIRST, RECIPIENT, message=message, envelope_sender=sender).accepted, "to be let in"
    )
    assert "delayed" in mailbox(RECIPIENT).wait_for(message)["X-Greylist"]


@pytest.mark.parametrize("version", [4, 6])
def test_another_machine_of_the_same_network_may_try_again(internet: Internet, version: int) -> None:
    sender = somebody()
    assert deferred(tried(internet, sender, FIRST, version=version))
    wait_for(lambda: tried(internet, sender, SECOND, version=version).ok, "the second machine to be let in")


def test_another_sender_or_recipient_is_a_stranger_again(internet: Internet) -> None:
    sender = somebody()
    tried(internet, sender)
    wait_for(lambda: tried(internet, sender).ok, "to be let in")
    assert deferred(tried(internet, somebody()))
    assert deferred(tried(internet, sender, to="info@example.org"))


def test_unknown_recipients_are_refused_at_once(internet: Internet) -> None:
    assert tried(internet, somebody(), to="nobody-at-all@example.org").code == 550


def test_recipients_who_want_their_mail_at_once_get_it(internet: Internet) -> None:
    assert tried(internet, somebody(), to="bob@example.org").ok
    assert tried(internet, somebody(), to="postmaster@example.org").ok


def test_clients_on_the_operator_s_list_are_not_deferred(internet: Internet) -> None:
    assert tried(internet, somebody(), "plain.example").ok


@contextmanager
def without_the_operators_list(host: Shell) -> Iterator[None]:
    path = "/etc/postgrey/whitelist_clients.local"
    kept = host.output("cat", path)
    host.run("sh", "-c", f"echo probe.postoffice.invalid > {path}")
    host.run("systemctl", "reload", "postgrey.service")
    try:
        yield
    finally:
        host.run("sh", "-c", f"cat > {path}", stdin=kept)
        host.run("systemctl", "reload", "postgrey.service")


def test_clients_on_an_allow_list_are_not_deferred(internet: Internet, host: Shell) -> None:
    with without_the_operators_list(host):
        wait_for(lambda: deferred(tried(internet, somebody(), "plain.example")), "the operator's list to be forgotten")
        assert internet.send_from("good.example", RECIPIENT).accepted
    wait_for(lambda: tried(internet, somebody(), "plain.example").ok, "the operator's list to be known again")


def test_one_s_own_network_is_not_deferred(outside: Outside) -> None:
    assert outside.ask(RECIPIENT, envelope_sender=somebody()).ok


@pytest.mark.parametrize("port", [587, 465])
def test_users_who_travel_are_not_deferred(
    internet: Internet, deployment: Deployment, alice: Person, port: int
) -> None:
    message = compose(to=RECIPIENT, sender=alice.address)
    asked = {
        "source": internet.parties[FIRST].addresses[0],
        "server": deployment.address(4),
        "port": port,
        "user": alice.address,
        "password": alice.password,
        "to": RECIPIENT,
        "message": message.as_string(),
    }
    internet.shell.run("python3", "-c", TRAVELLING, stdin=json.dumps(asked))  # fails when it is not accepted


def test_who_is_known_is_known_after_a_restart(internet: Internet, host: Shell) -> None:
    sender = somebody()
    tried(internet, sender)
    wait_for(lambda: tried(internet, sender).ok, "to be let in")
    before = host.output("systemctl", "show", "--property=MainPID", "--value", "postgrey.service")
    host.run("systemctl", "kill", "--signal=KILL", "postgrey.service")

    def another() -> bool:
        return host.output("systemctl", "show", "--property=MainPID", "--value", "postgrey.service") not in {
            before,
            "0\n",
        }

    wait_for(another, "it to come back by itself")
    answers(host)
    assert tried(internet, sender).ok


def test_mail_is_deferred_while_it_does_not_answer(outside: Outside, deployment: Deployment, host: Shell) -> None:
    host.run("systemctl", "stop", "postgrey.service")
    try:
        reply = outside.ask(RECIPIENT, envelope_sender=somebody())
    finally:
        host.run("systemctl", "start", "postgrey.service")
    answers(host)
    accepts = deployment.variables.get("postgrey_on_failure") == "accept"
    assert reply.ok if accepts else reply.code == 451
    wait_for(lambda: outside.ask(RECIPIENT, envelope_sender=somebody()).ok, "mail to be taken again")
