# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: zone_lines
short_description: Turn records into lines of a zone file
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - The value of a TXT record that is longer than 255 octets, as the public half of an RSA key is, becomes several
    strings between quotation marks on the same line. Whoever looks it up puts them together again.
  - Every name ends with a dot, so that the lines mean the same in every zone.
options:
  _input:
    description:
      - The records, each with C(name) and C(value), as P(postoffice.mail.dkim_key#module) and
        P(postoffice.mail.dns_records#filter) return them. C(type) is V(TXT) where it is left out.
    type: list
    elements: dict
    required: true
  ttl:
    description: How long others may keep the records, in seconds.
    type: int
    default: 3600
  headings:
    description: Whether the records of each C(domain) begin with a comment that names it.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Write what is to be published into a file
  ansible.builtin.copy:
    content: "{{ dkim.records | postoffice.mail.zone_lines(ttl=86400) | join('\n') }}\n"
    dest: dkim.zone
    mode: "0644"
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: A line for each record.
  type: list
  elements: str
  sample: ['mail._domainkey.example.org. 3600 IN TXT "v=DKIM1; h=sha256; k=ed25519; p=..."']
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.zone_text import TYPES, line

NOBODY = "names of addresses, for whoever gave you the addresses"


def zone_lines(records: Sequence[Mapping[str, Any]], ttl: int = 3600, headings: bool = False) -> list[str]:
    """Return a line for each record; an error names the record."""
    lines: list[str] = []
    about: object = None
    for number, record in enumerate(records):
        missing = [field for field in ("name", "value") if not isinstance(record.get(field), str)]
        if missing:
            raise AnsibleFilterError(f"records[{number}].{missing[0]}: is missing, or no text")
        kind = record.get("type", "TXT")
        if kind not in TYPES:
            raise AnsibleFilterError(f"records[{number}].type: {kind!r} is none of {', '.join(TYPES)}")
        if headings and record.get("domain") != about:
            about = record.get("domain")
            lines += [*([""] if lines else []), f"; {about or NOBODY}"]
        try:
            lines.append(line(record["name"], kind, record["value"], int(ttl)))
        except ValueError as error:
            raise AnsibleFilterError(f"records[{number}]: {error}") from None
    return lines


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"zone_lines": zone_lines}
