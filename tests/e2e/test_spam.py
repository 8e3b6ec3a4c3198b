"""Mail of strangers is scored while they listen: refused, filed as junk, or delivered with its score."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator

import pytest
from mailtest.deployment import Person, Shell
from mailtest.imap import Mailbox
from mailtest.mail import MailProgram, Outside, compose
from mailtest.waiting import wait_for

# SpamAssassin gives it 1,000 points (https://spamassassin.apache.org/gtube/). In two parts: no file shall hold it.
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
LARGE = "Line after line of something harmless, as in a long report.\n" * 20_000

pytestmark = pytest.mark.needs("spam filter")
Box = Callable[[str], Mailbox]


def refusal(outside: Outside, **given: object) -> tuple[int, str]:
    """How the server refuses a message to alice; fails when it takes it."""
    with pytest.raises(smtplib.SMTPDataError) as refused:
        outside.send("alice@example.org", **given)  # type: ignore[arg-type]
    text = refused.value.smtp_error
    return refused.value.smtp_code, text.decode() if isinstance(text, bytes) else text


def test_good_mail_says_how_it_was_judged(outside: Outside, mailbox: Box) -> None:
    received = mailbox("alice@example.org").wait_for(outside.send("alice@example.org"))
    assert received["X-Spam-Status"].startswith("No, score=")
    assert float(received["X-Spam-Score"]) < 5
    assert received["X-Spam-Flag"] is None


def test_spam_is_refused_while_the_sender_listens(
    outside: Outside, mailbox: Box, delivered: Callable[[], None]
) -> None:
    message = compose(to="alice@example.org", body=f"Hello.\n\n{GTUBE}\n")
    code, text = refusal(outside, message=message)
    assert code == 550
    assert text.startswith("5.7.1 The message looks like spam (")
    delivered()
    assert mailbox("alice@example.org").folders_with(message) == []


def test_what_the_sender_says_about_it_counts_for_nothing(outside: Outside, mailbox: Box) -> None:
    forged = [
        ("X-Spam-Flag", "YES"),
        ("X-Spam-Level", "*****"),
        ("X-Spam-Status", "No, certainly"),
        ("x-spam-flag", "NO"),
    ]
    received = mailbox("alice@example.org").wait_for(outside.send("alice@example.org", headers=forged))
    assert received.get_all("X-Spam-Flag") is None
    assert len(received.get("X-Spam-Level", "")) == max(0, int(float(received["X-Spam-Score"])))
    (status,) = received.get_all("X-Spam-Status", [])
    assert "certainly" not in status


def test_only_the_beginning_of_something_large_is_scanned_and_it_says_so(outside: Outside, mailbox: Box) -> None:
    received = mailbox("alice@example.org").wait_for(outside.send("alice@example.org", body=LARGE))
    assert "scanned=524288 size=" in " ".join(received["X-Spam-Status"].split())
    code, _unused = refusal(outside, body=f"{GTUBE}\n{LARGE}")
    assert code == 550, "however much is behind it"


def test_users_are_not_scored(mail_program: Callable[..., MailProgram], alice: Person, mailbox: Box) -> None:
    sent = mail_program(alice).send("bob@example.org", body=f"What do you think of this?\n\n{GTUBE}\n")
    received = mailbox("bob@example.org").wait_for(sent)
    assert received["X-Spam-Score"] is None


@pytest.mark.needs("spam rule")
def test_what_is_probably_spam_is_filed_as_junk_for_everybody(
    outside: Outside, mailbox: Box, delivered: Callable[[], None]
) -> None:
    people = ["alice@example.org", "bob@example.org"]
    sent = outside.send(people, body="This scores seven points: post-office-test-seven.\n")
    delivered()
    for address in people:
        received = mailbox(address).wait_for(sent, "Junk")
        assert received["X-Spam-Flag"] == "YES"
        assert received["X-Spam-Level"].startswith("*******")
        assert "POSTOFFICE_TEST_SEVEN" in received["X-Spam-Status"]
        assert mailbox(address).folders_with(sent) == ["Junk"]


KEEPER = "keeper@lists.example"  # declares points of his own, whose mail he wants, and whose he does not


@pytest.mark.needs("spam rule")
def test_everybody_has_points_of_his_own_for_the_same_message(
    outside: Outside, mailbox: Box, delivered: Callable[[], None]
) -> None:
    sent = outside.send(["alice@example.org", KEEPER], body="This scores seven points: post-office-test-seven.\n")
    delivered()
    assert mailbox("alice@example.org").folders_with(sent) == ["Junk"]
    received = mailbox(KEEPER).wait_for(sent)
    assert 7 <= float(received["X-Spam-Score"]) < 10.5, "the test would show nothing"


@pytest.mark.needs("spam rule")
@pytest.mark.parametrize(
    ("sender", "folder"), [("friend@outside.example", "INBOX"), ("x@outside.example", "Junk")], ids=["wanted", "others"]
)
def test_mail_of_those_who_are_wanted_is_never_filed_as_spam(
    sender: str, folder: str, outside: Outside, mailbox: Box
) -> None:
    much = "This scores seven points: post-office-test-seven.\n\nAnd four more: post-office-test-four.\n"
    sent = outside.send(KEEPER, message=compose(to=KEEPER, sender=sender, body=much))
    mailbox(KEEPER).wait_for(sent, folder)


@pytest.mark.needs("spam rule")
def test_mail_of_those_who_are_not_wanted_always_is(outside: Outside, mailbox: Box) -> None:
    sent = outside.send(KEEPER, message=compose(to=KEEPER, sender="Somebody <somebody@shouting.example>"))
    received = mailbox(KEEPER).wait_for(sent, "Junk")
    assert received["X-Spam-Flag"] is None


@pytest.fixture
def spamd(host: Shell) -> Iterator[Callable[..., str]]:
    """Acts on spamd's unit; afterwards it runs again."""
    yield lambda *words: host.output("systemctl", *words, "spamd.service")
    host.run("systemctl", "kill", "--signal=CONT", "spamd.service", check=False)
    host.run("systemctl", "start", "spamd.service")
    wait_for(lambda: answers(host), "an answer of spamd", 60)


def answers(host: Shell) -> bool:
    return host.run("spamc", "-l", "-K", "--socket", "/run/postoffice-spamd/spamd.sock", check=False).returncode == 0


# Whoever does not say how long a scan may take waits longer than a test should.
HUNG = pytest.param(("kill", "--signal=STOP"), id="hung", marks=pytest.mark.needs("short spam scans"))


@pytest.mark.parametrize("trouble", [pytest.param(("stop",), id="stopped"), HUNG])
def test_mail_waits_while_the_scanner_does_not_answer(
    trouble: tuple[str, ...], spamd: Callable[..., str], outside: Outside
) -> None:
    spamd(*trouble)
    code, text = refusal(outside)
    assert (code, text[:6]) == (451, "4.3.0 ")
    assert "try again later" in text


def test_a_scanner_that_is_killed_comes_back_and_nobody_notices(
    spamd: Callable[..., str], host: Shell, outside: Outside, mailbox: Box
) -> None:
    before = host.output("systemctl", "show", "--property=MainPID", "--value", "spamd.service")
    spamd("kill", "--signal=KILL")
    received = mailbox("alice@example.org").wait_for(outside.send("alice@example.org"))
    assert received["X-Spam-Status"].startswith("No, score=")
    assert host.output("systemctl", "show", "--property=MainPID", "--value", "spamd.service") != before


def test_rules_run_as_machine_code(host: Shell) -> None:
    process = host.output("systemctl", "show", "--property=MainPID", "--value", "spamd.service").strip()
    assert "/var/lib/spamassassin/compiled/" in host.output("cat", f"/proc/{process}/maps")


def test_new_rules_hold_no_mail_up(spamd: Callable[..., str], outside: Outside, mailbox: Box) -> None:
    spamd("reload")
    received = mailbox("alice@example.org").wait_for(outside.send("alice@example.org"))
    assert received["X-Spam-Status"].startswith("No, score=")


UPDATE = "spamassassin-maintenance.service"
DROP_INS = f"/run/systemd/system/{UPDATE}.d"
NEW = "/run/tests-rules.cf"
KEPT = "/var/lib/tests-rules"
# What Debian's script does, with rules that did not come from the Internet.
COME = """set -e
as="runuser -u debian-spamd --"
$as mkdir -p {folder}
$as cp /usr/share/spamassassin/*.cf {folder}
$as cp {new} {folder}/zz_new.cf
$as spamassassin --lint --prefspath=/dev/null
run-parts --lsbsysinit /etc/spamassassin/sa-update-hooks.d
"""


@pytest.fixture
def rules_come(host: Shell, spamd: Callable[..., str]) -> Iterator[Callable[[str], bool]]:
    """Has rules come with an update; tells whether that went well."""
    version = host.output("perl", "-MMail::SpamAssassin", "-e", "print $Mail::SpamAssassin::VERSION").strip()
    folder = f"/var/lib/spamassassin/{version}"
    host.run("sh", "-c", f"if [ -d {folder} ]; then mv {folder} {KEPT}; fi")
    host.run("mkdir", "-p", DROP_INS)
    host.run("tee", f"{DROP_INS}/zz-tests.conf", stdin=f"[Service]\nExecStart=\nExecStart=/bin/sh {DROP_INS}/come\n")
    host.run("tee", f"{DROP_INS}/come", stdin=COME.format(folder=folder, new=NEW))
    host.run("systemctl", "daemon-reload")

    def come(rules: str) -> bool:
        host.run("tee", NEW, stdin=rules)
        return host.run("systemctl", "start", UPDATE, check=False).returncode == 0

    yield come
    host.run("rm", "-rf", DROP_INS, NEW, folder)
    host.run("sh", "-c", f"if [ -d {KEPT} ]; then mv {KEPT} {folder}; fi")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "reset-failed", UPDATE, check=False)
    spamd("reload")
    wait_for(lambda: answers(host), "an answer of spamd", 60)


def rule(pattern: str) -> str:
    return f"body POSTOFFICE_NEW_RULE /{pattern}/\nscore POSTOFFICE_NEW_RULE 0.5\n"


def test_new_rules_are_used_only_when_spamassassin_takes_them(
    rules_come: Callable[[str], bool], spamd: Callable[..., str], host: Shell, outside: Outside, mailbox: Box
) -> None:
    def judged() -> str:
        message = compose(to="alice@example.org", body="Look, post-office-new-rule!\n")
        outside.send("alice@example.org", message=message)
        return str(mailbox("alice@example.org").wait_for(message)["X-Spam-Status"])

    assert rules_come(rule("post-office-new-rule"))
    wait_for(lambda: answers(host), "an answer of spamd", 60)
    assert "POSTOFFICE_NEW_RULE" in judged()
    assert not rules_come(rule("post-office-(new-rule"))
    spamd("restart")
    wait_for(lambda: answers(host), "an answer of spamd", 60)
    assert "POSTOFFICE_NEW_RULE" in judged()
    assert "The rules of before are used again" in host.output("journalctl", f"--unit={UPDATE}", "--lines=50")
