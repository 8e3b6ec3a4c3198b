# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a host asks for names: resolv.conf(5), and what else writes it.

DHCP clients and network managers write /etc/resolv.conf whenever they please. Once the host has a resolver of its own
they are told, in the way that each of them offers, to leave the file alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

RESOLV_CONF = "/etc/resolv.conf"
MARK = "# Written by Ansible, postoffice.mail.host_resolver; the former one is kept in /var/lib/postoffice."
KEPT = "/var/lib/postoffice/resolv.conf.json"
# What Postfix and others need to see whether an answer was validated, and answers larger than 512 bytes.
OPTIONS = ("edns0", "trust-ad")

# By what must exist for a file to be of use: the file, and what is in it.
HOOKS: Mapping[str, tuple[str, str]] = {
    "/etc/dhcp/dhclient-enter-hooks.d": (
        "/etc/dhcp/dhclient-enter-hooks.d/postoffice",
        f"{MARK}\nmake_resolv_conf() {{ :; }}\n",
    ),
    "/etc/dhcpcd.conf": ("/etc/dhcpcd.enter-hook", f'{MARK}\nskip_hooks="$skip_hooks resolv.conf"\n'),
    "/etc/NetworkManager/conf.d": ("/etc/NetworkManager/conf.d/postoffice.conf", f"{MARK}\n[main]\ndns=none\n"),
}


@dataclass(frozen=True)
class File:
    """A file as it is: its text (None: there is none), or where it is a symbolic link to."""

    text: str | None
    link: str = ""

    @property
    def ours(self) -> bool:
        return not self.link and MARK in (self.text or "")


@dataclass(frozen=True)
class Plan:
    """What to do: files by path, None for those to remove; `link` is the target when resolv.conf becomes one again."""

    files: Mapping[str, str | None] = field(default_factory=dict)
    link: str = ""
    warnings: tuple[str, ...] = ()


def asking(text: str, nameserver: str) -> str:
    """The text of resolv.conf(5) with this nameserver alone; what else it says stays."""
    kept: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] in (["search"], ["domain"], ["sortlist"]):
            kept.append(" ".join(words))
        elif words[:1] == ["options"]:
            options += words[1:]
    options = list(dict.fromkeys([*options, *OPTIONS]))
    return "\n".join([MARK, *kept, f"nameserver {nameserver}", f"options {' '.join(options)}"]) + "\n"


def switch(nameserver: str, current: File, read: Callable[[str], File]) -> Plan:
    """Have the host ask `nameserver` and nobody else. `read` tells what there is at a path."""
    files: dict[str, str | None] = {}
    warnings = []
    for sign, (path, text) in HOOKS.items():
        there = read(path)
        if read(sign).text is None or there.text == text:
            continue
        if there.text is None or there.ours:
            files[path] = text
        else:
            warnings.append(f"{path} is somebody else's and may write {RESOLV_CONF} again; it should end with: {text}")
    wanted = asking(current.text or "", nameserver)
    if current.link or current.text != wanted:
        if not current.ours:
            files[KEPT] = json.dumps({"text": current.text, "link": current.link}) + "\n"
        files[RESOLV_CONF] = wanted
    return Plan(files, warnings=tuple(warnings))


def restore(current: File, read: Callable[[str], File]) -> Plan:
    """Have the host ask whom it asked before."""
    if not current.ours:
        return Plan()
    kept = read(KEPT).text
    if kept is None:
        return Plan(warnings=(f"{KEPT} is gone: nobody knows whom the host asked before; {RESOLV_CONF} stays",))
    former = json.loads(kept)
    hooks: dict[str, str | None] = {path: None for path, _text in HOOKS.values() if read(path).ours}
    return Plan({**hooks, RESOLV_CONF: former["text"], KEPT: None}, link=former["link"])


def is_mounted(mountinfo: str, path: str) -> bool:
    """Whether proc_pid_mountinfo(5) says that something is mounted right there, as container engines do."""
    return any(line.split()[4:5] == [path] for line in mountinfo.splitlines())
