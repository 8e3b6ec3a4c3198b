# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell Postfix how much TLS a destination wants: postoffice-tls-policy serve|check|probe.

mta-sts-daemon knows the policies of MTA-STS (RFC 8461), and its answer takes the place of whatever Postfix would do
by itself, DANE included. A policy must not override DANE that fails (RFC 8461, 2), so this server stands in between:
it asks the daemon, and where that has a policy it looks whether the domain has genuine TLSA records (RFC 7672). If so,
Postfix is told to insist on them. It speaks the socketmap protocol (socketmap_table(5)) on both sides.

serve    on the socket that systemd hands over (sd_listen_fds(3))
check    whether the daemon takes its settings; 127 when it is not there yet
probe    whether server and daemon answer, with the settings of now
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import ipaddress
import json
import os
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.name
import dns.rdata
import dns.resolver

SETTINGS = Path("/etc/postoffice/tls-policy.json")
RESOLV_CONF = "/etc/resolv.conf"
FIRST_SOCKET = 3  # sd_listen_fds(3)
LONGEST_REQUEST = 8192  # of a name there are 253 octets at most
LONGEST_REPLY = 100_000  # the protocol's limit
PROBE_SECONDS = 10.0
DNS_SECONDS = 10.0  # for one question
NOT_INSTALLED = 127
ABOUT_ITSELF = "postoffice-tls-policy"
PROTOCOL = "protocol"  # the name that the daemon's map goes by, which it does not mind
NOBODY = ".postoffice.invalid"  # the daemon answers questions about parent domains without looking anything up

# A next hop whose servers the DNS names: a domain, perhaps with a port. Not: [servers], addresses, parents of domains.
DOMAIN = re.compile(r"((?:[a-z0-9_-]+\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?)\.?(?::(\d+|smtp))?")
SMTP = 25
UNSECURED = "TEMP the DNS does not tell whether DANE is wanted"

# What a TLSA record may say for mail (RFC 7672, 3.1): who is named, what of them, and how long it is, in which form.
USAGES, SELECTORS = (2, 3), (0, 1)
LENGTHS = {0: None, 1: 32, 2: 64}


@dataclass(frozen=True)
class Settings:
    """Where the daemon and this server listen, the daemon's settings, and whether DANE comes first."""

    socket: str
    daemon: str
    daemon_settings: str
    dane: bool
    timeout: float
    digest: str

    @classmethod
    def read(cls, path: Path) -> Settings:
        text = path.read_bytes()
        given: dict[str, Any] = json.loads(text)
        digest = hashlib.sha256(text).hexdigest()
        return cls(given["socket"], given["daemon"], given["daemon_settings"], given["dane"], given["timeout"], digest)


class UnknownError(Exception):
    """The DNS cannot tell."""


@dataclass(frozen=True)
class Found:
    """The records of a name, whether they are genuine, and what the name is in full (aliases followed)."""

    records: Sequence[dns.rdata.Rdata]
    genuine: bool
    name: str


class Directory(Protocol):
    """The DNS as far as it is asked here; raises ``UnknownError``."""

    async def ask(self, name: str, kind: str) -> Found:
        """Return the records of a type that a name has, none when there is no such name."""


class Dns:
    """The resolver that the host asks. What it calls genuine is believed when nobody stands between it and the host."""

    def __init__(self, resolv_conf: str = RESOLV_CONF) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(resolv_conf)
        except dns.exception.DNSException as error:
            raise UnknownError(f"{resolv_conf}: {error}") from error
        self._resolver.lifetime = DNS_SECONDS
        self._resolver.use_edns(0, dns.flags.DO, 1232)
        self._resolver.flags = dns.flags.RD | dns.flags.AD
        self.trusted = all(is_loopback(str(server)) for server in self._resolver.nameservers)

    async def ask(self, name: str, kind: str) -> Found:
        asked = dns.name.from_text(name)
        try:
            answer = await self._resolver.resolve(asked, kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            return Found((), False, name)
        except (dns.exception.DNSException, OSError) as error:
            raise UnknownError(f"{name} {kind}: {error}") from error
        genuine = self.trusted and bool(answer.response.flags & dns.flags.AD)
        records = tuple(answer.rrset) if answer.rrset is not None else ()
        return Found(records, genuine, text_of(answer.canonical_name))


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def text_of(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def usable(record: Any) -> bool:
    """Whether a TLSA record can confirm a certificate of a mail server."""
    length = LENGTHS.get(record.mtype, -1)
    return record.usage in USAGES and record.selector in SELECTORS and length in (None, len(record.cert))


async def is_confirmed(directory: Directory, host: str, port: int) -> bool:
    """Whether genuine TLSA records say what certificate a server has (RFC 7672, 2.2.2)."""
    addresses = await directory.ask(host, "A")
    names = [addresses.name, host] if addresses.genuine else [host]
    # An address that is not genuine may still belong to an alias that is.
    if not addresses.genuine and (addresses.name == host or not (await directory.ask(host, "CNAME")).genuine):
        return False
    for name in dict.fromkeys(names):
        found = await directory.ask(f"_{port}._tcp.{name}", "TLSA")
        if found.genuine and found.records:
            return any(usable(record) for record in found.records)
    return False


async def wants_dane(directory: Directory, domain: str, port: int) -> bool:
    """Whether one of a domain's servers at least is confirmed by the DNS, and is genuinely the domain's.

    Servers that a forger may have named do not count: they would bring their own records.
    """
    servers = await directory.ask(domain, "MX")
    if not servers.genuine:
        return False
    hosts: list[str] = [text_of(getattr(record, "exchange")) for record in servers.records] or [domain]  # noqa: B009
    return any(await asyncio.gather(*(is_confirmed(directory, host, port) for host in hosts if host)))


async def answer(settings: Settings, request: bytes) -> str:
    """Return the reply to ``map destination``."""
    name, _blank, key = request.partition(b" ")
    if name == ABOUT_ITSELF.encode():
        alive = await ask_daemon(settings, NOBODY)
        return f"OK {settings.digest}" if alive.startswith("NOTFOUND") else alive
    found = DOMAIN.fullmatch(key.decode("ascii", "replace").lower())
    if found is None:
        return "NOTFOUND "
    policy = await ask_daemon(settings, found[1])
    if not policy.startswith("OK ") or not settings.dane:
        return policy
    port = SMTP if found[2] in (None, "smtp") else int(found[2])
    try:
        return "OK dane-only" if await wants_dane(Dns(), found[1], port) else policy
    except UnknownError as error:
        print(f"{found[1]} has a policy, and perhaps DANE: {error}", file=sys.stderr, flush=True)
        return UNSECURED


async def ask_daemon(settings: Settings, domain: str) -> str:
    """What the daemon answers about a domain; TEMP when it does not."""
    try:
        async with asyncio.timeout(settings.timeout):
            stream, requests = await asyncio.open_unix_connection(settings.daemon, limit=LONGEST_REPLY)
            try:
                requests.write(netstring(f"{PROTOCOL} {domain}"))
                await requests.drain()
                return (await read_netstring(stream, LONGEST_REPLY)).decode("ascii")
            finally:
                requests.close()
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        print(f"{settings.daemon}: {str(error) or type(error).__name__}", file=sys.stderr, flush=True)
        return "TEMP mta-sts-daemon does not answer"


def netstring(text: str) -> bytes:
    """Encode as LENGTH:TEXT, with a comma behind."""
    data = text.encode()
    return b"%d:%b," % (len(data), data)


async def read_netstring(stream: asyncio.StreamReader, longest: int) -> bytes:
    """Read one netstring; raises ``ValueError`` for what is none, ``asyncio.IncompleteReadError`` at the end."""
    head = (await stream.readuntil(b":"))[:-1]
    if not head.isdigit() or not head.isascii() or int(head) > longest:
        raise ValueError("no netstring, or one that is too long")
    data = await stream.readexactly(int(head) + 1)
    if not data.endswith(b","):
        raise ValueError("no comma after a netstring")
    return data[:-1]


async def serve(settings: Settings) -> None:
    """Answer until the process is ended; Postfix connects again by itself and asks once more."""
    if os.environ.get("LISTEN_FDS") != "1":
        raise SystemExit("postoffice-tls-policy: started without a socket; it belongs to postoffice-tls-policy.socket")

    async def talk(stream: asyncio.StreamReader, replies: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ValueError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                request = await read_netstring(stream, LONGEST_REQUEST)
                replies.write(netstring(await answer(settings, request)))
                await replies.drain()
        replies.close()

    server = await asyncio.start_unix_server(talk, sock=socket.socket(fileno=FIRST_SOCKET), limit=LONGEST_REQUEST)
    await server.serve_forever()


async def construct(settings: Settings) -> None:
    """Make of the daemon's settings what it makes of them, without starting anything; raises what it raises."""
    utils = importlib.import_module("postfix_mta_sts_resolver.utils")
    responder = importlib.import_module("postfix_mta_sts_resolver.responder")
    given = utils.load_config(settings.daemon_settings)
    cache = utils.create_cache(given["cache"]["type"], given["cache"]["options"])
    responder.STSSocketmapResponder(given, asyncio.get_running_loop(), cache)


def check(settings: Settings) -> int:
    """Print what is wrong; return the exit status."""
    try:
        asyncio.run(construct(settings))
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        return NOT_INSTALLED
    except Exception as error:  # whatever the daemon would end with
        print(f"{settings.daemon_settings}: {error!r}", file=sys.stderr)
        return 1
    return 0


async def ask(path: str, request: str) -> str:
    """Ask a running server one question."""
    stream, requests = await asyncio.open_unix_connection(path, limit=LONGEST_REPLY)
    requests.write(netstring(request))
    reply = await read_netstring(stream, LONGEST_REPLY)
    requests.close()
    return reply.decode()


def probe(settings: Settings) -> int:
    """Ask the running server, which asks the daemon; return the exit status and say what is wrong."""
    try:
        said = asyncio.run(asyncio.wait_for(ask(settings.socket, f"{ABOUT_ITSELF} settings"), PROBE_SECONDS))
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        print(f"{settings.socket}: {str(error) or type(error).__name__}", file=sys.stderr)
        return 1
    if said != f"OK {settings.digest}":
        print(f"{settings.socket}: {'other settings' if said.startswith('OK ') else said}", file=sys.stderr)
        return 1
    return 0


def main(arguments: list[str]) -> int:
    settings = Settings.read(SETTINGS)
    if arguments == ["serve"]:
        asyncio.run(serve(settings))
        return 0
    actions = {"check": check, "probe": probe}
    if len(arguments) != 1 or arguments[0] not in actions:
        print("usage: postoffice-tls-policy serve|check|probe", file=sys.stderr)
        return 2
    return actions[arguments[0]](settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
