# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host must be before it becomes a mail server. Reads only."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
LISTEN = "0A"  # the state of a listening socket in /proc/net/tcp, see proc(5)
ANOTHER_MTA = ("exim4", "sendmail-mta")  # replaced by the package manager when Postfix is installed


@dataclass(frozen=True)
class Wanted:
    """What is wanted of the host; `now` is the controller's time, in seconds since 1970."""

    hostname: str
    releases: Collection[str]
    ports: Collection[int]
    services: Collection[str]
    memory: int
    disk: int
    clock_skew: int
    now: float
    memory_of_roles: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Host:
    """What was read from the host: sizes in MiB, `listeners` maps a port to the names of its processes."""

    os_release: Mapping[str, str]
    init: str
    memory: int
    disk: int
    clock: float
    addresses: Collection[str]
    resolved: Collection[str]
    listeners: Mapping[int, Collection[str]]


@dataclass
class Findings:
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def judge(host: Host, wanted: Wanted) -> Findings:
    """Compare the host with what is wanted: errors would break it, warnings are for the operator to know."""
    findings = Findings()
    findings.errors += hostname_errors(wanted.hostname)
    release = f"{host.os_release.get('ID', 'unknown')} {host.os_release.get('VERSION_ID', '')}".strip()
    if wanted.releases and release not in wanted.releases:
        known = ", ".join(wanted.releases)
        findings.errors.append(f"release: {release} is not among {known} (preflight_releases)")
    if host.init != "systemd":
        findings.errors.append(f"init: the host runs {host.init}, systemd is needed")
    findings.errors += memory_errors(host.memory, wanted)
    if host.disk < wanted.disk:
        findings.errors.append(
            f"disk: {host.disk} MiB free below /var, at least {wanted.disk} MiB are needed (preflight_disk)"
        )
    skew = round(abs(host.clock - wanted.now))
    if skew > wanted.clock_skew:
        findings.errors.append(
            f"time: the host's clock is {skew} seconds off the controller's, at most {wanted.clock_skew} are accepted"
            " (preflight_clock_skew)"
        )
    for port in sorted(wanted.ports):
        judge_listener(port, host.listeners.get(port, ()), wanted.services, findings)
    judge_resolution(host, wanted.hostname, findings)
    return findings


def memory_errors(memory: int, wanted: Wanted) -> list[str]:
    """What is too little, and what the operator may choose: more memory, or less to run."""
    if memory < wanted.memory:
        return [f"memory: {memory} MiB, at least {wanted.memory} MiB are needed (preflight_memory)"]
    needed = wanted.memory
    for role, size in wanted.memory_of_roles.items():
        needed += int(size)
        if memory < needed:
            return [
                f"memory: {memory} MiB, at least {needed} MiB are needed, {size} of them for {role}"
                f" ({role}_enabled: false does without it, {role}_memory: 0 tries it anyway)"
            ]
    return []


def judge_listener(port: int, processes: Collection[str], services: Collection[str], findings: Findings) -> None:
    """A daemon and those that it starts hold the same socket: one of them has to be known."""
    if not processes or set(processes) & set(services):
        return
    names = ", ".join(sorted(processes))
    if set(processes) & set(ANOTHER_MTA):
        findings.warnings.append(f"port {port}: {names} listens there; the package manager replaces it by Postfix")
    else:
        findings.errors.append(f"port {port}: {names} listens there; stop it or choose another host")


def judge_resolution(host: Host, hostname: str, findings: Findings) -> None:
    if not host.resolved:
        findings.warnings.append(f"name: {hostname} has no address in the DNS yet; other servers will refuse its mail")
    elif not set(host.resolved) & set(host.addresses):
        addresses = ", ".join(sorted(host.resolved))
        findings.warnings.append(f"name: {hostname} resolves to {addresses}, which is no address of this host")


def hostname_errors(hostname: str) -> list[str]:
    """A mail server's name is a fully qualified domain name (RFC 5321, section 2.3.5)."""
    try:
        ipaddress.ip_address(hostname)
    except ValueError:
        pass
    else:
        return [f"mail_hostname: {hostname} is an address; a name such as mail.example.org is needed"]
    labels = hostname.split(".")
    if len(labels) < 2 or len(hostname) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        return [
            f"mail_hostname: {hostname!r} is no fully qualified domain name in lower case, such as mail.example.org"
        ]
    return []


def parse_os_release(text: str) -> dict[str, str]:
    """Read os-release(5)."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key: value.strip("\"'") for key, value in pairs}


def parse_meminfo(text: str) -> int:
    """MemTotal of proc_meminfo(5) in MiB."""
    found = re.search(r"^MemTotal:\s+(\d+) kB$", text, flags=re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


def parse_listening(tables: Iterable[str]) -> dict[str, int]:
    """Ports by socket inode, from the texts of /proc/net/tcp and tcp6."""
    rows = (line.split() for table in tables for line in table.splitlines()[1:])
    return {row[9]: int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTEN}


def read_listeners(proc: Path, ports: Collection[int]) -> dict[int, set[str]]:
    """Who listens on `ports`. Needs root to see the processes of others."""
    tables = [path.read_text() for path in (proc / "net/tcp", proc / "net/tcp6") if path.exists()]
    inodes = {f"socket:[{inode}]": port for inode, port in parse_listening(tables).items() if port in ports}
    found: dict[int, set[str]] = {port: set() for port in inodes.values()}
    if not inodes:
        return found
    for descriptor in proc.glob("[0-9]*/fd/*"):
        try:
            port = inodes.get(str(descriptor.readlink()))
            if port is not None:
                found[port].add(process_name(descriptor.parent.parent))
        except OSError:  # the process has ended meanwhile
            continue
    return {port: names or {"an unknown process"} for port, names in found.items()}


def process_name(process: Path) -> str:
    """The name of the program; for a socket that systemd holds for a unit, `systemd`."""
    return (process / "comm").read_text().strip()


def read_host(wanted: Wanted, *, run: Callable[[list[str]], str], free: Callable[[str], int], clock: float) -> Host:
    """Read what `judge` needs. `run` returns a program's output, `free` the free bytes of a folder's file system."""
    proc = Path("/proc")
    return Host(
        os_release=parse_os_release(Path("/etc/os-release").read_text()),
        init=process_name(proc / "1"),
        memory=parse_meminfo((proc / "meminfo").read_text()),
        disk=free("/var") // 2**20,
        clock=clock,
        addresses=own_addresses(proc),
        resolved=parse_ahosts(run(["getent", "-s", "dns", "ahosts", wanted.hostname])),
        listeners=read_listeners(proc, wanted.ports),
    )


def own_addresses(proc: Path) -> set[str]:
    """The host's addresses other than loopback, from /proc/net/fib_trie and if_inet6."""
    trie = proc / "net/fib_trie"
    found = set(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", trie.read_text())) if trie.exists() else set()
    inet6 = proc / "net/if_inet6"
    rows = inet6.read_text().splitlines() if inet6.exists() else []
    found |= {str(ipaddress.IPv6Address(bytes.fromhex(row.split()[0]))) for row in rows}
    return {address for address in found if not ipaddress.ip_address(address).is_loopback}


def parse_ahosts(output: str) -> set[str]:
    """The addresses that `getent -s dns ahosts NAME` prints: the DNS only, as /etc/hosts names the host 127.0.1.1."""
    addresses = {line.split()[0] for line in output.splitlines() if line.strip()}
    return {address for address in addresses if not ipaddress.ip_address(address.partition("%")[0]).is_loopback}
