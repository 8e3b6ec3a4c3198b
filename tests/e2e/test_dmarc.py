"""Who writes in a name that is not theirs is refused, or filed apart, as the owner of the name asks for."""

from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage

import pytest
from mailtest.deployment import Person, Shell
from mailtest.imap import Mailbox
from mailtest.internet import Conversation, Internet
from mailtest.mail import MailProgram, compose
from mailtest.smtp import Reply
from mailtest.waiting import wait_for

pytestmark = pytest.mark.needs("dkim", "dmarc", "internet")

ALICE = "alice@example.org"
GOOD, CAREFUL = "good.example", "quarantine.example"
UNIT = "opendmarc.service"


def results(message: EmailMessage) -> list[str]:
    return [" ".join(str(value).split()) for value in message.get_all("Authentication-Results", [])]


def in_the_name_of(
    internet: Internet,
    domain: str,
    *,
    by: str = "stranger.example",
    envelope_sender: str | None = None,
    headers: list[tuple[str, str]] | None = None,
) -> Conversation:
    """What somebody sends to alice from an address of somebody else."""
    sender = f"somebody@{domain}"
    message = compose(to=ALICE, sender=sender, headers=headers or [])
    return internet.send_from(
        by, ALICE, message=message, envelope_sender=sender if envelope_sender is None else envelope_sender, sign=False
    )


def refused_by_policy(reply: Reply, domain: str = GOOD) -> bool:
    return reply.code == 550 and reply.text.startswith("5.7.1 ") and f"DMARC policy for {domain}" in reply.text


def test_mail_that_is_from_where_it_says_arrives(internet: Internet, mailbox: Callable[[str], Mailbox]) -> None:
    sent = internet.send_from(GOOD, ALICE)
    assert sent.accepted
    found = results(mailbox(ALICE).wait_for(sent.message))
    assert "mail.example.org; dmarc=pass (p=reject dis=none) header.from=good.example" in found
    assert "mail.example.org; spf=pass smtp.mailfrom=good.example" in found


@pytest.mark.parametrize("version", [4, 6])
def test_spf_alone_is_enough(internet: Internet, mailbox: Callable[[str], Mailbox], version: int) -> None:
    sent = internet.send_from(GOOD, ALICE, sign=False, version=version)
    assert sent.accepted, sent.last
    assert [each for each in results(mailbox(ALICE).wait_for(sent.message)) if "dmarc=pass" in each]


def test_a_signature_alone_is_enough(internet: Internet, mailbox: Callable[[str], Mailbox]) -> None:
    """Somebody forwards, from a server that the author's SPF does not name."""
    message = compose(to=ALICE, sender=f"somebody@{GOOD}")
    signed = internet.signed(message.as_bytes(), GOOD)
    assert signed.startswith(b"DKIM-Signature:")
    sent = internet.send_from("plain.example", ALICE, message=message, sign=False, data=signed)
    assert sent.accepted, sent.last
    found = results(mailbox(ALICE).wait_for(message))
    assert [each for each in found if "dmarc=pass" in each]
    assert [each for each in found if "spf=none" in each or "spf=fail" in each]


@pytest.mark.parametrize("envelope_sender", [None, "somebody@stranger.example", ""])
def test_a_forgery_is_refused_while_the_sender_listens(internet: Internet, envelope_sender: str | None) -> None:
    forged = in_the_name_of(internet, GOOD, envelope_sender=envelope_sender)
    assert refused_by_policy(forged.reply("MESSAGE"))


def test_a_forgery_in_a_subdomain_is_refused(internet: Internet) -> None:
    """The list of public suffixes says that the domain is example.org."""
    with internet.records("example.org", "_dmarc", "TXT", '"v=DMARC1; p=reject"'):
        forged = in_the_name_of(internet, "news.example.org")
    assert refused_by_policy(forged.reply("MESSAGE"), "example.org")


@pytest.mark.parametrize(
    "forged",
    [
        "mail.example.org; spf=pass smtp.mailfrom=good.example",
        "mail.example.org; dkim=pass header.d=good.example header.s=s1",
        "MAIL.EXAMPLE.ORG 1; dkim=pass header.d=good.example header.s=s1; spf=pass smtp.mailfrom=good.example",
        "(a comment) mail.example.org; dkim=pass header.d=good.example",
        "mail.example.org; dmarc=pass header.from=good.example",
        "mail.example.org;\r\n\tdkim=pass\r\n\theader.d=good.example",
        "judge.example; dkim=pass header.d=good.example",
    ],
)
def test_a_forger_who_says_that_we_found_it_good_is_refused(internet: Internet, forged: str) -> None:
    headers = [("Authentication-Results", forged.replace("\r\n", ""))]
    assert refused_by_policy(in_the_name_of(internet, GOOD, headers=headers).reply("MESSAGE"))


def test_a_forger_who_brings_spf_results_is_refused(internet: Internet) -> None:
    headers = [("Received-SPF", "pass (mail.example.org: domain of somebody@good.example) client-ip=192.0.2.1")]
    assert refused_by_policy(in_the_name_of(internet, GOOD, headers=headers).reply("MESSAGE"))


def test_somebody_else_s_signature_does_not_help(internet: Internet) -> None:
    """It is good, but the domain that signed is not the one in From."""
    message = compose(to=ALICE, sender=f"somebody@{GOOD}")
    sent = internet.send_from(CAREFUL, ALICE, message=message)
    assert refused_by_policy(sent.reply("MESSAGE"))


def test_a_message_from_several_domains_is_refused(internet: Internet) -> None:
    message = compose(to=ALICE, sender=f"somebody@stranger.example, somebody@{GOOD}")
    assert internet.send_from("stranger.example", ALICE, message=message).reply("MESSAGE").refused


def test_a_message_with_two_authors_headers_is_refused(internet: Internet) -> None:
    message = compose(to=ALICE, sender="somebody@stranger.example")
    data = message.as_bytes().replace(b"Subject:", b"From: somebody@good.example\r\nSubject:", 1)
    sent = internet.send_from("stranger.example", ALICE, message=message, data=data)
    assert sent.reply("MESSAGE").refused


def test_what_is_to_be_quarantined_is_in_junk(internet: Internet, mailbox: Callable[[str], Mailbox]) -> None:
    forged = in_the_name_of(internet, CAREFUL)
    assert forged.accepted
    inbox = mailbox(ALICE)
    found = inbox.wait_for(forged.message, "Junk")
    assert inbox.folders_with(forged.message) == ["Junk"]
    assert f"mail.example.org; dmarc=fail (p=quarantine dis=none) header.from={CAREFUL}" in results(found)


def test_genuine_mail_of_a_careful_domain_is_not(internet: Internet, mailbox: Callable[[str], Mailbox]) -> None:
    sent = internet.send_from(CAREFUL, ALICE)
    assert sent.accepted
    mailbox(ALICE).wait_for(sent.message)
    assert mailbox(ALICE).folders_with(sent.message) == ["INBOX"]


def test_nobody_is_sent_to_junk_by_what_a_stranger_writes(
    internet: Internet, mailbox: Callable[[str], Mailbox]
) -> None:
    headers = [("Authentication-Results", "mail.example.org; dmarc=fail (p=quarantine dis=none) header.from=x.example")]
    sent = in_the_name_of(internet, "plain.example", headers=headers)
    assert sent.accepted
    mailbox(ALICE).wait_for(sent.message)
    assert mailbox(ALICE).folders_with(sent.message) == ["INBOX"]


def test_a_domain_that_says_nothing_is_accepted(internet: Internet, mailbox: Callable[[str], Mailbox]) -> None:
    sent = in_the_name_of(internet, "plain.example")
    assert sent.accepted
    assert "mail.example.org; dmarc=none (p=none dis=none) header.from=plain.example" in results(
        mailbox(ALICE).wait_for(sent.message)
    )


@pytest.mark.needs("trusted forum")
@pytest.mark.parametrize("version", [4, 6])
def test_a_list_that_is_trusted_may_change_what_it_passes_on(
    internet: Internet, mailbox: Callable[[str], Mailbox], version: int
) -> None:
    message = compose(to=ALICE, sender=f"somebody@{GOOD}", headers=[("List-Id", "<talk.forum.example>")])
    data = internet.signed(message.as_bytes(), GOOD) + b"-- \r\nA footer of the list\r\n"

    def passed_on(by: str) -> Conversation:
        sender = f"talk-bounces@{by}"
        return internet.send_from(
            by, ALICE, message=message, envelope_sender=sender, sign=False, data=data, version=version
        )

    assert refused_by_policy(passed_on("plain.example").reply("MESSAGE"))
    sent = passed_on("forum.example")
    assert sent.accepted, sent.last
    found = results(mailbox(ALICE).wait_for(message))
    assert not [each for each in found if "dmarc=" in each]
    assert [each for each in found if "dkim=fail" in each]


@pytest.mark.needs("trusted forum")
def test_a_domain_that_is_trusted_is_not_judged(internet: Internet, mailbox: Callable[[str], Mailbox]) -> None:
    with internet.records("friends.example", "_dmarc", "TXT", '"v=DMARC1; p=reject"'):
        sent = in_the_name_of(internet, "friends.example")
    assert sent.accepted, sent.last
    assert not [each for each in results(mailbox(ALICE).wait_for(sent.message)) if "dmarc=" in each]


def test_users_are_not_judged(
    internet: Internet,
    mail_program: Callable[..., MailProgram],
    alice: Person,
    mailbox: Callable[[str], Mailbox],
) -> None:
    """They come from anywhere; who they are is known."""
    with internet.records("example.org", "_dmarc", "TXT", '"v=DMARC1; p=reject"'):
        sent = mail_program(alice).send("bob@example.org")
    assert results(mailbox("bob@example.org").wait_for(sent)) == []


def test_a_stranger_in_our_name_is_refused_once_we_say_so(internet: Internet) -> None:
    with internet.records("example.org", "_dmarc", "TXT", '"v=DMARC1; p=reject"'):
        assert refused_by_policy(in_the_name_of(internet, "example.org").reply("MESSAGE"), "example.org")


@pytest.mark.needs("resolver")
def test_a_domain_that_cannot_be_looked_up_is_not_refused_for_good(internet: Internet) -> None:
    assert not in_the_name_of(internet, "bogus.example", by="bogus.example").last.refused


def test_it_comes_back_when_it_is_killed(host: Shell, internet: Internet) -> None:
    before = host.output("systemctl", "show", "--property=MainPID", UNIT)
    host.run("systemctl", "kill", "--signal=KILL", UNIT)

    def returned() -> bool:
        shown = host.output("systemctl", "show", "--property=MainPID,ActiveState", UNIT).splitlines()
        return "ActiveState=active" in shown and before.strip() not in shown

    wait_for(returned, f"{UNIT} to return")
    probe = ("/usr/local/lib/postoffice/opendmarc-config", "probe")
    wait_for(lambda: host.run(*probe, check=False).returncode == 0, "its answer")
    wait_for(lambda: refused_by_policy(in_the_name_of(internet, GOOD).last), "forgeries to be refused again")
