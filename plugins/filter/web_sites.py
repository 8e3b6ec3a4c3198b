# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: web_sites
short_description: What a web server serves for each mail domain
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Turns domains into the sites of the role P(postoffice.mail.nginx#role), with the certificate of each domain where it
    has one.
positional: _input
options:
  _input:
    description: The domains.
    type: list
    elements: str
    required: true
  hostname:
    description: The name of the host, which is served by itself.
    type: str
    required: true
  parts:
    description:
      - What is served. Each has C(labels), what stands before the domain; C(locations), lines for a server block of
        nginx; and perhaps C(plain), whether it is to be had without TLS as well.
      - A part without labels or locations is left out.
    type: list
    elements: dict
    required: true
  certificates:
    description: What P(postoffice.mail.domain_certificates#filter) made of the same domains.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Show what is served
  ansible.builtin.debug:
    msg: "{{ ['example.org'] | postoffice.mail.web_sites(hostname='mail.example.org', parts=[{'labels': ['autoconfig'],
      'locations': 'return 404;', 'plain': true}]) }}"
"""

RETURN = r"""
_value:
  description: The sites.
  type: list
  elements: dict
  sample:
    - names: [autoconfig.example.org]
      locations: return 404;
      plain: true
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.directory.names import domain_name


def web_sites(
    domains: Sequence[str],
    hostname: str,
    parts: Sequence[Mapping[str, Any]],
    certificates: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Return the sites, domain by domain; an error names the domain."""
    own = domain_name(hostname)
    by_name = {each["name"]: each for each in certificates}
    sites = []
    for number, given in enumerate(domains):
        try:
            domain = domain_name(given)
        except ValueError as error:
            raise AnsibleFilterError(f"domains[{number}]: {error}") from None
        for part in parts:
            names = [name for label in part["labels"] if (name := f"{label}.{domain}") != own]
            if not names or not part["locations"]:
                continue
            site = {"names": names, "locations": part["locations"], "plain": bool(part.get("plain", False))}
            if set(names) <= set(by_name.get(domain, {}).get("names", ())):
                site |= {key: by_name[domain][key] for key in ("certificate", "key")}
            sites.append(site)
    return sites


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        return {"web_sites": web_sites}
