"""Mail that is forwarded: others take it from this server, and what they send back finds its way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
from mailtest.deployment import Deployment, Person, Shell
from mailtest.elsewhere import Arrival
from mailtest.imap import Mailbox
from mailtest.internet import Internet
from mailtest.mail import MailProgram, Outside, compose
from mailtest.managesieve import ManageSieve
from mailtest.waiting import wait_for

pytestmark = pytest.mark.needs("internet", "forwards")

# Whose SPF record names their own addresses and refuses all others.
SENDER = "somebody@pool.example"
UNIT = "postsrsd.service"


@pytest.fixture
def forwarded(internet: Internet) -> Callable[..., Arrival]:
    """A message of somebody else to an address here, as the server got it that it was forwarded to."""

    def forwarding(to: str, envelope_sender: str | None = None) -> Arrival:
        sent = internet.send_from("pool.example", to, envelope_sender=envelope_sender)
        assert sent.accepted, sent.steps
        return internet.received(sent.message)

    return forwarding


@pytest.fixture
def without_postsrsd(host: Shell) -> Iterator[None]:
    host.run("systemctl", "stop", UNIT)
    yield
    host.run("systemctl", "start", UNIT)


def is_ours(sender: str, deployment: Deployment) -> bool:
    return re.fullmatch(rf"SRS0=\S{{8}}=..=pool\.example=somebody@{re.escape(deployment.hostname)}", sender) is not None


def test_a_forward_has_a_sender_of_ours_and_passes_spf(
    forwarded: Callable[..., Arrival], internet: Internet, deployment: Deployment
) -> None:
    arrived = forwarded("abroad@example.org")
    assert is_ours(arrived.sender, deployment), arrived.sender
    assert arrived.recipients == ["reader@good.example"]
    assert internet.judged(str(arrived.message["Message-ID"])).results["spf"] == "pass"
    assert arrived.message["From"] == SENDER, "what people see is as it was"
    results = [str(value) for value in arrived.message.get_all("Authentication-Results", [])]
    assert any(deployment.hostname in value for value in results), "and so is what was found of it here"


def test_it_would_not_have_passed_with_the_sender_that_it_came_with(internet: Internet, host: Shell) -> None:
    """Which is what all this is for."""
    message = compose(to="reader@good.example", sender=SENDER)
    target = internet.parties["good.example"].addresses[0]
    sent = internet.send_from(
        "stranger.example", "reader@good.example", message=message, envelope_sender=SENDER, target=target
    )
    assert internet.judged(sent.message).results["spf"] == "fail"


def test_a_redirecting_script_forwards_in_the_same_way(
    deployment: Deployment, bob: Person, forwarded: Callable[..., Arrival], internet: Internet
) -> None:
    with ManageSieve(deployment.port("managesieve")) as client:
        assert client.starttls().ok
        assert client.login(bob).ok
        assert client.put("forward", 'redirect "reader@good.example";\n').ok
        assert client.activate("forward").ok
        try:
            arrived = forwarded(bob.address)
        finally:
            assert client.activate("").ok
            assert client.delete("forward").ok
    assert is_ours(arrived.sender, deployment), arrived.sender
    assert internet.judged(str(arrived.message["Message-ID"])).results["spf"] == "pass"


def test_a_copy_that_stays_here_keeps_its_sender(
    internet: Internet, mailbox: Callable[[str], Mailbox], deployment: Deployment
) -> None:
    sent = internet.send_from("pool.example", "here-and-abroad@example.org")
    assert sent.accepted, sent.steps
    assert is_ours(internet.received(sent.message).sender, deployment)
    assert mailbox("alice@example.org").wait_for(sent.message)["Return-Path"] == f"<{SENDER}>"


def test_a_bounce_comes_back_to_the_sender(forwarded: Callable[..., Arrival], internet: Internet) -> None:
    ours = forwarded("abroad@example.org").sender
    bounce = internet.send_from("good.example", ours, envelope_sender="")
    assert bounce.accepted, bounce.steps
    arrived = internet.received(bounce.message)
    assert arrived.recipients == [SENDER]
    assert arrived.sender.lower() in ("", "mailer-daemon"), "still a bounce, which nobody answers"


def test_a_sender_that_was_not_made_here_leads_nowhere(
    forwarded: Callable[..., Arrival], outside: Outside, deployment: Deployment
) -> None:
    scheme, proof, day, rest = forwarded("abroad@example.org").sender.split("=", 3)
    other = "".join("A" if character not in "Aa" else "B" for character in proof)
    forgeries = [
        f"{scheme}={other}={day}={rest}",
        f"{scheme}={proof}={day}={rest.replace('somebody', 'victim')}",
        f"{scheme}={proof[:4]}={day}={rest}",
        f"SRS0=AAAA=AA=victim.example=victim@{deployment.hostname}",
        f"SRS1=AAAA=victim.example==AAAA=AA=other.example=victim@{deployment.hostname}",
    ]
    assert [outside.ask(forgery).code for forgery in forgeries] == [550] * len(forgeries)


def test_own_users_stay_who_they_are(
    mail_program: Callable[..., MailProgram], alice: Person, internet: Internet
) -> None:
    assert internet.received(mail_program(alice).send("abroad@example.org")).sender == alice.address


def test_a_sender_that_cannot_be_rewritten_does_not_go_round_in_circles(
    forwarded: Callable[..., Arrival], deployment: Deployment
) -> None:
    """postsrsd leaves alone what looks like its own, whatever the domain."""
    local, _at, _domain = forwarded("abroad@example.org").sender.partition("@")
    arrived = forwarded("abroad@example.org", envelope_sender=f"{local}@pool.example")
    assert arrived.sender == f"double-bounce@{deployment.hostname}"


def queued(host: Shell, recipient: str) -> str:
    """The queue id of what waits for somebody."""
    queue = map(json.loads, host.output("postqueue", "-j").splitlines())
    found = (
        entry["queue_id"]
        for entry in queue
        if entry["queue_name"] == "deferred" and any(each["address"] == recipient for each in entry["recipients"])
    )
    return next(found, "")


def test_forwards_wait_for_postsrsd_and_nothing_else_does(
    without_postsrsd: None,
    internet: Internet,
    host: Shell,
    mailbox: Callable[[str], Mailbox],
    mail_program: Callable[..., MailProgram],
    alice: Person,
) -> None:
    sent = internet.send_from("pool.example", "here-and-abroad@example.org")
    assert sent.accepted, sent.steps
    assert mailbox(alice.address).wait_for(sent.message)["Return-Path"] == f"<{SENDER}>"
    assert internet.received(mail_program(alice).send("abroad@example.org")).sender == alice.address
    waiting = wait_for(lambda: queued(host, "reader@good.example"), "the forward in the queue")
    assert internet.elsewhere.arrivals(sent.message) == []
    host.run("systemctl", "start", UNIT)
    host.run("postqueue", "-i", waiting)
    assert internet.received(sent.message).sender.startswith("SRS0=")


def test_it_comes_back_by_itself(host: Shell) -> None:
    def process() -> str:
        return host.output("systemctl", "show", "--property=MainPID", "--value", UNIT).strip()

    before = process()
    assert before != "0"
    host.run("kill", "-KILL", before)
    wait_for(lambda: process() not in ("0", before), "another process")


def test_the_secret_is_private_and_where_its_apparmor_profile_allows(host: Shell) -> None:
    command = host.output("systemctl", "show", "--property=ExecStart", "--value", UNIT)
    (path,) = re.findall(r" -s (\S+)", command)
    assert f"{path} r," in host.output("cat", "/etc/apparmor.d/usr.sbin.postsrsd")
    assert host.output("stat", "--format=%a %U %G", path).strip() == "640 root postsrsd"
    assert host.output("systemctl", "show", "--property=User", "--value", UNIT).strip() == "postsrsd"


def test_only_programs_of_the_host_reach_the_second_way_through_the_queue(host: Shell) -> None:
    sockets = host.output("ss", "--no-header", "--listening", "--numeric", "--tcp", "sport", "=", ":10029")
    assert {line.split()[3] for line in sockets.splitlines()} == {"127.0.0.1:10029"}
