# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: mta_sts_policy
short_description: The MTA-STS policy of a mail server's domains
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - The policy with which a domain says that its mail servers do TLS with a certificate that is to be trusted
    (RFC 8461), and the identifier that has to change when the policy does.
positional: _input
options:
  _input:
    description: The name of the mail server.
    type: str
    required: true
  mode:
    description:
      - What others do when they cannot trust it.
      - V(testing), they tell; V(enforce), they send nothing; V(none), the policy is withdrawn.
    type: str
    choices: [testing, enforce, none]
    default: testing
  max_age:
    description: How long others may remember it, in seconds.
    type: int
    default: 604800
"""

EXAMPLES = r"""
- name: Say which policy that is
  ansible.builtin.debug:
    msg: "{{ (mail_hostname | postoffice.mail.mta_sts_policy(mode='enforce')).text }}"
"""

RETURN = r"""
_value:
  description: C(text), the policy, and C(id), its identifier.
  type: dict
  sample:
    text: "version: STSv1\r\nmode: testing\r\nmx: mail.example.org\r\nmax_age: 604800\r\n"
    id: 5f2d1f0e6c7a4b39
"""

import hashlib
from collections.abc import Callable

from ansible.errors import AnsibleFilterError

from ..module_utils.directory.names import domain_name

MODES = ("testing", "enforce", "none")
LONGEST = 31557600  # RFC 8461, 3.2


def mta_sts_policy(hostname: str, mode: str = "testing", max_age: int = 604800) -> dict[str, str]:
    """Return the policy and its identifier; an error says what cannot be one."""
    if mode not in MODES:
        raise AnsibleFilterError(f"mode: {mode!r} is none of {', '.join(MODES)}")
    if not 0 <= int(max_age) <= LONGEST:
        raise AnsibleFilterError(f"max_age: {max_age} is not between 0 and {LONGEST}, the limit for a policy")
    try:
        server = domain_name(hostname)
    except ValueError as error:
        raise AnsibleFilterError(f"hostname: {error}") from None
    text = f"version: STSv1\r\nmode: {mode}\r\nmx: {server}\r\nmax_age: {int(max_age)}\r\n"
    return {"text": text, "id": hashlib.sha256(text.encode()).hexdigest()[:16]}


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[..., dict[str, str]]]:
        return {"mta_sts_policy": mta_sts_policy}
