"""The small internet of the tests is what the other tests take it for."""

from __future__ import annotations

import hashlib
import ipaddress
import smtplib
import socket
import ssl
from collections.abc import Callable

import dns.exception
import dns.rcode
import dns.reversename
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from mailtest.imap import Mailbox
from mailtest.internet import Internet, Judgement, texts, validated
from mailtest.mail import compose, trace
from mailtest.tls import any_certificate

pytestmark = pytest.mark.needs("internet")

SIGNED = ["good.example", "dane-ok.example", "example.org"]


def listing(address: str) -> str:
    """The name under which DNS lists have an address."""
    return str(ipaddress.ip_address(address).reverse_pointer).removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")


@pytest.mark.parametrize("domain", SIGNED)
def test_signed_domains_validate_from_the_root_on(internet: Internet, domain: str) -> None:
    answer = internet.ask(domain, "MX")
    assert texts(answer, "MX")
    assert validated(answer)


def test_unsigned_domains_answer_without_proof(internet: Internet) -> None:
    answer = internet.ask("plain.example", "MX")
    assert texts(answer, "MX") == {"10 mx.plain.example."}
    assert not validated(answer)


def test_a_bogus_domain_fails_because_it_is_validated(internet: Internet) -> None:
    assert internet.ask("bogus.example", "MX").rcode() == dns.rcode.SERVFAIL
    assert texts(internet.ask("bogus.example", "MX", checking=False), "MX") == {"10 mx.bogus.example."}


def test_names_that_nobody_has_do_not_exist_anywhere(internet: Internet) -> None:
    answer = internet.ask("postoffice.invalid", "A")
    assert answer.rcode() == dns.rcode.NXDOMAIN


def test_the_blocklist_lists_spammers_and_nobody_else(internet: Internet) -> None:
    spam, good = internet.parties["spam.example"], internet.parties["good.example"]
    assert texts(internet.ask(f"{listing(spam.addresses[0])}.dnsbl.example", "A"), "A") == {"127.0.0.2", "127.0.0.11"}
    assert texts(internet.ask(f"{listing(spam.addresses6[0])}.dnsbl.example", "A"), "A") == {"127.0.0.3"}
    assert texts(internet.ask(f"{listing(spam.addresses[0])}.dnsbl.example", "TXT"), "TXT")
    assert internet.ask(f"{listing(good.addresses[0])}.dnsbl.example", "A").rcode() == dns.rcode.NXDOMAIN


def test_some_lists_know_more(internet: Internet) -> None:
    """One by rumour, and one that has to be paid for."""
    stranger, spam = internet.parties["stranger.example"], internet.parties["spam.example"]
    for address in (stranger.addresses[0], stranger.addresses6[0]):
        assert texts(internet.ask(f"{listing(address)}.rumours.dnsbl.example", "A"), "A") == {"127.0.0.2"}
        assert internet.ask(f"{listing(address)}.dnsbl.example", "A").rcode() == dns.rcode.NXDOMAIN
    for address in (spam.addresses[1], spam.addresses6[1]):
        paid = f"{listing(address)}.keyofthesmallinternet42.zen.dq.spamhaus.net"
        assert texts(internet.ask(paid, "A"), "A") == {"127.0.0.4"}
        assert internet.ask(f"{listing(address)}.dnsbl.example", "A").rcode() == dns.rcode.NXDOMAIN


def test_the_blocklist_has_the_entries_that_show_it_works(internet: Internet) -> None:
    assert texts(internet.ask("2.0.0.127.dnsbl.example", "A"), "A") == {"127.0.0.2"}
    assert internet.ask("1.0.0.127.dnsbl.example", "A").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("typo", "127.255.255.252"),
        ("public", "127.255.255.254"),
        ("busy", "127.255.255.255"),
        ("wrong", "127.0.0.1"),
        ("parked", "192.0.2.80"),
    ],
)
def test_odd_lists_answer_oddly_about_everybody(internet: Internet, name: str, answer: str) -> None:
    address = internet.parties["good.example"].addresses[0]
    assert texts(internet.ask(f"{listing(address)}.{name}.dnsbl.example", "A"), "A") == {answer}


def test_dead_lists_give_no_answer(internet: Internet) -> None:
    assert internet.ask("2.0.0.127.lame.dnsbl.example", "A").rcode() == dns.rcode.SERVFAIL
    with pytest.raises(dns.exception.Timeout):
        internet.ask("2.0.0.127.dead.dnsbl.example", "A", timeout=2)


def test_the_allow_list_knows_friends(internet: Internet) -> None:
    for domain, answer in {"good.example": "127.0.9.2", "pool.example": "127.0.3.1"}.items():
        for address in internet.parties[domain].addresses:
            assert texts(internet.ask(f"{listing(address)}.dnswl.example", "A"), "A") == {answer}
    stranger = internet.parties["stranger.example"].addresses[0]
    assert internet.ask(f"{listing(stranger)}.dnswl.example", "A").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("version", [4, 6])
def test_addresses_have_names_but_those_of_strangers(internet: Internet, version: int) -> None:
    def names(domain: str) -> set[str]:
        party = internet.parties[domain]
        address = (party.addresses if version == 4 else party.addresses6)[0]
        return texts(internet.ask(str(dns.reversename.from_address(address)), "PTR"), "PTR")

    assert names("good.example") == {"mx.good.example."}
    assert names("stranger.example") == set()


def test_a_test_can_change_the_dns_for_a_while(internet: Internet) -> None:
    with internet.records("example.org", "s9._domainkey", "TXT", '"v=DKIM1; p="'):
        answer = internet.ask("s9._domainkey.example.org", "TXT")
        assert texts(answer, "TXT") == {'"v=DKIM1; p="'}
        assert validated(answer)
    assert internet.ask("s9._domainkey.example.org", "TXT").rcode() == dns.rcode.NXDOMAIN


def test_what_was_replaced_comes_back(internet: Internet) -> None:
    before = texts(internet.ask("example.org", "TXT"), "TXT")
    assert before == {'"v=spf1 mx -all"'}
    with internet.records("example.org", "@", "TXT", '"v=spf1 -all"', '"other"'):
        assert texts(internet.ask("example.org", "TXT"), "TXT") == {'"v=spf1 -all"', '"other"'}
    assert texts(internet.ask("example.org", "TXT"), "TXT") == before


def served(address: str, context: ssl.SSLContext, name: str) -> x509.Certificate:
    """The certificate that a mail server shows."""
    with smtplib.SMTP(address, 25, local_hostname="client.example", timeout=20) as client:
        client._host = name  # type: ignore[attr-defined]  # the name that is asked for and checked
        client.starttls(context=context)
        assert isinstance(client.sock, ssl.SSLSocket)
        return x509.load_der_x509_certificate(client.sock.getpeercert(binary_form=True) or b"")


def tlsa(certificate: x509.Certificate) -> str:
    """The TLSA record 3 1 1 that belongs to it (RFC 6698)."""
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"3 1 1 {hashlib.sha256(public).hexdigest()}"


@pytest.mark.parametrize(
    ("domain", "matches"), [("dane-ok.example", True), ("dane-bad.example", False), ("sts-dane.example", False)]
)
def test_dane_is_right_where_it_is_to_be(internet: Internet, domain: str, matches: bool) -> None:
    party = internet.parties[domain]
    answer = internet.ask(f"_25._tcp.{party.mx}", "TLSA")
    assert validated(answer)
    assert (tlsa(served(party.addresses[0], any_certificate(), party.mx)) in texts(answer, "TLSA")) is matches


def trusting(internet: Internet) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=internet.facts["authority"])


@pytest.mark.parametrize(
    ("domain", "passes"), [("sts-ok.example", True), ("sts-bad.example", False), ("sts-dane.example", True)]
)
def test_mta_sts_passes_where_it_is_to(internet: Internet, domain: str, passes: bool) -> None:
    party = internet.parties[domain]
    assert texts(internet.ask(f"_mta-sts.{domain}", "TXT"), "TXT") == {'"v=STSv1; id=1"'}
    assert "mode: enforce" in policy(internet, domain)
    if passes:
        served(party.addresses[0], trusting(internet), party.mx)
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            served(party.addresses[0], trusting(internet), party.mx)


def policy(internet: Internet, domain: str) -> str:
    """The policy over HTTPS, its certificate checked."""
    name = f"mta-sts.{domain}"
    (address,) = texts(internet.ask(name, "A"), "A")
    with (
        socket.create_connection((address, 443), timeout=20) as plain,
        trusting(internet).wrap_socket(plain, server_hostname=name) as connection,
    ):
        connection.sendall(f"GET /.well-known/mta-sts.txt HTTP/1.0\r\nHost: {name}\r\n\r\n".encode())
        with connection.makefile("r", encoding="ascii", newline="") as answer:
            return answer.read()


def test_others_judge_what_they_get(internet: Internet) -> None:
    judge = internet.parties["quarantine.example"].addresses[0]
    good = internet.send_from("good.example", "reader@quarantine.example", target=judge)
    assert good.accepted
    assert internet.judged(good.message).results == {"spf": "pass", "dkim": "pass", "dmarc": "pass"}

    forgery = compose(to="reader@quarantine.example", sender="somebody@good.example")
    forged = internet.send_from(
        "stranger.example",
        "reader@quarantine.example",
        message=forgery,
        envelope_sender="somebody@good.example",
        target=judge,
    )
    assert forged.accepted
    judged = internet.judged(forged.message).results
    assert judged["spf"] in {"fail", "softfail"}
    assert judged["dmarc"] == "fail"
    assert judged.get("dkim") != "pass"


@pytest.mark.parametrize("version", [4, 6])
def test_a_party_sends_from_its_own_address(
    internet: Internet, mailbox: Callable[[str], Mailbox], version: int
) -> None:
    sent = internet.send_from("good.example", "alice@example.org", version=version)
    assert sent.accepted, sent.steps
    party = internet.parties["good.example"]
    address = (party.addresses if version == 4 else party.addresses6)[0]
    assert f"{address}]" in trace(mailbox("alice@example.org").wait_for(sent.message))[1]


def test_a_party_s_mail_server_signs_and_delivers(internet: Internet, mailbox: Callable[[str], Mailbox]) -> None:
    arrived = mailbox("alice@example.org").wait_for(internet.mail_from("good.example", "alice@example.org"))
    assert "d=good.example" in str(arrived["DKIM-Signature"])
    party = internet.parties["good.example"]
    assert any(f"{address}]" in trace(arrived)[1] for address in (*party.addresses, *party.addresses6))


def test_what_the_others_say_of_a_message_is_read_from_their_own_header_only() -> None:
    message = compose(to="alice@example.org", headers=[("Authentication-Results", "mail.example.org; spf=pass")])
    assert Judgement.of(message).results == {}
