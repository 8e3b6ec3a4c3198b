"""Encryption: modern towards people, whatever the other side can towards other servers."""

from __future__ import annotations

import ssl

import pytest
from cryptography import x509
from mailtest.deployment import Deployment
from mailtest.services import Connect, https, imap, imaps, managesieve, smtp, submission, submissions
from mailtest.smtp import Dialogue
from mailtest.tls import ENDED, any_certificate, only, refusal

TOWARDS_PEOPLE = [submission, submissions, imap, imaps, managesieve, https]
people = pytest.mark.parametrize("open_service", TOWARDS_PEOPLE, ids=lambda each: each.__name__)
everybody = pytest.mark.parametrize("open_service", [smtp, *TOWARDS_PEOPLE], ids=lambda each: each.__name__)


@everybody
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda each: each.name)
def test_modern_tls_is_spoken(deployment: Deployment, open_service: Connect, version: ssl.TLSVersion) -> None:
    assert refusal(open_service(deployment), only(version, "DEFAULT")) is None


@people
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=lambda each: each.name)
def test_old_tls_is_refused(deployment: Deployment, open_service: Connect, version: ssl.TLSVersion) -> None:
    assert refusal(open_service(deployment), only(version)) in ("TLSV1_ALERT_PROTOCOL_VERSION", ENDED)


WEAK = {
    "without forward secrecy": "AES128-GCM-SHA256:AES256-GCM-SHA384",
    "CBC": "ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384",
    "without encryption": "NULL",
    "without certificate": "aNULL",
}


@people
@pytest.mark.parametrize("weakness", WEAK)
def test_weak_ciphers_are_refused(deployment: Deployment, open_service: Connect, weakness: str) -> None:
    context = only(ssl.TLSVersion.TLSv1_2, f"{WEAK[weakness]}:@SECLEVEL=0")
    assert refusal(open_service(deployment), context) in ("SSLV3_ALERT_HANDSHAKE_FAILURE", ENDED)


@people
@pytest.mark.parametrize("cipher", ["ECDHE+AESGCM", "ECDHE+CHACHA20"])
def test_strong_ciphers_are_accepted(deployment: Deployment, open_service: Connect, cipher: str) -> None:
    assert refusal(open_service(deployment), only(ssl.TLSVersion.TLSv1_2, cipher)) is None


@people
@pytest.mark.parametrize("wanted", ["CHACHA20-POLY1305", "AES128-GCM-SHA256"])
def test_the_client_chooses_the_cipher(deployment: Deployment, open_service: Connect, wanted: str) -> None:
    """A telephone without AES in hardware asks for ChaCha20 first."""
    first = [f"ECDHE-{key}-{wanted}" for key in ("ECDSA", "RSA")]
    context = only(ssl.TLSVersion.TLSv1_2, ":".join([*first, "ECDHE+AESGCM", "ECDHE+CHACHA20"]))
    with context.wrap_socket(open_service(deployment)) as connection:
        cipher = connection.cipher()
    assert cipher
    assert wanted in cipher[0]


@everybody
def test_the_certificate_bears_the_host_s_name(deployment: Deployment, open_service: Connect) -> None:
    with any_certificate().wrap_socket(open_service(deployment), server_hostname=deployment.hostname) as connection:
        encoded = connection.getpeercert(binary_form=True)
    assert encoded
    certificate = x509.load_der_x509_certificate(encoded)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert deployment.hostname in names.get_values_for_type(x509.DNSName)


def test_a_server_without_encryption_can_still_deliver(deployment: Deployment) -> None:
    with Dialogue(deployment.port("smtp")) as dialogue:
        dialogue.ehlo()
        assert "STARTTLS" in dialogue.capabilities
        assert dialogue.command("MAIL FROM:<stranger@outside.example>").ok
        assert dialogue.command("RCPT TO:<alice@example.org>").ok
