"""Our mail is signed, that of strangers is not; theirs is verified, and nobody else says so in our name."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from email.message import EmailMessage

import dkim
import pytest
from mailtest.deployment import Deployment, Person, Shell
from mailtest.imap import Mailbox
from mailtest.internet import Internet
from mailtest.mail import STRANGER, MailProgram, Outside, compose
from mailtest.managesieve import ManageSieve
from mailtest.waiting import wait_for

pytestmark = pytest.mark.needs("dkim", "internet")

ALICE, BOB, READER = "alice@example.org", "bob@example.org", "reader@quarantine.example"
KEYS = "/etc/postoffice/dkim"
UNIT = "opendkim.service"

# Results that nobody here has found; some of them in forms that not every program reads.
FORGED = (
    "mail.example.org; spf=pass smtp.mailfrom=good.example; dkim=pass header.d=good.example",
    "MAIL.example.org 1; dmarc=pass header.from=good.example",
    "(mine) mail.example.org; spf=pass",
    "mail.example.org; nonsense",
    "elsewhere.example; dkim=pass header.d=good.example",
)


def public_keys(host: Shell) -> Mapping[str, str]:
    """The records that belong to the keys of the host, by name."""
    found: dict[str, str] = {}
    for path in host.output("find", KEYS, "-name", "*.json").split():
        domain, selector = path.removeprefix(f"{KEYS}/").removesuffix(".json").split("/")
        public = json.loads(host.output("cat", path))
        found[f"{selector}._domainkey.{domain}"] = f"v=DKIM1; h=sha256; k={public['algorithm']}; p={public['key']}"
    return found


@pytest.fixture(scope="module")
def keys(host: Shell) -> Mapping[str, str]:
    return public_keys(host)


def record(value: str) -> str:
    """A TXT record as the DNS wants it."""
    return " ".join(f'"{value[at : at + 250]}"' for at in range(0, len(value), 250))


def signers(raw: bytes, keys: Mapping[str, str]) -> set[str]:
    """The domains whose RSA signatures of a message are good, by the host's keys; bad ones must not be there."""

    def lookup(name: bytes, timeout: int = 5) -> bytes:
        return keys.get(name.decode().rstrip("."), "").encode()

    verifier = dkim.DKIM(raw)
    signatures = [value for name, value in verifier.headers if name.lower() == b"dkim-signature"]
    good = set()
    for number in [number for number, value in enumerate(signatures) if b"a=rsa-sha256" in value]:
        assert verifier.verify(number, dnsfunc=lookup)
        good.add(verifier.domain.decode())
    return good


def results(message: EmailMessage) -> list[str]:
    return [" ".join(str(value).split()) for value in message.get_all("Authentication-Results", [])]


def found(mailbox: Mailbox, *criteria: str) -> bytes:
    """The one message that an IMAP search finds, waited for."""

    def search() -> list[int]:
        mailbox.client.select_folder("INBOX", readonly=True)
        return list(mailbox.client.search(list(criteria)))

    (uid,) = wait_for(search, f"a message with {criteria}")
    return mailbox.raw(uid)


def notice(mailbox: Mailbox, message: EmailMessage, meanwhile: Callable[[], object] = lambda: None) -> bytes:
    """What the host says about a message, waited for; `meanwhile` is done before each look."""
    about = str(message["Message-ID"]).encode()

    def notices() -> list[bytes]:
        meanwhile()
        mailbox.client.select_folder("INBOX", readonly=True)
        each = (mailbox.raw(uid) for uid in mailbox.client.search(["FROM", "MAILER-DAEMON"]))
        return [raw for raw in each if about in raw]

    (raw,) = wait_for(notices, f"a word about {message['Message-ID']}")
    return raw


def test_what_users_send_passes_elsewhere(
    internet: Internet, mail_program: Callable[..., MailProgram], alice: Person, keys: Mapping[str, str], service: str
) -> None:
    with internet.records("example.org", "mail._domainkey", "TXT", record(keys["mail._domainkey.example.org"])):
        sent = mail_program(alice, service).send(READER)
        assert internet.judged(sent).results["dkim"] == "pass"
    assert "d=example.org" in str(internet.received(sent).message["DKIM-Signature"])


@pytest.mark.needs("ed25519")
def test_ed25519_passes_without_the_other_signature(
    internet: Internet, mail_program: Callable[..., MailProgram], alice: Person, keys: Mapping[str, str], service: str
) -> None:
    value = keys["edwards._domainkey.example.org"]
    assert "k=ed25519" in value
    with internet.records("example.org", "edwards._domainkey", "TXT", record(value)):
        sent = mail_program(alice, service).send(READER)
        judged = " ".join(results(internet.received(sent).message))
    assert re.search(r"dkim=pass header\.d=example\.org [^;]*header\.a=ed25519-sha256 header\.s=edwards", judged)


def test_every_domain_and_the_host_itself_have_a_key_of_their_own(
    deployment: Deployment, keys: Mapping[str, str]
) -> None:
    local = [domain["name"] for domain in deployment.domains if "relay_to" not in domain]
    names = {name.encode("idna").decode() for name in (*local, deployment.hostname)}
    assert {name.partition("._domainkey.")[2] for name in keys} == names
    assert len(set(keys.values())) == len(keys)


def test_keys_are_for_the_signer_alone(host: Shell) -> None:
    modes = host.output("find", KEYS, "-name", "*.private", "-printf", "%U %g %m\n").splitlines()
    assert set(modes) == {"0 opendkim 640"}


def test_a_bounce_is_signed_by_the_host(
    host: Shell, mailbox: Callable[[str], Mailbox], keys: Mapping[str, str]
) -> None:
    message = compose(to="nobody-at-all@example.org", sender=ALICE)
    host.run("sendmail", "-f", ALICE, "nobody-at-all@example.org", stdin=message.as_string().replace("\r\n", "\n"))
    assert signers(notice(mailbox(ALICE), message), keys) == {"mail.example.org"}


def test_a_report_of_success_is_signed_by_the_host(
    host: Shell, mailbox: Callable[[str], Mailbox], keys: Mapping[str, str]
) -> None:
    message = compose(to=BOB, sender=ALICE)
    host.run("sendmail", "-N", "success", "-f", ALICE, BOB, stdin=message.as_string().replace("\r\n", "\n"))
    assert signers(notice(mailbox(ALICE), message), keys) == {"mail.example.org"}


@pytest.fixture
def soon_told(host: Shell) -> Iterator[None]:
    """Senders are told after a second that their mail waits."""
    before = host.output("postconf", "-h", "delay_warning_time").strip()
    host.run("postconf", "delay_warning_time=1s")
    host.run("systemctl", "reload", "postfix.service")
    yield
    host.run("postconf", f"delay_warning_time={before}")
    host.run("systemctl", "reload", "postfix.service")


@pytest.mark.usefixtures("soon_told")
def test_the_word_that_mail_waits_is_signed_by_the_host(
    host: Shell,
    deployment: Deployment,
    internet: Internet,
    mailbox: Callable[[str], Mailbox],
    keys: Mapping[str, str],
) -> None:
    without_smarthost = "keeper@lists.example"
    sender = without_smarthost if without_smarthost in deployment.people else ALICE
    message = compose(to="somebody@dane-bad.example", sender=sender)
    host.run("sendmail", "-f", sender, str(message["To"]), stdin=message.as_string().replace("\r\n", "\n"))
    # It is when it tries again that Postfix looks how long a message has been waiting.
    told = notice(mailbox(sender), message, meanwhile=lambda: host.run("postqueue", "-f"))
    assert signers(told, keys) == {"mail.example.org"}
    right = f"3 1 1 {internet.parties['dane-bad.example'].public_digest}"
    with internet.records("dane-bad.example", "_25._tcp.mx", "TLSA", right):
        # What the DNS said a second ago may still count the first time.
        wait_for(
            lambda: host.run("postqueue", "-f") and internet.elsewhere.arrivals(message), "the message to be delivered"
        )


def test_mail_of_programs_on_the_host_is_signed(
    host: Shell, mailbox: Callable[[str], Mailbox], keys: Mapping[str, str]
) -> None:
    message = compose(to=ALICE, sender="root@mail.example.org")
    host.run("sendmail", ALICE, stdin=message.as_string().replace("\r\n", "\n"))
    inbox = mailbox(ALICE)
    inbox.wait_for(message)
    assert signers(inbox.raw(inbox.uids(message)[0]), keys) == {"mail.example.org"}


@pytest.fixture
def sieve(deployment: Deployment, bob: Person) -> Iterator[Callable[[str], None]]:
    """Makes a script bob's filter for a while."""
    with ManageSieve(deployment.port("managesieve")) as client:
        assert client.starttls().ok
        assert client.login(bob).ok

        def install(script: str) -> None:
            assert client.put("dkim", script).ok
            assert client.activate("dkim").ok

        yield install
        assert client.activate("").ok
        assert client.delete("dkim").ok


def test_an_absent_person_s_answer_is_signed(
    sieve: Callable[[str], None], outside: Outside, mailbox: Callable[[str], Mailbox], keys: Mapping[str, str]
) -> None:
    message = compose(to=BOB, sender=ALICE)
    word = uuid.uuid4().hex[:12]  # by which a full text index finds it, which knows some fields of the header only
    sieve(f'require ["vacation"];\nvacation :handle "{word}" :subject "Away {word}" "Away.";\n')
    outside.send(BOB, envelope_sender=ALICE, message=message)
    answer = found(mailbox(ALICE), "SUBJECT", word)
    assert signers(answer, keys) == {"example.org"}


@pytest.mark.parametrize("envelope_sender", [STRANGER, ""])
def test_a_stranger_in_our_name_is_not_vouched_for_when_a_filter_passes_the_message_on(
    sieve: Callable[[str], None], outside: Outside, internet: Internet, envelope_sender: str
) -> None:
    sieve(f'redirect "{READER}";\n')
    message = compose(to=BOB, sender=ALICE)
    outside.send(BOB, envelope_sender=envelope_sender, message=message)
    arrived = internet.received(message).message
    assert arrived["X-Sieve-Redirected-From"] is not None
    assert arrived["DKIM-Signature"] is None


def test_a_signature_survives_that_a_filter_passes_the_message_on(
    sieve: Callable[[str], None], internet: Internet
) -> None:
    sieve(f'redirect "{READER}";\n')
    sent = internet.send_from("good.example", BOB)
    assert sent.accepted
    assert internet.judged(sent.message).results["dkim"] == "pass"
    passed_on = results(internet.received(sent.message).message)
    found_here = [value for value in passed_on if value.startswith("mail.example.org; ")]
    assert any("dkim=pass" in value for value in found_here), "and so does what was found of it"


def test_a_stranger_in_our_name_is_not_signed(outside: Outside, mailbox: Callable[[str], Mailbox]) -> None:
    message = outside.send(BOB, message=compose(to=BOB, sender=ALICE))
    assert mailbox(BOB).wait_for(message)["DKIM-Signature"] is None


def test_a_good_signature_of_others_is_found_good(internet: Internet, mailbox: Callable[[str], Mailbox]) -> None:
    sent = internet.send_from("good.example", ALICE)
    (result,) = [each for each in results(mailbox(ALICE).wait_for(sent.message)) if "dkim=" in each]
    assert result.startswith("mail.example.org; dkim=pass")
    assert "header.d=good.example" in result


def signed_otherwise(internet: Internet, domain: str = "good.example") -> EmailMessage:
    """A message with the signature of another one."""
    sender = f"somebody@{domain}"
    other = internet.signed(compose(to=ALICE, sender=sender, body="Something else.\n").as_bytes(), "good.example")
    signature = other.split(b"\r\n", 1)[0] + b"".join(
        line for line in other.split(b"\r\n")[1:] if line.startswith((b" ", b"\t"))
    )
    value = b" ".join(signature.partition(b":")[2].split()).decode().replace("good.example", domain)
    return compose(to=ALICE, sender=sender, headers=[("DKIM-Signature", value)])


def test_a_signature_of_another_text_is_found_bad(internet: Internet, mailbox: Callable[[str], Mailbox]) -> None:
    message = signed_otherwise(internet, "plain.example")
    message.replace_header("DKIM-Signature", str(message["DKIM-Signature"]).replace("plain", "good"))
    assert internet.send_from("plain.example", ALICE, message=message).accepted
    (result,) = [each for each in results(mailbox(ALICE).wait_for(message)) if "dkim=" in each]
    assert result.startswith("mail.example.org; dkim=fail")


@pytest.mark.needs("resolver")
def test_mail_waits_while_the_key_of_its_signature_cannot_be_looked_up(internet: Internet) -> None:
    conversation = internet.send_from("bogus.example", ALICE, message=signed_otherwise(internet, "bogus.example"))
    reply = conversation.reply("MESSAGE")
    assert reply.code == 451
    assert "key of the DKIM signature" in reply.text


@pytest.mark.parametrize("forged", FORGED)
def test_results_that_others_wrote_are_not_believed(
    internet: Internet, mailbox: Callable[[str], Mailbox], forged: str
) -> None:
    message = compose(to=ALICE, sender="somebody@stranger.example", headers=[("Authentication-Results", forged)])
    assert internet.send_from("stranger.example", ALICE, message=message).accepted
    values = results(mailbox(ALICE).wait_for(message))
    assert values
    assert all(value.startswith("mail.example.org; ") for value in values)
    assert not [value for value in values if "pass" in value or "nonsense" in value]


def test_what_is_attached_keeps_the_results_of_others(internet: Internet, mailbox: Callable[[str], Mailbox]) -> None:
    """Nobody believes them there, and what was signed stays as it is."""
    message = compose(to=ALICE, sender="somebody@stranger.example")
    message.add_attachment(
        compose(to="bob@partner.example", headers=[("Authentication-Results", "of.message; x=pass")])
    )
    part = EmailMessage()
    part.set_content("a part")
    part["Authentication-Results"] = "of.part; x=pass"
    message.attach(part)
    assert internet.send_from("stranger.example", ALICE, message=message).accepted
    received = mailbox(ALICE).wait_for(message)
    kept = [str(each["Authentication-Results"]) for each in received.walk() if each is not received]
    assert [value for value in kept if value != "None"] == ["of.message; x=pass", "of.part; x=pass"]


def test_users_do_not_speak_for_the_host_either(
    mail_program: Callable[..., MailProgram], alice: Person, mailbox: Callable[[str], Mailbox]
) -> None:
    sent = mail_program(alice).send(BOB, headers=[("Authentication-Results", FORGED[0])])
    assert results(mailbox(BOB).wait_for(sent)) == []


def test_it_comes_back_when_it_is_killed(host: Shell, internet: Internet) -> None:
    before = host.output("systemctl", "show", "--property=MainPID", UNIT)
    host.run("systemctl", "kill", "--signal=KILL", UNIT)

    def returned() -> bool:
        shown = host.output("systemctl", "show", "--property=MainPID,ActiveState", UNIT).splitlines()
        return "ActiveState=active" in shown and before.strip() not in shown

    wait_for(returned, f"{UNIT} to return")
    probe = ("/usr/local/lib/postoffice/opendkim-config", "probe")
    wait_for(lambda: host.run(*probe, check=False).returncode == 0, "its answer")
    wait_for(lambda: internet.send_from("good.example", ALICE).accepted, "mail to be accepted again")
