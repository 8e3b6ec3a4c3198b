# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Usage: postoffice-certificates [SETTINGS]. Compares the certificates that are served on each port with their files.

Says in a line per port which certificate is served and for how long it is good. Exits with 1, and with a line on
standard error for each port, when another one is served than the file has, when it is not for the server's name, ends
soon, or nobody answers.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/postoffice/certificates.json")
SECONDS = 20.0
LINE_LIMIT = 10000  # octets; nothing that is said before TLS is as long
OWN = "Post Office bootstrap"  # the organization in certificates that a host has made for itself

# What a client says before TLS, and how the answer begins that lets it; none for TLS from the first octet.
SMTP, IMAP, POP3, SIEVE, TLS = "smtp", "imap", "pop3", "sieve", "tls"
PROTOCOLS = {
    "smtp": SMTP,
    "submission": SMTP,
    "submissions": TLS,
    "imap": IMAP,
    "imaps": TLS,
    "pop3": POP3,
    "pop3s": TLS,
    "sieve": SIEVE,
    "https": TLS,
}


class CheckError(Exception):
    """Why nothing can be said of a certificate."""


@dataclass(frozen=True)
class Service:
    """Where a certificate is served, and the file that has it."""

    name: str
    port: int
    certificate: Path
    hostname: str  # whom the client asks for (SNI), for whom the certificate is to be good


@dataclass(frozen=True)
class Certificate:
    """What is to be known of a certificate; `ends` is in UTC."""

    digest: str
    ends: datetime.datetime
    issuer: str
    fits: bool

    @property
    def is_own(self) -> bool:
        return OWN in self.issuer


Read = Callable[[bytes], Certificate]


# What the ports serve


def served(address: str, service: Service) -> bytes:
    """The certificate that is served to somebody who asks for the service's host name, in DER."""
    context = ssl.create_default_context()
    # Whether anybody trusts it is not the question.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((address, service.port), SECONDS) as connection:
            begin(connection, PROTOCOLS[service.name])
            with context.wrap_socket(connection, server_hostname=service.hostname) as secure:
                found = secure.getpeercert(binary_form=True)
                bid_farewell(secure, service.name)
    except (OSError, CheckError) as error:
        raise CheckError(f"nobody answers as expected: {error}") from None
    if not found:
        raise CheckError("no certificate is served")
    return found


def begin(connection: socket.socket, protocol: str) -> None:
    """Say what has to be said before TLS begins (RFC 3207, 2595, 5804)."""
    if protocol == TLS:
        return
    with connection.makefile("rwb", buffering=0) as stream:

        def say(text: str) -> None:
            stream.write(f"{text}\r\n".encode())

        def expect(pattern: str) -> None:
            """Read lines until one matches; another end of the answer is an error."""
            for line in iter(lambda: stream.readline(LINE_LIMIT), b""):
                text = line.decode("utf-8", "replace").rstrip()
                if re.match(pattern, text):
                    return
                if not re.match(r"\d{3}-|\* |\+OK|\"", text):
                    raise CheckError(text[:100])
            raise CheckError("the connection was closed")

        if protocol == SMTP:
            expect("220 ")
            say("EHLO localhost")
            expect("250 ")
            say("STARTTLS")
            expect("220 ")
        elif protocol == IMAP:
            expect(r"\* OK")
            say("a STARTTLS")
            expect("a OK")
        elif protocol == POP3:
            expect(r"\+OK")
            say("STLS")
            expect(r"\+OK")
        else:
            expect("OK")
            say("STARTTLS")
            expect("OK")


def bid_farewell(secure: ssl.SSLSocket, service: str) -> None:
    """Leave as a client does, so that nobody looks into the journal for who has vanished."""
    word = "a LOGOUT" if service.startswith("imap") else "LOGOUT" if service == "sieve" else "QUIT"
    if service != "https":
        secure.sendall(f"{word}\r\n".encode())
        while secure.recv(LINE_LIMIT):
            pass


# What the files have


def of_file(path: Path) -> bytes:
    """The first certificate of a file, in DER."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise CheckError(f"{path}: {error.strerror}") from None
    begin_at, end = text.find("-----BEGIN CERTIFICATE-----"), text.find("-----END CERTIFICATE-----")
    if begin_at < 0 or end < begin_at:
        raise CheckError(f"{path}: has no certificate")
    return ssl.PEM_cert_to_DER_cert(text[begin_at:end] + "-----END CERTIFICATE-----\n")


def reader(name: str) -> Read:
    """Reads a certificate in DER with openssl(1), for a server of that name."""

    def read(der: bytes) -> Certificate:
        argv = ["openssl", "x509", "-inform", "DER", "-noout", "-enddate", "-issuer", "-checkhost", name]
        done = subprocess.run(argv, input=der, capture_output=True, check=False)
        text = done.stdout.decode("utf-8", "replace")
        end = re.search(r"^notAfter=(.+)$", text, re.MULTILINE)
        if end is None:
            raise CheckError(f"openssl cannot read the certificate: {done.stderr.decode(errors='replace').strip()}")
        seconds = ssl.cert_time_to_seconds(end[1])
        issuer = re.search(r"^issuer=(.*)$", text, re.MULTILINE)
        return Certificate(
            digest=hashlib.sha256(der).hexdigest(),
            ends=datetime.datetime.fromtimestamp(seconds, datetime.UTC),
            issuer=issuer[1].strip() if issuer else "",
            fits="does match certificate" in text,
        )

    return read


# Together


@dataclass(frozen=True)
class Finding:
    """What there is to say of a service."""

    service: Service
    text: str
    problem: str = ""


def finding(service: Service, der: bytes, read: Read, now: datetime.datetime, days: int) -> Finding:
    """Compare what is served with the file."""
    certificate = read(der)
    left = (certificate.ends - now) // datetime.timedelta(days=1)
    kind = "the host's own" if certificate.is_own else f"issued by {certificate.issuer}"
    text = f"good until {certificate.ends:%Y-%m-%d}, {left} days, {kind}"
    return Finding(service, text, "; ".join(problems(service, certificate, left, read, days)))


def problems(service: Service, certificate: Certificate, left: int, read: Read, days: int) -> Iterator[str]:
    try:
        if read(of_file(service.certificate)).digest != certificate.digest:
            yield f"another certificate is served than {service.certificate} has; reload what serves it"
    except CheckError as error:
        yield str(error)
    if not certificate.fits:
        yield f"the certificate is not for {service.hostname}"
    if left < 0:
        yield f"the certificate has ended on {certificate.ends:%Y-%m-%d}"
    elif left < days:
        yield f"the certificate ends in {left} days, on {certificate.ends:%Y-%m-%d}"


def check(settings: Mapping[str, object], services: list[Service], now: datetime.datetime) -> Iterator[Finding]:
    address, days = str(settings["address"]), int(str(settings["days"]))
    for service in services:
        read = reader(service.hostname)
        try:
            yield finding(service, served(address, service), read, now, days)
        except CheckError as error:
            yield Finding(service, "", str(error))


def read_services(settings: Mapping[str, object]) -> list[Service]:
    """Each port for the server's own name, and one of each daemon's for every further name."""
    served_there: Any = settings["served"]
    named: Any = settings["named"]
    groups = [sorted(each["ports"].items(), key=lambda pair: int(pair[1])) for each in served_there]
    own = [
        Service(name, int(port), Path(each["certificate"]), str(settings["hostname"]))
        for each, ports in zip(served_there, groups, strict=True)
        for name, port in ports
    ]
    samples = [next((pair for pair in ports if PROTOCOLS[pair[0]] == TLS), ports[0]) for ports in groups if ports]
    return own + [
        Service(name, int(port), Path(each["certificate"]), each["names"][0])
        for each in named
        for name, port in samples
    ]


def line(service: Service, text: str, own: str) -> str:
    of_other = "" if service.hostname == own else f"for {service.hostname}: "
    return f"{service.port:5} {service.name:11} {of_other}{text}\n"


def main(arguments: list[str]) -> int:
    path = Path(arguments[0]) if arguments else SETTINGS
    settings = json.loads(path.read_text(encoding="utf-8"))
    findings = list(check(settings, read_services(settings), datetime.datetime.now(datetime.UTC)))
    for each in findings:
        to = sys.stderr if each.problem else sys.stdout
        to.write(line(each.service, each.problem or each.text, settings["hostname"]))
    return 1 if any(each.problem for each in findings) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
