# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator may choose of ClamAV, what is refused of it, and what a run says when it goes wrong."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from mailtest.deployment import Shell
from mailtest.mail import STRANGER, compose
from mailtest.viruses import EICAR, nested
from playing import Player, Target

CONFIGURATION = ("/etc/clamav", "/etc/systemd/system", "/var/lib/clamav", "/etc/postoffice/clamav.json")
UNITS = ("clamav-daemon.service", "clamav-milter.service")

REFUSED = {
    "unknown option": ({"clamav_settings": {"MaxFilesize": "100M"}}, r"clamd\.conf:\d+: Unknown option MaxFilesize"),
    "not a size": ({"clamav_settings": {"MaxFileSize": "much"}}, r"MaxFileSize|much is no size"),
    "limits below the mail server's": ({"clamav_settings": {"MaxScanSize": "10M"}}, "MaxScanSize 10M is less than"),
    "unknown option of the milter": ({"clamav_milter_settings": {"OnVirus": "Reject"}}, "Unknown option OnVirus"),
    "a milter that lets viruses pass": ({"clamav_milter_settings": {"OnInfected": "Accept"}}, "instead of refused"),
    "unknown option of freshclam": (
        {"clamav_freshclam_settings": {"Mirror": "x"}},
        r"freshclam\.conf:\d+: Unknown option",
    ),
    "a signature that is none": (
        {"clamav_local_databases": {"own.ndb": "nonsense\n"}},
        r"/var/lib/clamav/own\.ndb: Malformed database",
    ),
}


def reply(target: Target, text: str = "Hello.\n", attachment: bytes = b"") -> int:
    """What the server says to a message for alice."""
    message = compose(to="alice@example.org", body=text)
    if attachment:
        message.add_attachment(attachment, maintype="application", subtype="zip", filename="attached.zip")
    try:
        with smtplib.SMTP(*target.port("smtp"), local_hostname="mx.outside.example", timeout=60) as mx:
            mx.sendmail(STRANGER, ["alice@example.org"], message.as_bytes())
    except smtplib.SMTPResponseException as error:
        return error.smtp_code
    return 250


def contents(host: Shell) -> str:
    return host.output(
        "find", *CONFIGURATION, "-type", "f", "-not", "-name", "freshclam.dat", "-exec", "sha256sum", "{}", "+"
    )


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_work_is_refused_and_mail_is_scanned_on(
    fault: str, player: Player, host: Shell, target: Target
) -> None:
    variables, said = REFUSED[fault]
    before = contents(host)
    played = player.roles(["clamav"], variables)
    assert played.status != 0
    assert re.search(said, played.output), played.output
    assert contents(host) == before
    assert reply(target, f"{EICAR}\n") == 550


@pytest.fixture
def chosen(player: Player, host: Shell) -> Iterator[Mapping[str, Any]]:
    """An operator who trusts the mail more than the scanner, for a while."""
    variables = {"clamav_on_failure": "accept", "clamav_refuse_exploding": False, "clamav_settings": {}}
    assert player.roles(["clamav", "postfix"], variables).status == 0
    yield variables
    host.run("systemctl", "start", *UNITS)
    assert player.roles(["clamav", "postfix"], {}).status == 0


def test_an_operator_may_choose_otherwise(chosen: Mapping[str, Any], host: Shell, target: Target) -> None:
    assert reply(target, attachment=nested(b"at the bottom", 25)) == 250
    assert reply(target, f"{EICAR}\n") == 550
    host.run("systemctl", "stop", "clamav-daemon.service")
    assert reply(target) == 250
    host.run("systemctl", "stop", "clamav-milter.service")
    assert reply(target) == 250


def test_everything_is_as_it_was_in_the_end(player: Player, target: Target) -> None:
    played = player.roles(["clamav", "postfix"], {}, "--check", "--diff")
    assert (played.status, played.changed) == (0, False), played.output
    assert reply(target) == 250
    assert reply(target, f"{EICAR}\n") == 550
