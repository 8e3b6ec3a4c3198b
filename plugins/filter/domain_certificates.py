# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: domain_certificates
short_description: A certificate for each mail domain
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Turns domains into the certificates that the role P(postoffice.mail.letsencrypt#role) asks for, one for each domain,
    so that a domain that has gone elsewhere keeps nobody else from getting theirs.
  - Each has the names of a domain that lead to the host. The name of the host itself is in a certificate of its own.
positional: _input
options:
  _input:
    description: The domains.
    type: list
    elements: str
    required: true
  hostname:
    description: The name of the host.
    type: str
    required: true
  labels:
    description: What stands before the domain in the names, such as V(mail).
    type: list
    elements: str
    required: true
  folder:
    description: Where certificates lie, in a folder for each domain.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Say which certificates there are to be
  ansible.builtin.debug:
    msg: "{{ ['example.net'] | postoffice.mail.domain_certificates(hostname='mail.example.org', labels=['mail'],
      folder='/etc/postoffice/tls') }}"
"""

RETURN = r"""
_value:
  description: The certificates.
  type: list
  elements: dict
  sample:
    - name: example.net
      names: [mail.example.net]
      certificate: /etc/postoffice/tls/example.net/fullchain.pem
      key: /etc/postoffice/tls/example.net/privkey.pem
"""

from collections.abc import Callable, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.directory.names import domain_name


def domain_certificates(
    domains: Sequence[str], hostname: str, labels: Sequence[str], folder: str
) -> list[dict[str, Any]]:
    """Return a certificate for each domain that has a name beside that of the host; an error names the domain."""
    own = domain_name(hostname) if hostname else ""
    found = []
    for number, given in enumerate(domains):
        try:
            domain = domain_name(given)
        except ValueError as error:
            raise AnsibleFilterError(f"domains[{number}]: {error}") from None
        names = [name for label in labels if (name := f"{label}.{domain}") != own]
        if names:
            place = f"{folder}/{domain}"
            paths = {"certificate": f"{place}/fullchain.pem", "key": f"{place}/privkey.pem"}
            found.append({"name": domain, "names": names, **paths})
    return found


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        return {"domain_certificates": domain_certificates}
