# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's name, in hostname(5) and hosts(5), and its time zone, in localtime(5)."""

from __future__ import annotations

ZONES = "/usr/share/zoneinfo/"
OWN_ADDRESS = "127.0.1.1"  # Debian's convention for the name of a host, see Debian Reference, section 5.1.1


def hosts_with(text: str, hostname: str) -> str:
    """The text of hosts(5) in which `hostname` has an address.

    A line that knows the name already is left alone; else the line of 127.0.1.1 is replaced, or added.
    """
    lines = text.splitlines()
    if any(hostname in line.partition("#")[0].split()[1:] for line in lines):
        return text
    own = f"{OWN_ADDRESS}\t{hostname} {hostname.partition('.')[0]}"
    kept = [line for line in lines if line.partition("#")[0].split()[:1] != [OWN_ADDRESS]]
    position = next((n + 1 for n, line in enumerate(kept) if line.split()[:1] == ["127.0.0.1"]), 0)
    return "\n".join([*kept[:position], own, *kept[position:]]) + "\n"


def zone_of(link: str) -> str:
    """The name of the time zone to which /etc/localtime is a link, for example `Europe/Berlin`; empty when unknown."""
    return link.partition("zoneinfo/")[2]
