# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: dns_records
short_description: Say what a mail server and its domains need in the DNS
version_added: 0.1.0
author: The Post Office authors (@postoffice-mail)
description:
  - Returns the records for the server's name and its addresses, and of each domain where its mail goes, who may send as
    it, with which keys it signs, what others do with forged mail, and where clients find the server.
  - P(postoffice.mail.dns_records#module) compares them with what is published, P(postoffice.mail.zone_lines#filter)
    writes them as lines of a zone file.
options:
  _input:
    description: The names of the domains.
    type: list
    elements: str
    required: true
  relayed:
    description:
      - Domains of which the mail is passed on. Only where it goes is said of them; who sends as them is not known here.
    type: list
    elements: str
    default: []
  hostname:
    description: The name of the server.
    type: str
    required: true
  addresses:
    description: The addresses of the server.
    type: list
    elements: str
    default: []
  ports:
    description:
      - "The ports on which it serves clients, by service, as in C({imaps: 993}). Services are V(submissions),
        V(submission), V(imaps), V(imap), V(pop3s), V(pop3) and V(sieve). Of those that are left out it is published
        that they are not offered."
      - Without it, nothing is published about clients.
    type: dict
  key_digests:
    description: SHA-256, in hexadecimal, of the public keys that it has or will have on port 25, for DANE.
    type: list
    elements: str
    default: []
  dkim:
    description: The records of the DKIM keys, as P(postoffice.mail.dkim_key#module) returns them.
    type: list
    elements: dict
    default: []
  spf:
    description: The SPF record of the domains.
    type: str
    default: v=spf1 mx -all
  dmarc:
    description: The DMARC record of the domains, without C(rua).
    type: str
    default: v=DMARC1; p=none
  reports:
    description: The address for reports of others, of DMARC and TLS. Without one nobody is asked for reports.
    type: str
    default: ""
  authorities:
    description: Who may issue certificates for the server, as in V(letsencrypt.org). Without any, everybody may.
    type: list
    elements: str
    default: []
  labels:
    description: What stands before each domain in further names of the server, such as V(mail) and V(autoconfig).
    type: list
    elements: str
    default: []
  mta_sts:
    description: The identifier of the MTA-STS policy of the domains. Empty when they have none.
    type: str
    default: ""
  more:
    description: More records, each with C(name), C(type) and C(value), and perhaps C(domain) and C(purpose).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Show what is to be published
  ansible.builtin.debug:
    msg: "{{ ['example.org'] | postoffice.mail.dns_records(hostname=mail_hostname, addresses=['192.0.2.25'])
      | postoffice.mail.zone_lines | join('\n') }}\n"
"""

RETURN = r"""
_value:
  description: The records. C(domain) is whose DNS they belong to, and empty for names of addresses.
  type: list
  elements: dict
  sample:
    - domain: example.org
      name: example.org
      type: MX
      value: 10 mail.example.org.
      purpose: where its mail goes
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from ansible.errors import AnsibleFilterError

from ..module_utils.dns.records import RecordsError, Site, read_site, wanted


def dns_records(
    domains: Sequence[str],
    hostname: str,
    relayed: Sequence[str] = (),
    addresses: Sequence[str] = (),
    ports: Mapping[str, int] | None = None,
    key_digests: Sequence[str] = (),
    dkim: Sequence[Mapping[str, str]] = (),
    spf: str = Site.spf,
    dmarc: str = Site.dmarc,
    reports: str = "",
    authorities: Sequence[str] = (),
    labels: Sequence[str] = (),
    mta_sts: str = "",
    more: Sequence[Mapping[str, str]] = (),
) -> list[dict[str, str]]:
    """Return the records; an error names every place that is wrong."""
    given = {
        "hostname": hostname,
        "relayed": relayed,
        "addresses": addresses,
        "ports": ports,
        "key_digests": key_digests,
        "dkim": dkim,
        "spf": spf,
        "dmarc": dmarc,
        "reports": reports,
        "authorities": authorities,
        "labels": labels,
        "mta_sts": mta_sts,
        "more": more,
    }
    try:
        return [asdict(record) for record in wanted(read_site(domains, given))]
    except RecordsError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, str]]]]:
        return {"dns_records": dns_records}
