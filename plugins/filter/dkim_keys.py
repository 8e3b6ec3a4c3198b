# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: dkim_keys
short_description: Give every domain its DKIM keys
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Returns a key for each domain and selector, with names as they are in the DNS. The module
    P(postoffice.mail.dkim_key#module) takes the list as it is.
options:
  _input:
    description: The domains.
    type: list
    elements: str
    required: true
  selectors:
    description: The selectors of every domain, as O(postoffice.mail.dkim_key#module:keys) without C(domain).
    type: list
    elements: dict
    required: true
  own:
    description: Selectors of single domains, by domain, instead of those for every domain.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Make the keys
  postoffice.mail.dkim_key:
    keys: "{{ ['example.org', 'bücher.example'] | postoffice.mail.dkim_keys(selectors) | to_json }}"
  vars:
    selectors:
      - selector: mail-2026
      - selector: mail-2027
        state: published
"""

RETURN = r"""
_value:
  description: The keys.
  type: list
  elements: dict
  sample: [{domain: xn--bcher-kva.example, selector: mail-2026, algorithm: rsa, bits: 2048, state: signing}]
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.dkim_key import DkimKeyError, expand


def dkim_keys(
    domains: Sequence[str], selectors: Sequence[Mapping[str, Any]], own: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return the keys; an error names every place that is wrong."""
    try:
        return [asdict(key) for key in expand(domains, selectors, own or {})]
    except DkimKeyError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        return {"dkim_keys": dkim_keys}
