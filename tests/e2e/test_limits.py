"""How much a user may send: as much as allowed, however it is sent, and not one more."""

from __future__ import annotations

import re
import smtplib
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from mailtest.deployment import Person, Shell
from mailtest.mail import MailProgram, RefusedError, compose

pytestmark = pytest.mark.needs("sending limits")

PROGRAM = "/usr/local/lib/postoffice/postoffice-milter"
BOB = "bob@example.org"
Program = Callable[..., MailProgram]


def limited(name: str) -> Callable[..., Iterator[Person]]:
    """Somebody who may send little, and has sent nothing."""

    def somebody(person: Callable[[str], Person], host: Shell) -> Iterator[Person]:
        found = person(f"{name}@example.org")
        host.run(PROGRAM, "limits", found.address, "--clear", check=False)
        yield found

    return pytest.fixture(somebody, name=name)


hasty = limited("hasty")
chatty = limited("chatty")
sociable = limited("sociable")


def refused(program: MailProgram, *recipients: str) -> str:
    """What the server says to a message that is too much."""
    with pytest.raises(RefusedError) as caught:
        program.send(recipients or BOB)
    assert caught.value.step == "DATA"
    return f"{caught.value.reply.code} {caught.value.reply.text}"


def fresh(count: int) -> list[str]:
    """Recipients to whom nobody has ever written."""
    return [f"bob+{uuid.uuid4().hex}@example.org" for _number in range(count)]


def test_as_many_messages_as_allowed_and_not_one_more(
    mail_program: Program, host: Shell, hasty: Person, alice: Person, service: str
) -> None:
    program = mail_program(hasty, service)
    for number in range(4):
        program.send(BOB)
        if number == 1:
            with pytest.raises(RefusedError) as forged:
                program.send(BOB, message=compose(to=BOB, sender="boss@example.org"))
            assert forged.value.reply.code == 550, "what is refused does not count"
    said = refused(program)
    assert re.search(r"450 .*4\.7\.1 .*4 of at most 4 messages within an hour", said)
    assert re.search(r"try again in (60|59) minutes, at 20\d\d-\S+ \S+ UTC", said)
    logged = host.output("journalctl", "--unit=postoffice-milter", "--priority=warning", "--lines=1", "--output=cat")
    assert f"login <{hasty.address}>" in logged
    assert "4 of at most 4 messages within an hour" in logged
    mail_program(alice, service).send(BOB)


def test_a_reload_and_a_restart_of_the_milter_forget_nothing(mail_program: Program, host: Shell, hasty: Person) -> None:
    program = mail_program(hasty)
    program.send(BOB)
    with program.connect() as client:
        host.run("systemctl", "reload", "postoffice-milter.service")
        # This session began with the old process, which counts beside the new one.
        for _message in range(2):
            client.sendmail(hasty.address, [BOB], compose(to=BOB, sender=hasty.address).as_bytes())
    host.run("systemctl", "restart", "postoffice-milter.service")
    program.send(BOB)
    assert refused(program).startswith("450")


def test_sessions_at_the_same_time_do_not_slip_past(mail_program: Program, hasty: Person) -> None:
    def send(client: smtplib.SMTP) -> int:
        try:
            client.sendmail(hasty.address, [BOB], compose(to=BOB, sender=hasty.address).as_bytes())
        except smtplib.SMTPDataError as error:
            return error.smtp_code
        finally:
            client.quit()
        return 250

    clients = [mail_program(hasty).connect() for _number in range(8)]
    with ThreadPoolExecutor(len(clients)) as pool:
        assert sorted(pool.map(send, clients)) == [250] * 4 + [450] * 4


def test_a_message_counts_with_all_its_recipients(mail_program: Program, chatty: Person) -> None:
    program, recipients = mail_program(chatty), fresh(11)
    assert re.search("452 .*this message alone has 11 of at most 10 recipients", refused(program, *recipients))
    program.send(recipients[:6])
    assert re.search("450 .*6 of at most 10 recipients.* this message has 5", refused(program, *recipients[:5]))
    program.send(recipients[:4])
    assert refused(program).startswith("450")


def test_recipients_are_known_once_they_were_written_to(mail_program: Program, sociable: Person) -> None:
    program, recipients = mail_program(sociable), fresh(5)
    program.send(recipients[:2])
    assert re.search("450 .*2 of at most 3 .*this message has 2", refused(program, *recipients[2:4]))
    program.send([*recipients[:2], recipients[2]])
    assert refused(program, recipients[3]).startswith("450")
    program.send(recipients[:3])


def test_the_operator_sees_what_was_sent(mail_program: Program, host: Shell, chatty: Person) -> None:
    mail_program(chatty).send([BOB, "alice@example.org"])
    shown = host.output(PROGRAM, "limits", chatty.address).splitlines()
    assert [" ".join(line.split()) for line in shown[:4]] == [
        chatty.address,
        "1 of 5000 messages within an hour",
        "1 of 20000 messages within 24 hours",
        "2 of 10 recipients within an hour",
    ]
    assert chatty.address in host.output(PROGRAM, "limits").splitlines()
    assert host.output("stat", "--format=%U %a", "/var/lib/postoffice-milter").split() == ["postoffice-milter", "700"]
