# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host is to be, before and after an operator has changed the inventory in many places."""

from __future__ import annotations

import copy
from typing import Any

ALICE = ("alice@example.org", "Drink me, please")
# As awkward as they may be where Jinja reads them.
SMARTHOST_PASSWORD = "back\\slash \"quotes' 100% $HOME über"
CAROL = ("carol@example.org", "by post only")

SCRIPT = """
require ["fileinto", "mailbox"];
if header :is "Subject" "for the site" {
  fileinto :create "Site";
}
"""

# What a mail server can do without.
SWITCHED = (
    *("autoconfig", "certificates", "clamav", "fail2ban", "learning", "mta_sts", "nginx", "opendkim"),
    *("opendmarc", "postgrey", "postsrsd", "spamassassin", "unbound"),
)
SWITCHED_OFF: dict[str, Any] = {f"{role}_enabled": False for role in SWITCHED}

# Nothing on the Internet can be asked.
OFFLINE: dict[str, Any] = {"spamassassin_network_tests": False, "spamassassin_update": False}
BEFORE: dict[str, Any] = {
    **OFFLINE,
    "mail_hostname": "mail.example.org",
    "clamav_official_databases": False,
    "postfix_sender_smarthosts": {
        "example.org": {"host": "127.0.0.1", "port": 2587, "username": "us", "password": SMARTHOST_PASSWORD}
    },
    "base_own_networks": ["{{ controller.address }}", "{{ controller.address6 }}"],
    "mail_domains": [
        {
            "name": "example.org",
            "mailboxes": [
                {"name": "alice", "password": ALICE[1], "quota": "1G", "aliases": ["sales"]},
                {"name": "bob", "password": "Eat me, please"},
            ],
            "aliases": [{"name": "info", "destinations": ["alice@example.org"]}],
        },
    ],
}


def after() -> dict[str, Any]:
    """The same in which more than ten things have changed."""
    changed = copy.deepcopy(BEFORE)
    domain = changed["mail_domains"][0]
    alice, bob = domain["mailboxes"]
    # Mailboxes, aliases, domains.
    domain["mailboxes"].append({"name": "carol", "password": CAROL[1]})
    domain["mailboxes"].remove(bob)
    alice["quota"] = "2G"
    alice["aliases"].append("press")
    domain["aliases"][0]["destinations"] = ["alice@example.org", "friend@partner.example"]
    domain["catch_all"] = "alice@example.org"
    domain["expressions"] = [{"pattern": "order-[0-9]+", "destinations": ["alice@example.org"]}]
    domain["sieve"] = 'require "fileinto"; if header :is "Subject" "for the domain" { fileinto "Archive"; }\n'
    changed["mail_domains"].append({"name": "example.net", "alias_of": "example.org"})
    # Settings of the daemons.
    return changed | {
        "base_timezone": "Europe/Berlin",
        "clamav_refuse_encrypted_archives": True,
        "base_certificate_names": ["imap.example.org"],
        "certificates_days": 7,
        "dovecot_quota_warnings": [70, 90],
        "dovecot_settings": {"mail_max_userip_connections": 44},
        "dovecot_sieve_site": [SCRIPT],
        "fail2ban_failures": 5,
        "milter_check_names": False,
        "opendkim_selectors": [{"selector": "mail"}, {"selector": "edwards", "algorithm": "ed25519"}],
        "opendmarc_reject": False,
        "postfix_blocklists": ["dnsbl.example*2"],
        "postgrey_delay": 90,
        "postfix_message_size_limit": "40M",
        "postfix_root_mail_to": "alice@example.org",
        "postfix_settings": {"smtpd_client_connection_count_limit": 40},
        "spamassassin_languages": ["en"],
        "spamassassin_required_score": 6.0,
    }


AFTER = after()
