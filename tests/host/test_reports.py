# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others report about mail in the name of a domain comes into a mailbox, and an operator reads it as a table."""

from __future__ import annotations

import gzip
import uuid
from email.message import EmailMessage

from mailtest.deployment import Deployment
from mailtest.internet import Internet
from mailtest.mail import compose
from playing import Player

MAILBOX = "bob@example.org"
REPORT = """<?xml version="1.0" encoding="UTF-8"?>
<feedback>
  <report_metadata><org_name>good.example</org_name><report_id>{number}</report_id>
    <date_range><begin>1790000000</begin><end>1790086399</end></date_range></report_metadata>
  <policy_published><domain>example.org</domain><p>none</p></policy_published>
  <record><row><source_ip>{address}</source_ip><count>7</count>
      <policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated></row>
    <identifiers><header_from>example.org</header_from></identifiers>
    <auth_results><spf><domain>example.org</domain><result>pass</result></spf></auth_results></record>
  <record><row><source_ip>203.0.113.7</source_ip><count>3</count>
      <policy_evaluated><disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>
    <identifiers><header_from>example.org</header_from></identifiers>
    <auth_results><spf><domain>forger.example</domain><result>pass</result></spf></auth_results></record>
</feedback>
"""


def report(content: bytes) -> EmailMessage:
    message = compose(to=MAILBOX, sender="somebody@good.example", subject="Report Domain: example.org")
    name = f"good.example!example.org!{uuid.uuid4().hex}.xml.gz"
    message.add_attachment(content, maintype="application", subtype="gzip", filename=name)
    return message


def test_who_sends_as_us_is_read_as_a_table(player: Player, internet: Internet, deployment: Deployment) -> None:
    text = REPORT.format(number=uuid.uuid4().hex, address=deployment.address(4))
    for content in (gzip.compress(text.encode()), b"\x1f\x8bbroken"):
        sent = internet.send_from("good.example", MAILBOX, message=report(content))
        assert sent.accepted, sent.steps
    played = player.playbook("reports", f"--extra-vars=dns_reports={MAILBOX}")
    assert (played.status, played.changed) == (0, False), played.output
    assert "10 messages in its name, 7 proved it, 3 did not" in played.output
    assert "203.0.113.7: 3 FAILED, 3 refused; for forger.example; told by good.example" in played.output
    assert f"{deployment.address(4)} ({deployment.hostname}): 7 passed" in played.output
    assert "Not read: Report Domain: example.org: cannot be unpacked" in played.output


def test_a_mailbox_that_is_not_there_is_named(player: Player) -> None:
    played = player.playbook("reports", "--extra-vars=dns_reports=nobody-here@example.org")
    assert played.status != 0
    assert "nobody-here@example.org: cannot be read: " in played.output
    played = player.playbook("reports", "--extra-vars=dns_reports=")
    assert played.status != 0
    assert "dns_reports is not set" in played.output
