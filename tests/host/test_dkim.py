# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DKIM key is changed in stages, and what cannot work is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from mailtest.deployment import Shell
from mailtest.internet import Internet
from mailtest.mail import compose
from playing import Played, Player

DOMAIN = "client.example"
FOLDER = f"/etc/postoffice/dkim/{DOMAIN}"
READER = "reader@quarantine.example"
CONFIGURATION = ("/etc/opendkim", "/etc/opendkim.conf", "/etc/postoffice/dkim", "/etc/postoffice/opendkim.json")

REFUSED = {
    "unknown option": (
        {"opendkim_settings": {"Canonicalisation": "simple"}},
        r"opendkim\.conf:\d+: Canonicalisation simple",
    ),
    "another key under an old name": ({"opendkim_selectors": [{"selector": "mail", "bits": 3072}]}, "never replaced"),
    "two that sign": ({"opendkim_selectors": [{"selector": "mail"}, {"selector": "other"}]}, "signs for .* already"),
}


def contents(host: Shell) -> str:
    return host.output("find", *CONFIGURATION, "-type", "f", "-exec", "sha256sum", "{}", "+")


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_work_is_refused_and_mail_is_signed_on(fault: str, player: Player, host: Shell) -> None:
    variables, said = REFUSED[fault]
    before = contents(host)
    played = player.roles(["opendkim"], variables)
    assert played.status != 0
    assert re.search(said, played.output), played.output
    assert contents(host) == before
    host.run("/usr/local/lib/postoffice/opendkim-config", "probe")


def test_a_key_that_is_gone_is_not_made_again(player: Player, host: Shell) -> None:
    """Others have its public half in their caches; and a backup may have the key."""
    key = "/etc/postoffice/dkim/example.org/mail.private"
    host.run("mv", key, f"{key}.away")
    try:
        played = player.roles(["opendkim"], {})
        assert played.status != 0
        assert f"{key} is gone; put it back from a backup" in played.output
    finally:
        host.run("mv", f"{key}.away", key)


def stage(*selectors: Mapping[str, Any]) -> dict[str, Any]:
    return {"opendkim_domains": [DOMAIN], "opendkim_domain_selectors": {DOMAIN: list(selectors)}}


OLD, NEW = "old", "new-2027"
BEFORE = stage({"selector": OLD})
PUBLISH = stage({"selector": OLD}, {"selector": NEW, "state": "published"})
SIGN = stage({"selector": OLD, "state": "published"}, {"selector": NEW})
RETIRE = stage({"selector": OLD, "state": "retired"}, {"selector": NEW})


@pytest.fixture
def rotating(player: Player, host: Shell) -> Iterator[None]:
    """A host that signs for one more domain for a while."""
    assert player.roles(["opendkim"], BEFORE).status == 0
    yield
    assert player.roles(["opendkim"], {}).status == 0
    host.run("rm", "--recursive", FOLDER)


def run(player: Player, variables: Mapping[str, Any]) -> None:
    """A stage, and its repetition."""
    first = player.roles(["opendkim"], variables)
    assert (first.status, first.changed) == (0, True), first.output
    again = player.roles(["opendkim"], variables)
    assert (again.status, again.changed) == (0, False), again.output


def records(player: Player, variables: Mapping[str, Any], *, check: bool) -> Played:
    extra = {**variables, "opendkim_wired_domains": [], "opendkim_check_published": check}
    return player.playbook("dkim", f"--extra-vars={json.dumps(extra)}")


def line(played: Played, selector: str) -> str:
    """The data of the record of a key, as it was printed."""
    name = re.escape(f"{selector}._domainkey.{DOMAIN}.")
    found = re.search(rf'^ +{name} 3600 IN TXT (".*")$', played.output, re.MULTILINE)
    assert found, played.output
    return found[1]


def judged_selector(host: Shell, internet: Internet) -> tuple[str, str]:
    """With which key a message is signed now, and what others think of it."""
    sender = f"somebody@{DOMAIN}"
    message = compose(to=READER, sender=sender)
    host.run("sendmail", "-f", sender, READER, stdin=message.as_string().replace("\r\n", "\n"))
    signature = str(internet.received(message).message["DKIM-Signature"])
    found = re.search(r"\bs=([\w-]+)", signature)
    return (found[1] if found else ""), internet.judged(message).results["dkim"]


@pytest.mark.usefixtures("rotating")
def test_a_key_is_changed_in_stages(player: Player, host: Shell, internet: Internet) -> None:
    run(player, PUBLISH)
    printed = records(player, PUBLISH, check=False)
    assert (printed.status, printed.changed) == (0, False)
    old, new = line(printed, OLD), line(printed, NEW)
    with internet.records(DOMAIN, f"{OLD}._domainkey", "TXT", old):
        assert judged_selector(host, internet) == (OLD, "pass")
        early = records(player, PUBLISH, check=True)
        assert early.status != 0
        assert f"missing  {NEW}._domainkey.{DOMAIN}. TXT" in early.output
        assert f"{OLD}._domainkey.{DOMAIN}. TXT" not in early.output.partition("Go on only when they do")[2]
        with internet.records(DOMAIN, f"{NEW}._domainkey", "TXT", new):
            assert records(player, PUBLISH, check=True).status == 0
            run(player, SIGN)
            assert judged_selector(host, internet) == (NEW, "pass")
            run(player, RETIRE)
            assert judged_selector(host, internet) == (NEW, "pass")
    assert sorted(host.output("ls", FOLDER).split()) == [f"{NEW}.json", f"{NEW}.private", f"{OLD}.json"]
    returned = player.roles(["opendkim"], BEFORE)
    assert returned.status != 0
    assert f"{OLD}._domainkey.{DOMAIN} was retired" in returned.output


def test_everything_is_as_it_was_in_the_end(player: Player) -> None:
    played = player.roles(["opendkim"], {}, "--check", "--diff")
    assert (played.status, played.changed) == (0, False), played.output
