"""What a deployment has, found in its inventory. Tests say what they need; what is absent is deselected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .deployment import Deployment

Domain = dict[str, Any]


def _names(domain: Domain) -> Iterator[str]:
    """Every local part that the domain names: mailboxes, their aliases, aliases."""
    for mailbox in domain.get("mailboxes", []):
        yield mailbox["name"]
        yield from mailbox.get("aliases", [])
    for alias in domain.get("aliases", []):
        yield alias.get("name", "")


def _address(address: str) -> Callable[[Deployment], bool]:
    local, _unused, name = address.partition("@")
    return lambda deployment: any(domain["name"] == name and local in _names(domain) for domain in deployment.domains)


def _domain(name: str) -> Callable[[Deployment], bool]:
    return lambda deployment: any(domain["name"] == name for domain in deployment.domains)


def _variable(name: str) -> Callable[[Deployment], bool]:
    return lambda deployment: bool(deployment.variables.get(name))


# One line for each thing that a test may need: by which part of the inventory one knows that it is there.
FEATURES: dict[str, Callable[[Deployment], bool]] = {
    "aliases": _address("info@example.org"),
    "alias domain": _domain("example.net"),
    "bans": _variable("fail2ban_failures"),
    "blocklists": lambda deployment: bool(deployment.variables.get("postfix_usual_blocklists")) and deployment.resolves,
    "catch-all": _domain("example.com"),
    "compression": _variable("dovecot_compression"),
    "dkim": lambda deployment: deployment.variables.get("opendkim_enabled", True) is not False,
    "dmarc": lambda deployment: deployment.variables.get("opendmarc_enabled", True) is not False,
    "elsewhere": lambda deployment: bool(deployment.description.get("elsewhere")),
    "ed25519": _variable("opendkim_selectors"),
    "expressions": _domain("example.com"),
    "forwards": _address("abroad@example.org"),
    "greylisting": _variable("postgrey_delay"),
    "hashes": _variable("test_passwords"),
    "international domain": _domain("bücher.example"),
    "internet": lambda deployment: bool(deployment.description.get("internet")),
    "ipv6": lambda deployment: bool(deployment.description.get("address6")),
    "nasty passwords": _domain("passwords.example"),
    "sending limits": _address("hasty@example.org"),
    "trusted forum": _variable("opendmarc_trusted_hosts"),
    "low scan limits": _variable("clamav_settings"),
    "own networks": _variable("base_own_networks"),
    "pop3": _variable("dovecot_pop3"),
    "quota": _address("small@example.org"),
    "refused clients": _variable("postfix_postscreen_access"),
    "relay": _domain("relayed.example"),
    "resolver": lambda deployment: deployment.resolves and bool(deployment.description.get("internet")),
    "root mail": _variable("postfix_root_mail_to"),
    "senders": _address("newsletter@example.org"),
    "short scans": _variable("clamav_timeout"),
    "sieve scripts": _address("filer@example.org"),
    "short spam scans": _variable("milter_spam_timeout"),
    "signature mirror": _variable("clamav_custom_databases"),
    "smarthost": _variable("postfix_smarthost"),
    "tag folders": _variable("dovecot_subaddress_folders"),
    "spam filter": lambda deployment: deployment.variables.get("spamassassin_enabled", True) is not False,
    "spam rule": lambda deployment: "POSTOFFICE_TEST" in deployment.variables.get("spamassassin_settings", ""),
    "unproved smarthosts": lambda deployment: (
        "sha512@moved.example" in deployment.variables.get("postfix_sender_smarthosts", {})
    ),
    "states": _address("former@example.org"),
}


def missing(deployment: Deployment, needs: set[str]) -> set[str]:
    return {need for need in needs if not FEATURES[need](deployment)}
