# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that was shut down is a mail server again, and knows what was changed while nobody published it.

The journal of before is gone afterwards; whoever looks for something there does so earlier.
"""

from __future__ import annotations

import smtplib

from ansible_collections.postoffice.mail.tests.e2e.mailtest.deployment import Person
from ansible_collections.postoffice.mail.tests.e2e.mailtest.imap import connect, login
from ansible_collections.postoffice.mail.tests.e2e.mailtest.waiting import wait_for
from ansible_collections.postoffice.mail.tests.runs.runtest.fingerprint import UNITS
from ansible_collections.postoffice.mail.tests.runs.runtest.host import Host
from ansible_collections.postoffice.mail.tests.runs.runtest.inventories import ALICE
from ansible_collections.postoffice.mail.tests.runs.runtest.run import Deployed

STATE = """
import sqlite3, sys
with sqlite3.connect("/var/lib/postoffice/directory.sqlite3", timeout=20) as directory:
    directory.execute("UPDATE mailbox SET state = ? WHERE address = ?", sys.argv[1:])
"""


def reply(host: Host) -> int:
    """What a stranger is answered who has a message for alice; 0 when nobody answers."""
    endpoint = host.port("smtp")
    try:
        with smtplib.SMTP(endpoint.host, endpoint.port, local_hostname="mx.outside.example", timeout=10) as mx:
            mx.ehlo()
            mx.mail("stranger@outside.example")
            return mx.rcpt(ALICE[0])[0]
    except (OSError, smtplib.SMTPException):
        return 0


LASTING = [unit for unit in UNITS if unit != "postoffice-publish.service"]  # which runs now and then


def active(host: Host) -> dict[str, str]:
    states = host.shell.run("systemctl", "is-active", *LASTING, check=False).stdout.split()
    return dict(zip(LASTING, states, strict=True))


def test_a_host_that_was_shut_down_is_a_mail_server_again(deployed: Deployed) -> None:
    host = deployed.host
    assert reply(host) == 250
    before = active(host)
    assert before["postfix.service"] == before["postoffice-publish.path"] == "active"
    host.shell.run("systemctl", "stop", "postoffice-publish.path")
    try:
        host.python(STATE, "disabled", ALICE[0])
        assert reply(host) == 250  # nobody has told Postfix
        host.reboot()
        assert wait_for(lambda: reply(host), "an answer on port 25") == 550
        wait_for(lambda: active(host) == before, f"all of {before}")
        assert host.shell.output("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""
    finally:
        host.python(STATE, "active", ALICE[0])
    wait_for(lambda: reply(host) == 250, "the publication of the change")
    with connect(host.port("imaps")) as client:
        login(client, Person(*ALICE))
        client.select_folder("INBOX")
