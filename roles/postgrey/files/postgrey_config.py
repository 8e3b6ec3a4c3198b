# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Usage: postgrey-config check CLIENTS RECIPIENTS, or postgrey-config probe SOCKET.

`check` finds what is wrong with the lists of clients and recipients: Postgrey passes over what it does not understand.
`probe` asks a running Postgrey about a client on its list, as Postfix would. Both exit with 1 and say what is wrong.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

STARTS = 10.0  # seconds in which it is up
TIMEOUT = 5.0
QUESTION = {
    "request": "smtpd_access_policy",
    "client_address": "192.0.2.1",
    "client_name": "probe.postoffice.invalid",
    "sender": "",
    "recipient": "probe@postoffice.invalid",
    "etrn_domain": "",
}
NAME = re.compile(r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")
RECIPIENT = re.compile(r"^([^\s@]+@)?([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)?$")


def wrong_expression(text: str) -> str | None:
    """What is wrong with /a regular expression/; what Perl knows beyond Python's is not for a list of names."""
    try:
        re.compile(text[1:-1])
    except re.error as error:
        return f"{text} is no regular expression: {error}"
    return f"{text} holds a blank" if re.search(r"\s", text) else None


def wrong_client(text: str) -> str | None:
    """What is wrong with a name, an address, a network or an expression."""
    if len(text) > 2 and text.startswith("/") and text.endswith("/"):
        return wrong_expression(text)
    if ":" in text or "/" in text or re.fullmatch(r"[\d.]+", text):
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            return str(error)
        return None
    return None if NAME.match(text) else f"{text} is no name, address or network"


def wrong_recipient(text: str) -> str | None:
    """What is wrong with an address, user@, a domain or an expression."""
    if len(text) > 2 and text.startswith("/") and text.endswith("/"):
        return wrong_expression(text)
    return None if text and RECIPIENT.match(text) else f"{text} is no address, user@ or domain"


def findings(path: Path, judge: Callable[[str], str | None]) -> Iterator[str]:
    """What is wrong with a list, each as FILE:LINE: WHAT."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.partition("#")[0].strip()
        problem = judge(text) if text else None
        if problem:
            yield f"{path}:{number}: {problem}"


def ask(path: str) -> str:
    """What Postgrey answers to the question."""
    text = "".join(f"{name}={value}\n" for name, value in QUESTION.items())
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(TIMEOUT)
        asking.connect(path)
        asking.sendall(f"{text}\n".encode())
        return asking.makefile(encoding="utf-8").readline().strip()


def probe(path: str) -> str | None:
    """None when it answers as it should, else what it did."""
    deadline = time.monotonic() + STARTS
    while True:
        try:
            answer = ask(path)
        except OSError as error:
            answer = str(error)
        if answer == "action=DUNNO":
            return None
        if time.monotonic() > deadline:
            return f"{path}: asked about a client on the list, it answers: {answer or 'nothing'}"
        time.sleep(0.1)


def main(arguments: list[str]) -> int:
    command, *rest = arguments
    if command == "probe":
        problems = [problem for problem in [probe(rest[0])] if problem]
    else:
        clients, recipients = map(Path, rest)
        problems = [*findings(clients, wrong_client), *findings(recipients, wrong_recipient)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
