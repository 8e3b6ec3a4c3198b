# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate that the operator provides is the one that every client sees; one that cannot work changes nothing."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mailtest.deployment import Deployment, Shell
from mailtest.services import Connect, https, imap, imaps, managesieve, smtp, submission, submissions
from playing import Played, Player, Target

TLS = "/etc/postoffice/tls"
CHAIN, KEY = f"{TLS}/fullchain.pem", f"{TLS}/privkey.pem"
STATE = "/var/lib/postoffice/config_tree/certificate"
CHECK = "/usr/local/lib/postoffice/check-certificate"
KEPT = "/run/postoffice-host-test"
SERVICES: tuple[Connect, ...] = (smtp, submissions, submission, imap, imaps, managesieve, https)
TOGETHER = "base_certificate and base_certificate_key belong together"
ROLES = ("base", "dovecot", "postfix", "nginx")


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its private key on the controller, where an operator keeps them."""

    chain: Path
    key: Path

    @property
    def variables(self) -> dict[str, str]:
        """As the README of the role `base` shows it."""
        return {
            "base_certificate": f"{{{{ lookup('ansible.builtin.file', '{self.chain}') }}}}",
            "base_certificate_key": f"{{{{ lookup('ansible.builtin.file', '{self.key}') }}}}",
        }

    @property
    def serial(self) -> str:
        return f"{x509.load_pem_x509_certificate(self.chain.read_bytes()).serial_number:X}"


class Authority:
    """A certificate authority, with an intermediate as the real ones have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root_key, self.key = (ec.generate_private_key(ec.SECP256R1()) for _unused in range(2))
        self.root = signed("A test authority", self.root_key, "A test authority", self.root_key, authority=True)
        self.intermediate = signed("Its intermediate", self.key, "A test authority", self.root_key, authority=True)

    def issue(self, file: str, hostname: str, *, days: int = 30) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = signed(hostname, key, "Its intermediate", self.key, days=days)
        pair = Pair(self.folder / f"{file}.pem", self.folder / f"{file}.key")
        pair.chain.write_bytes(pem(certificate) + pem(self.intermediate))
        form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
        return pair


def signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool = False,
    days: int = 30,
) -> x509.Certificate:
    end = datetime.now(UTC) + timedelta(days=days)
    builder = x509.CertificateBuilder(
        issuer_name=common_name(issuer),
        subject_name=common_name(name),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=min(datetime.now(UTC), end) - timedelta(days=1),
        not_valid_after=end,
    )
    subject = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    builder = builder.add_extension(subject, critical=False).add_extension(signer, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    return (builder if authority else builder.add_extension(names, critical=False)).sign(issuer_key, hashes.SHA256())


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def serials(authority: Authority, deployment: Deployment) -> Callable[[], dict[str, str]]:
    """What clients see that trust the authority and nobody else: each service's certificate, by its serial number.

    They insist on the name and on the whole chain, as mail programs do.
    """
    trusting = ssl.create_default_context(cadata=pem(authority.root).decode())

    def look() -> dict[str, str]:
        found = {}
        for connect in SERVICES:
            with trusting.wrap_socket(connect(deployment), server_hostname=deployment.hostname) as connection:
                certificate = connection.getpeercert()
            found[connect.__name__] = str(certificate["serialNumber"]).lstrip("0") if certificate else ""
        return found

    return look


def everywhere(pair: Pair) -> dict[str, str]:
    return {connect.__name__: pair.serial for connect in SERVICES}


@pytest.fixture(scope="module", autouse=True)
def as_before(host: Shell, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """In the end, the host's own certificate again."""
    host.run("cp", "-a", TLS, KEPT)
    yield
    host.run("cp", "-a", f"{KEPT}/.", TLS)
    host.run("rm", "-rf", KEPT, STATE, CHECK)
    player = Player(target, tmp_path_factory.mktemp("as_before"))
    assert player.roles(ROLES, {}).status == 0
    assert not player.roles(ROLES, {}, "--check").changed


def contents(host: Shell) -> str:
    return host.output("sha256sum", CHAIN, KEY) + host.output("stat", "-c", "%n %a %U:%G %i", CHAIN, KEY)


def refusal(played: Played) -> str:
    """What an operator reads, its lines put together again."""
    assert played.status != 0
    return re.sub(r"\s+", " ", played.output)


def test_the_operator_s_certificate_is_served_and_replaced_by_good_ones_only(
    authority: Authority, deployment: Deployment, host: Shell, player: Player, serials: Callable[[], dict[str, str]]
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        serials()
    first, renewed = (authority.issue(name, deployment.hostname) for name in ("first", "renewed"))
    assert player.roles(ROLES, first.variables).changed
    assert serials() == everywhere(first)
    again = player.roles(ROLES, first.variables)
    assert (again.status, again.changed) == (0, False), again.output
    assert player.roles(ROLES, renewed.variables).changed
    assert serials() == everywhere(renewed)

    before = contents(host)
    ended = authority.issue("ended", deployment.hostname, days=-1)
    torn, nowhere = authority.folder / "torn.pem", authority.folder / "nowhere"
    torn.write_text(renewed.chain.read_text()[:300])
    for variables, said in (
        (Pair(renewed.chain, first.key).variables, f"{KEY}: the private key does not belong to the first certificate"),
        (ended.variables, f"{CHAIN}: the certificate has ended"),
        (Pair(torn, renewed.key).variables, f"{CHAIN}, {KEY}: no PEM certificate chain with its private key"),
        (Pair(nowhere, renewed.key).variables, str(nowhere)),
        (Pair(renewed.chain, nowhere).variables, str(nowhere)),
        ({**renewed.variables, "base_certificate_key": ""}, TOGETHER),
        ({**renewed.variables, "base_certificate": ""}, TOGETHER),
    ):
        assert said in refusal(player.roles(ROLES, variables))
        assert contents(host) == before
    assert serials() == everywhere(renewed)


CONFIGURATIONS = {"postfix": "/etc/postfix/main.cf, line ", "dovecot": "/etc/dovecot/"}


def test_a_certificate_on_the_host_is_served_and_replaced_by_good_ones_only(
    authority: Authority, deployment: Deployment, host: Shell, player: Player, serials: Callable[[], dict[str, str]]
) -> None:
    """What another program keeps on the host, such as certbot, is only named."""
    chain, key = (f"{KEPT}/own/{name}.pem" for name in ("fullchain", "privkey"))
    variables = {"base_certificate_path": chain, "base_certificate_key_path": key}
    host.run("mkdir", "-p", f"{KEPT}/own")
    for name in ("own", "renewed"):
        pair = authority.issue(name, deployment.hostname)
        host.run("tee", chain, stdin=pair.chain.read_text())
        host.run("tee", key, stdin=pair.key.read_text())
        assert player.roles(ROLES, variables).changed
        assert serials() == everywhere(pair)
    other, nowhere = (f"{KEPT}/own/{name}.pem" for name in ("other", "nowhere"))
    host.run("tee", other, stdin=authority.issue("other", deployment.hostname).key.read_text())
    for role, place in CONFIGURATIONS.items():
        for wrong in (other, nowhere):
            said = refusal(player.roles([role], {f"{role}_certificate": chain, f"{role}_certificate_key": wrong}))
            assert place in said
            assert wrong in said
    assert serials() == everywhere(pair)
