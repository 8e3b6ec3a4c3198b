# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answers, each a function of the settings and what was asked. Nothing is read or written here."""

from __future__ import annotations

import plistlib
import re
import uuid
from xml.etree import ElementTree

from .settings import Service, Settings

OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
RESPONSE = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
_NAMESPACE = uuid.UUID("3b0f5a44-6f0e-5c39-9a6d-0d9b0f3b7c11")  # of identifiers that are the same for the same account
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_PLACEHOLDER, _LOCAL_PART = "%EMAILADDRESS%", "%EMAILLOCALPART%"


class RefusedError(Exception):
    """Why there is no answer, for whoever asked."""


def read_address(settings: Settings, text: str) -> tuple[str, str]:
    """An address of one of our domains as its local part and its domain. Raises RefusedError."""
    if not _ADDRESS.fullmatch(text):
        raise RefusedError("this is no address")
    local, _at, domain = text.lower().rpartition("@")
    if domain not in settings.domains:
        raise RefusedError(f"mail for {domain} is not here")
    return local, domain


def login(settings: Settings, local: str, domain: str) -> str:
    """What somebody logs in with: the address, in the domain that the mailbox has."""
    return f"{local}@{settings.domains[domain]}"


# Thunderbird and those that do as it does


def client_config(settings: Settings, domain: str) -> bytes:
    """Mozilla's clientConfig, version 1.1. The program puts the address in itself."""
    root = ElementTree.Element("clientConfig", version="1.1")
    provider = ElementTree.SubElement(root, "emailProvider", id=domain)
    _text(provider, "domain", domain)
    _text(provider, "displayName", settings.title or domain)
    _text(provider, "displayShortName", settings.title or domain)
    same = settings.domains[domain] == domain
    username = _PLACEHOLDER if same else f"{_LOCAL_PART}@{settings.domains[domain]}"
    for kind, services in (("incomingServer", settings.incoming), ("outgoingServer", settings.outgoing)):
        for service in services:
            server = ElementTree.SubElement(provider, kind, type=service.protocol)
            _text(server, "hostname", settings.hostname)
            _text(server, "port", str(service.port))
            _text(server, "socketType", "SSL" if service.implicit else "STARTTLS")
            _text(server, "authentication", "password-cleartext")
            _text(server, "username", username)
    return _document(root)


# Outlook


def asked_address(body: bytes) -> str:
    """The address in a request for autodiscovery (MS-OXDSCLI, 2.2.3). Raises RefusedError."""
    if b"<!" in body:
        raise RefusedError("declarations are not read")
    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError, LookupError):
        raise RefusedError("this is no request for autodiscovery") from None
    for element in root.iter():
        if element.tag.rpartition("}")[2] == "EMailAddress" and element.text:
            return element.text.strip()
    raise RefusedError("the request has no address")


def autodiscover(settings: Settings, local: str, domain: str) -> bytes:
    """The settings of one account (MS-OXDSCLI, 2.2.4)."""
    root = ElementTree.Element("Autodiscover", xmlns=RESPONSE)
    response = ElementTree.SubElement(root, "Response", xmlns=OUTLOOK)
    account = ElementTree.SubElement(response, "Account")
    _text(account, "AccountType", "email")
    _text(account, "Action", "settings")
    # Of each protocol the best, which is the first.
    best: dict[str, Service] = {}
    for service in (*settings.incoming, *settings.outgoing):
        best.setdefault(service.protocol, service)
    for protocol, service in best.items():
        element = ElementTree.SubElement(account, "Protocol")
        _text(element, "Type", protocol.upper())
        _text(element, "Server", settings.hostname)
        _text(element, "Port", str(service.port))
        _text(element, "LoginName", login(settings, local, domain))
        _text(element, "DomainRequired", "off")
        _text(element, "SPA", "off")
        _text(element, "SSL", "on")
        _text(element, "Encryption", "SSL" if service.implicit else "TLS")
        _text(element, "AuthRequired", "on")
        if protocol == "smtp":
            _text(element, "UsePOPAuth", "off")
            _text(element, "SMTPLast", "off")
    return _document(root)


# Apple


def profile(settings: Settings, local: str, domain: str) -> bytes:
    """A configuration profile with one mail account (Apple's device management, com.apple.mail.managed).

    It is not signed, and has no password: the device asks for that.
    """
    address, name = f"{local}@{domain}", login(settings, local, domain)
    incoming = next((service for service in settings.incoming if service.protocol == "imap"), settings.incoming[0])
    outgoing = settings.outgoing[0]
    account = {
        "PayloadType": "com.apple.mail.managed",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"mail.{address}",
        "PayloadUUID": str(uuid.uuid5(_NAMESPACE, f"account {settings.hostname} {address}")).upper(),
        "PayloadDisplayName": address,
        "EmailAccountDescription": settings.title or domain,
        "EmailAccountType": "EmailTypeIMAP" if incoming.protocol == "imap" else "EmailTypePOP",
        "EmailAddress": address,
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerHostName": settings.hostname,
        "IncomingMailServerPortNumber": incoming.port,
        "IncomingMailServerUseSSL": True,
        "IncomingMailServerUsername": name,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": settings.hostname,
        "OutgoingMailServerPortNumber": outgoing.port,
        "OutgoingMailServerUseSSL": True,
        "OutgoingMailServerUsername": name,
        "OutgoingPasswordSameAsIncomingPassword": True,
    }
    return plistlib.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": f"{settings.hostname}.{address}",
            "PayloadUUID": str(uuid.uuid5(_NAMESPACE, f"profile {settings.hostname} {address}")).upper(),
            "PayloadDisplayName": f"Mail for {address}",
            "PayloadOrganization": settings.title or domain,
            "PayloadRemovalDisallowed": False,
            "PayloadContent": [account],
        }
    )


def _text(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = text


def _document(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"
