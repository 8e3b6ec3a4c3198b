"""Viruses are refused while the sender still listens; what cannot be scanned waits."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from email.message import EmailMessage

import pytest
from mailtest.deployment import Deployment, Person, Shell
from mailtest.imap import Mailbox
from mailtest.mail import STRANGER, MailProgram, Outside, RefusedError, compose
from mailtest.viruses import EICAR, encrypted, nested, zipped
from mailtest.waiting import wait_for

Program = Callable[..., MailProgram]

MIRRORED = "a virus that " + "only the mirror knows"
ALICE = "alice@example.org"
SCANNER, MILTER, UPDATER = "clamav-daemon.service", "clamav-milter.service", "clamav-freshclam.service"


def written(body: str = "Look at this.\n", attachment: bytes = b"", sender: str = STRANGER) -> EmailMessage:
    message = compose(to=ALICE, sender=sender, body=body)
    if attachment:
        message.add_attachment(attachment, maintype="application", subtype="octet-stream", filename="attached.bin")
    return message


def forwarded(sender: str) -> EmailMessage:
    """A message with the virus, attached to another one."""
    message = written(sender=sender)
    message.add_attachment(written(attachment=EICAR.encode()))
    return message


INFECTED: dict[str, Callable[[str], EmailMessage]] = {
    "plain": lambda sender: written(f"{EICAR}\n", sender=sender),
    "in base64": lambda sender: written(attachment=EICAR.encode(), sender=sender),
    "zipped": lambda sender: written(attachment=zipped(EICAR.encode()), sender=sender),
    "zipped in a zip": lambda sender: written(attachment=nested(EICAR.encode(), 3), sender=sender),
    "in an attached message": forwarded,
}
EXPLODING = {
    "much": lambda: zipped(bytes(101 * 2**20)),
    "deep": lambda: nested(b"at the bottom", 25),
}


def answer(outside: Outside, message: EmailMessage) -> tuple[int, str]:
    """What the server says to a message that comes in on port 25."""
    try:
        outside.send(ALICE, message=message)
    except smtplib.SMTPResponseException as error:
        text = error.smtp_error
        return error.smtp_code, text.decode() if isinstance(text, bytes) else text
    return 250, ""


@pytest.mark.parametrize("form", INFECTED)
def test_a_virus_from_outside_is_refused_by_its_name(outside: Outside, form: str) -> None:
    code, text = answer(outside, INFECTED[form](STRANGER))
    assert code == 550
    assert "Eicar" in text


@pytest.mark.parametrize("form", INFECTED)
def test_a_virus_at_submission_is_refused_by_its_name(
    mail_program: Program, alice: Person, service: str, form: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        mail_program(alice, service).send("bob@example.org", message=INFECTED[form](alice.address))
    assert refused.value.step == "DATA"
    assert refused.value.reply.code == 550
    assert "Eicar" in refused.value.reply.text


def octets(size: str) -> int:
    """As clamd.conf(5) writes sizes."""
    return int(size[:-1]) * 2**20 if size.endswith("M") else int(size)


def test_what_is_unpacked_has_room_of_its_own(host: Shell) -> None:
    """ClamAV takes what it has no room to unpack for clean, whatever fills the host's disk."""
    settings = dict(
        line.split(maxsplit=1) for line in host.output("grep", "^Max", "/etc/clamav/clamd.conf").splitlines()
    )
    process = host.output("systemctl", "show", "--property=MainPID", "--value", SCANNER).strip()
    view = ("nsenter", f"--target={process}", "--mount", "--")
    kind, size = host.output(*view, "findmnt", "--noheadings", "--bytes", "--output=FSTYPE,SIZE", "/tmp").split()
    assert kind == "tmpfs"
    assert int(size) >= 2 * octets(settings["MaxScanSize"]) * int(settings["MaxThreads"])


def test_an_archive_without_a_virus_arrives(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    sent = written(attachment=nested(b"nothing to see", 3))
    outside.send(ALICE, message=sent)
    assert mailbox(ALICE).wait_for(sent)["Message-ID"] == sent["Message-ID"]


@pytest.mark.parametrize("kind", [pytest.param("much", marks=pytest.mark.needs("low scan limits")), "deep"])
def test_an_archive_that_cannot_be_scanned_to_its_end_is_refused(outside: Outside, kind: str) -> None:
    code, text = answer(outside, written(attachment=EXPLODING[kind]()))
    assert code == 550
    assert "Heuristics.Limits.Exceeded" in text


def test_an_encrypted_archive_is_accepted_unless_it_was_chosen_otherwise(
    outside: Outside, deployment: Deployment
) -> None:
    code, text = answer(outside, written(attachment=encrypted()))
    if deployment.variables.get("clamav_refuse_encrypted_archives"):
        assert code == 550
        assert "Encrypted" in text
    else:
        assert code == 250


@pytest.mark.needs("signature mirror")
def test_what_freshclam_fetched_is_looked_for(outside: Outside) -> None:
    code, text = answer(outside, written(f"{MIRRORED}\n"))
    assert code == 550
    assert "PostOffice.Test.Mirror" in text


def test_a_virus_does_not_hide_at_the_end_of_a_large_message(outside: Outside) -> None:
    """The limits agree: what the mail server takes is scanned to its end. clamav-milter's own is 25 MB in Debian."""
    code, text = answer(outside, written(f"{'x' * 998}\n" * 39_000 + f"{EICAR}\n"))
    assert code == 550
    assert "Eicar" in text


@pytest.fixture
def scanning(host: Shell) -> Iterator[Shell]:
    """A host whose scanner may be broken; it runs again at the end."""
    yield host
    host.run("systemctl", "kill", "--signal=CONT", SCANNER, check=False)
    wanted = host.run("systemctl", "is-enabled", UPDATER, SCANNER, MILTER, check=False).stdout.split()
    units = [unit for unit, state in zip((UPDATER, SCANNER, MILTER), wanted, strict=True) if state == "enabled"]
    host.run("systemctl", "start", *units, check=False)
    assert host.output("systemctl", "is-active", SCANNER, MILTER).split() == ["active", "active"]


def accepted_in_the_end(outside: Outside, seconds: float = 60) -> EmailMessage:
    """Send again and again, as mail servers do; only deferrals may come in between."""
    message = written()

    def attempt() -> bool:
        code, text = answer(outside, message)
        assert code == 250 or 400 <= code < 500, f"{code} {text}"
        return code == 250

    wait_for(attempt, "the scanner's return", seconds)
    return message


def test_mail_waits_while_the_scanner_is_down(
    scanning: Shell, outside: Outside, mail_program: Program, alice: Person, mailbox: Callable[[str], Mailbox]
) -> None:
    scanning.run("systemctl", "stop", SCANNER)
    sent = written()
    code, text = answer(outside, sent)
    assert code == 451
    assert "try again later" in text
    with pytest.raises(RefusedError) as refused:
        mail_program(alice).send("bob@example.org")
    assert refused.value.reply.code == 451
    scanning.run("systemctl", "start", SCANNER)
    outside.send(ALICE, message=sent)
    assert mailbox(ALICE).wait_for(sent)["Message-ID"] == sent["Message-ID"]


def test_mail_waits_while_the_milter_of_the_scanner_is_down(scanning: Shell, outside: Outside) -> None:
    scanning.run("systemctl", "stop", MILTER)
    assert 450 <= answer(outside, written())[0] < 460
    scanning.run("systemctl", "start", MILTER)
    accepted_in_the_end(outside)


@pytest.mark.needs("short scans")
def test_mail_waits_while_the_scanner_hangs(scanning: Shell, outside: Outside) -> None:
    scanning.run("systemctl", "kill", "--signal=STOP", SCANNER)
    assert answer(outside, written())[0] == 451
    scanning.run("systemctl", "kill", "--signal=CONT", SCANNER)
    accepted_in_the_end(outside)


@pytest.mark.parametrize("unit", [SCANNER, MILTER])
def test_after_a_kill_mail_is_scanned_again_by_itself(
    scanning: Shell, outside: Outside, mailbox: Callable[[str], Mailbox], unit: str
) -> None:
    before = scanning.output("systemctl", "show", "--property=MainPID", "--value", unit)
    scanning.run("systemctl", "kill", "--signal=KILL", unit)
    wait_for(
        lambda: scanning.output("systemctl", "show", "--property=MainPID", "--value", unit) not in (before, "0\n"),
        f"another process of {unit}",
    )
    sent = accepted_in_the_end(outside)
    assert mailbox(ALICE).wait_for(sent)["Message-ID"] == sent["Message-ID"]
    assert answer(outside, written(f"{EICAR}\n"))[0] == 550


@pytest.mark.needs("signature mirror")
def test_mail_waits_while_there_are_no_signatures_and_freshclam_brings_them(scanning: Shell, outside: Outside) -> None:
    scanning.run("systemctl", "stop", UPDATER)
    scanning.run("rm", "/var/lib/clamav/mirror.ndb")
    assert scanning.run("systemctl", "restart", SCANNER, check=False).returncode != 0
    assert answer(outside, written())[0] == 451
    scanning.run("systemctl", "start", UPDATER)
    accepted_in_the_end(outside)
    assert answer(outside, written(f"{MIRRORED}\n"))[0] == 550


def test_who_is_not_asked_cannot_open_the_sockets(host: Shell) -> None:
    for path, owner in (("/run/clamav/clamd.ctl", "clamav"), ("/run/clamav-milter/milter.sock", "postfix")):
        assert host.output("stat", "--format=%a %G", path).strip() == f"660 {owner}"
