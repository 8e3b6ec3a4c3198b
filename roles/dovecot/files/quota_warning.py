# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell a user by mail that the mailbox fills up: quota-warning PERCENTAGE USER.

Dovecot's service of that name runs it as the mail user when a message crosses one of the thresholds. The mail goes past
quota and Sieve straight into the inbox.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from pathlib import Path

SETTINGS = Path("/etc/postoffice/dovecot.json")


def compose(settings: Mapping[str, str], user: str, percentage: str) -> EmailMessage:
    """Write the warning. `settings` has hostname, postmaster, subject and text; the latter two may hold fields."""
    fields = {"user": user, "percentage": percentage, "postmaster": settings["postmaster"]}
    message = EmailMessage(policy=SMTP)
    message["From"] = settings["postmaster"]
    message["To"] = user
    message["Subject"] = settings["subject"].format_map(fields)
    message["Date"] = formatdate(localtime=True)
    message["Message-ID"] = make_msgid(domain=settings["hostname"])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(settings["text"].format_map(fields))
    return message


def main(arguments: list[str]) -> int:
    percentage, user = arguments
    settings = json.loads(SETTINGS.read_text(encoding="utf-8"))["quota_warning"]
    deliver = [*settings["deliver"], "-d", user, "-f", settings["postmaster"]]
    return subprocess.run(deliver, input=compose(settings, user, percentage).as_bytes(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
