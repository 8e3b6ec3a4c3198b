# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks SMTP to a server from one of this host's addresses and tells what it answered.

Reads one JSON object from standard input: `source` and `target` (addresses), `helo`, `sender`, `recipients` and `data`
(the message, base64); `tls` says whether to use STARTTLS where it is offered. Writes a list of steps, each with the
code and the text of the answer; it ends with the first that was refused, except for recipients while one is accepted.
"""

from __future__ import annotations

import base64
import json
import re
import smtplib
import ssl
import sys
from collections.abc import Iterator, Mapping
from typing import Any

Step = tuple[str, int, str]


def step(name: str, answer: tuple[int, bytes]) -> Step:
    return name, answer[0], answer[1].decode(errors="backslashreplace")


def any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ended(data: bytes) -> bytes:
    """A message as it travels: dots doubled, and the one that ends it (RFC 5321, 4.5.2)."""
    return re.sub(rb"^\.", b"..", data, flags=re.MULTILINE).removesuffix(b"\r\n") + b"\r\n.\r\n"


def steps(given: Mapping[str, Any]) -> Iterator[Step]:
    """The conversation, one command after the other."""
    client = smtplib.SMTP(local_hostname=given["helo"], timeout=60, source_address=(given["source"], 0))
    client._host = given["target"]  # type: ignore[attr-defined]  # whom STARTTLS believes to talk to
    try:
        yield step("CONNECT", client.connect(given["target"], 25))
        yield step("EHLO", client.ehlo())
        if given["tls"] and client.has_extn("starttls"):
            yield step("STARTTLS", client.starttls(context=any_certificate()))
            yield step("EHLO", client.ehlo())
        yield step("MAIL", client.mail(given["sender"]))
        for recipient in given["recipients"]:
            yield step(f"RCPT {recipient}", client.rcpt(recipient))
        yield step("DATA", client.docmd("DATA"))
        client.send(ended(base64.b64decode(given["data"])))
        yield step("MESSAGE", client.getreply())
        yield step("QUIT", client.quit())
    except smtplib.SMTPServerDisconnected as error:
        yield "ENDED", 0, str(error)
    finally:
        client.close()


def main() -> None:
    given = json.load(sys.stdin)
    said: list[Step] = []
    accepted = 0
    for each in steps(given):
        said.append(each)
        refused = each[1] >= 400 or each[1] == 0
        if each[0].startswith("RCPT"):
            accepted += not refused
        elif refused or (each[0] == "DATA" and not accepted):
            break
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
