# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a running Postfix whether it serves: exits 0 when every port answers as it should, else says which does not.

Port 25 must greet, and refuse a recipient of elsewhere for good: that answer takes the address resolver, the proxy for
tables and the tables themselves. The submission ports must offer PLAIN once TLS is up, and not before.
"""

from __future__ import annotations

import argparse
import smtplib
import ssl
import sys

TIMEOUT = 5.0
SENDER = ""
FOREIGN_RECIPIENT = "probe@postoffice.invalid"
# A process that was waiting when Postfix reloaded may answer once more with what it read before.
SESSIONS = 3


class NotServingError(Exception):
    pass


def any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def expect(what: str, answer: tuple[int, bytes], *codes: int) -> None:
    if answer[0] not in codes:
        raise NotServingError(f"{what}: {answer[0]} {answer[1].decode(errors='replace')}")


def probe_smtp(address: str, port: int) -> None:
    """Greeting, EHLO, and a definite refusal to relay."""
    with smtplib.SMTP(address, port, timeout=TIMEOUT) as client:
        expect("EHLO", client.ehlo("localhost.localdomain"), 250)
        code, reply = client.mail(SENDER)
        text = reply.decode(errors="replace")
        if code == 250:
            code, reply = client.rcpt(FOREIGN_RECIPIENT)
            text = reply.decode(errors="replace")
        if code < 400:
            raise NotServingError(f"it would relay for anybody: {code} {text}")
        if text.startswith("4.3.") or code == 421:
            raise NotServingError(f"{code} {text}")


def probe_submission(address: str, port: int) -> None:
    """STARTTLS before AUTH, PLAIN after it."""
    with smtplib.SMTP(address, port, timeout=TIMEOUT) as client:
        expect("EHLO", client.ehlo("localhost.localdomain"), 250)
        if client.has_extn("auth"):
            raise NotServingError("it offers AUTH without TLS")
        expect("STARTTLS", client.starttls(context=any_certificate()), 220)
        expect_login(client)


def probe_submissions(address: str, port: int) -> None:
    """TLS from the first byte, PLAIN inside."""
    with smtplib.SMTP_SSL(address, port, timeout=TIMEOUT, context=any_certificate()) as client:
        expect_login(client)


def expect_login(client: smtplib.SMTP) -> None:
    expect("EHLO", client.ehlo("localhost.localdomain"), 250)
    if "PLAIN" not in client.esmtp_features.get("auth", "").split():
        raise NotServingError("it offers no AUTH PLAIN")


def main() -> int:
    parser = argparse.ArgumentParser(description="Probe a running Postfix.")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--submission", action="store_true", help="ports 587 and 465 serve too")
    options = parser.parse_args()
    probes = [(25, probe_smtp)]
    if options.submission:
        probes += [(587, probe_submission), (465, probe_submissions)]
    for port, probe in probes:
        for _unused in range(SESSIONS):
            try:
                probe(options.address, port)
            except (OSError, smtplib.SMTPException, NotServingError) as error:
                print(f"port {port} of {options.address}: {error}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
