# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No password, hash or key is in what a first run says with -vvv, nor in what it leaves in the host's journal."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ansible_collections.postoffice.mail.tests.runs.runtest.inventories import BEFORE, SMARTHOST_PASSWORD
from ansible_collections.postoffice.mail.tests.runs.runtest.run import Deployed

# What the host has made by itself: the hashes, and a line out of the middle of each private key, by where it is.
MADE = r"""
import json, pathlib, re, sqlite3
with sqlite3.connect("file:/var/lib/postoffice/directory.sqlite3?mode=ro", uri=True) as directory:
    found = {f"the hash of {user}": hash for user, hash in directory.execute("SELECT user, password FROM dovecot_user")}
for folder in ("/etc/postoffice", "/etc/dkimkeys", "/var/lib/postoffice"):
    for path in pathlib.Path(folder).rglob("*"):
        text = path.read_bytes() if path.is_file() else b""
        if key := re.search(rb"PRIVATE KEY-----\n([^-\n]+)\n", text):
            found[str(path)] = key[1].decode()
print(json.dumps(found))
"""


def spellings(secret: str) -> Iterator[str]:
    """As it is, and as JSON, Python and a shell write it."""
    yield secret
    for text in (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret)):
        yield text[1:-1]


@pytest.fixture(scope="module")
def secrets(deployed: Deployed) -> dict[str, str]:
    """All that nobody may see, by what it is."""
    made = json.loads(deployed.host.python(MADE))
    for name, value in made.items():
        made[name] = value.rpartition("$")[2]  # behind the parameters of the hash
    boxes = [box for domain in BEFORE["mail_domains"] for box in domain["mailboxes"]]
    return {
        **made,
        **{f"the password of {box['name']}": box["password"] for box in boxes},
        "smarthost": SMARTHOST_PASSWORD,
    }


def test_everything_secret_is_looked_for(secrets: dict[str, str]) -> None:
    assert {"the hash of alice@example.org", "/etc/postoffice/tls/privkey.pem", "smarthost"} <= secrets.keys()
    assert all(len(secret) >= 10 for secret in secrets.values())


def test_no_secret_is_said_or_logged(deployed: Deployed, secrets: dict[str, str]) -> None:
    journal = deployed.host.shell.output("journalctl", "--all", "--no-pager", "--output=json")
    places = {"check mode": deployed.check.output, "the run": deployed.first.output, "the journal": journal}
    assert "module_args" in deployed.first.output
    assert "Invoked with" in journal
    assert [
        (place, name)
        for place, text in places.items()
        for name, secret in secrets.items()
        if any(spelling in text for spelling in spellings(secret))
    ] == []
