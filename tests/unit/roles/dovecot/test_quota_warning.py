# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from email import message_from_bytes
from email.policy import default

import quota_warning

SETTINGS = {
    "hostname": "mail.example.org",
    "postmaster": "postmaster@example.org",
    "subject": "{percentage} % voll",
    "text": "Grüße an {user}, auch von {postmaster}.\n",
}


def test_the_warning_says_who_and_how_much() -> None:
    message = quota_warning.compose(SETTINGS, "alice@example.org", "80")
    parsed = message_from_bytes(message.as_bytes(), policy=default)
    assert parsed["To"] == "alice@example.org"
    assert parsed["From"] == "postmaster@example.org"
    assert parsed["Subject"] == "80 % voll"
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed.get_content().strip() == "Grüße an alice@example.org, auch von postmaster@example.org."
