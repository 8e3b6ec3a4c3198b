# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that use the server again and again while something happens to it, and never try the same thing twice."""

from __future__ import annotations

import smtplib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import imapclient

from ansible_collections.postoffice.mail.tests.e2e.mailtest.deployment import Endpoint, Person
from ansible_collections.postoffice.mail.tests.e2e.mailtest.imap import connect, login

from .host import Host
from .inventories import ALICE

INTERVAL = 0.1  # seconds from one visit to the next
PATIENCE = 10.0  # seconds that a client waits for an answer


@dataclass
class Diary:
    """What the clients of one service experienced."""

    visits: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


def ask_smtp(endpoint: Endpoint) -> None:
    """Another mail server, which is greeted and asks whether alice gets mail."""
    with smtplib.SMTP(endpoint.host, endpoint.port, local_hostname="mx.outside.example", timeout=PATIENCE) as mx:
        mx.ehlo()
        replies = [mx.mail("stranger@outside.example"), mx.rcpt(ALICE[0])]
    refused = [reply for reply in replies if reply[0] != 250]
    if refused:
        raise smtplib.SMTPException(f"refused: {refused}")


def ask_imap(endpoint: Endpoint) -> None:
    """Alice, who logs in and looks at her inbox."""
    with connect(endpoint) as client:
        login(client, Person(*ALICE))
        client.select_folder("INBOX", readonly=True)


@contextmanager
def clients(host: Host) -> Iterator[dict[str, Diary]]:
    """Both clients at work until the end of the block, which can read their diaries then."""
    services = {"smtp": ask_smtp, "imaps": ask_imap}
    diaries = {service: Diary() for service in services}
    stop = threading.Event()

    def go_on(service: str, ask: Callable[[Endpoint], None]) -> None:
        endpoint, diary = host.port(service), diaries[service]
        while not stop.is_set():
            began = time.monotonic()
            try:
                ask(endpoint)
            except (OSError, smtplib.SMTPException, imapclient.exceptions.IMAPClientError) as error:
                diary.failures.append(f"{time.strftime('%H:%M:%S')} {service}: {type(error).__name__}: {error}")
            took = time.monotonic() - began
            diary.visits += 1
            diary.slowest = max(diary.slowest, took)
            stop.wait(max(INTERVAL - took, 0))

    threads = [threading.Thread(target=go_on, args=pair) for pair in services.items()]
    for thread in threads:
        thread.start()
    try:
        yield diaries
    finally:
        stop.set()
        for thread in threads:
            thread.join()
