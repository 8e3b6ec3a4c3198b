# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not the inventory's stays as it is: a password that its user has changed, and what was made elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from imapclient.exceptions import LoginError
from mailtest.deployment import Deployment, Person, Shell
from mailtest.imap import INBOX, Mailbox, connect, login
from mailtest.mail import MailProgram, Outside
from playing import Player

ALICE = "alice@example.org"
CHANGED = "Curiouser, and curiouser!"
OPERATOR = Person("keeper@guests.example", "made elsewhere")
GUEST = Person("guest@example.org", "not in the inventory")
ALIAS = "visitors@example.org"  # of a domain of the inventory, to what is made elsewhere
MANAGER = "reception"
PLAYBOOKS = ("mailboxes", "site")


def may_log_in(deployment: Deployment, person: Person) -> bool:
    client = connect(deployment.port("imaps"))
    try:
        login(client, person)
        client.select_folder(INBOX)
    except LoginError:
        return False
    finally:
        client.shutdown()
    return True


def declare(player: Player, *tasks: Mapping[str, Any]) -> None:
    """Make something on the host, as a play of somebody's own does."""
    status, output = player.finish(player.start(tasks))
    assert status == 0, output


@pytest.fixture
def changed_password(player: Player) -> Iterator[Person]:
    """Alice has a new password; in the end, that of the inventory."""
    mine = {"address": ALICE, "password": CHANGED, "managed_by": "inventory", "update_password": "always"}
    declare(player, {"postoffice.mail.mailbox": mine})
    yield Person(ALICE, CHANGED)
    assert player.playbook("mailboxes", "--extra-vars=directory_update_password=always").status == 0


def test_a_user_s_own_password_survives_runs_until_the_inventory_is_told_to_take_it_back(
    changed_password: Person, deployment: Deployment, player: Player
) -> None:
    declared = deployment.people[ALICE]

    def passwords() -> tuple[bool, bool]:
        return may_log_in(deployment, changed_password), may_log_in(deployment, declared)

    assert passwords() == (True, False)
    for name in PLAYBOOKS:
        played = player.playbook(name)
        assert (played.status, played.changed) == (0, False), played.output
        assert passwords() == (True, False)
    always = player.playbook("mailboxes", "--extra-vars=directory_update_password=always", "--diff")
    assert (always.status, always.changed) == (0, True), always.output
    assert passwords() == (False, True)
    for secret in (CHANGED, declared.password):
        assert secret not in always.output
    again = player.playbook("mailboxes", "--extra-vars=directory_update_password=always")
    assert (again.status, again.changed) == (0, False), again.output


@pytest.fixture
def made_elsewhere(player: Player, host: Shell) -> Iterator[None]:
    """A domain, mailboxes and an alias that the inventory does not know."""
    declare(
        player,
        {"postoffice.mail.domain": {"name": OPERATOR.domain, "managed_by": MANAGER}},
        *(
            {"postoffice.mail.mailbox": {"address": each.address, "password": each.password, "managed_by": MANAGER}}
            for each in (OPERATOR, GUEST)
        ),
        {
            "postoffice.mail.alias": {
                "address": ALIAS,
                "destinations": [GUEST.address, OPERATOR.address],
                "managed_by": MANAGER,
            }
        },
    )
    yield
    nothing = {"domains": "[]", "managed_by": MANAGER, "absent": "delete", "retention_days": 0}
    declare(player, {"postoffice.mail.directory": nothing}, {"postoffice.mail.directory": nothing})
    host.run("rm", "-rf", f"/var/vmail/{OPERATOR.domain}", f"/var/vmail/{GUEST.domain}/{GUEST.local}")


def test_what_was_made_elsewhere_survives_runs(made_elsewhere: None, deployment: Deployment, player: Player) -> None:
    outside = Outside(deployment)

    def works() -> None:
        sent = outside.send(ALIAS)
        for person in (GUEST, OPERATOR):
            own = MailProgram(deployment, person).send(person.address)
            mailbox = Mailbox(deployment.port("imaps"), person)
            for message in (sent, own):
                mailbox.wait_for(message)
            mailbox.close()

    works()
    deleting = ("--extra-vars=directory_absent=delete", "--extra-vars=directory_retention_days=0")
    for name, options in (("site", ()), ("mailboxes", deleting)):
        played = player.playbook(name, *options)
        assert (played.status, played.changed) == (0, False), played.output
        works()


def test_what_was_made_elsewhere_is_not_taken_over_unasked(
    made_elsewhere: None, deployment: Deployment, player: Player
) -> None:
    claimed = [{"name": OPERATOR.domain, "mailboxes": [{"name": OPERATOR.local, "state": "disabled"}]}]
    task = {"postoffice.mail.directory": {"domains": json.dumps(claimed), "managed_by": "somebody else"}}
    status, output = player.finish(player.start([task]))
    assert status != 0
    said = f"the domain {OPERATOR.domain} exists already and is managed by '{MANAGER}'"
    assert said in re.sub(r"\s+", " ", output), output
    assert may_log_in(deployment, OPERATOR)
