"""The small internet around the host: send as others do, change the DNS, and see what others got and thought of it.

Who there is, is in tools/internet/world.py.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import dkim
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from .deployment import Deployment, Shell
from .elsewhere import Arrival, Elsewhere
from .mail import compose
from .smtp import Reply
from .waiting import wait_for

JUDGE = "judge.example"
SELECTOR = "s1"
SIGNED_HEADERS = (b"From", b"To", b"Subject", b"Date", b"Message-ID")

# Asks the resolver of the host on which it runs: a DNS message in, its answer out, both in base64.
ASK = """
import base64, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(float(sys.argv[2]))
    asking.connect((sys.argv[1], 53))
    asking.send(base64.b64decode(sys.argv[3]))
    print(base64.b64encode(asking.recv(65535)).decode())
"""


@dataclass(frozen=True)
class Party:
    """Somebody with a domain and a server; `addresses` begins with that of the server, a pool has more."""

    domain: str
    mx: str
    addresses: Sequence[str]
    addresses6: Sequence[str]
    dkim: bool
    public_digest: str  # of the key in its certificate, as TLSA 3 1 1 has it


@dataclass(frozen=True)
class Conversation:
    """What somebody sent and how the server answered each step."""

    message: EmailMessage
    steps: Sequence[tuple[str, Reply]]

    def reply(self, step: str) -> Reply:
        """The answer to one step: CONNECT, EHLO, MAIL, `RCPT address`, DATA, MESSAGE."""
        return next(reply for name, reply in self.steps if name == step)

    @property
    def last(self) -> Reply:
        """The answer that decided: the first refusal, else that to the message."""
        answers = [(name, reply) for name, reply in self.steps if name != "QUIT"]
        return next((reply for _name, reply in answers if not reply.ok), answers[-1][1])

    @property
    def accepted(self) -> bool:
        return any(name == "MESSAGE" and reply.ok for name, reply in self.steps)


@dataclass(frozen=True)
class Judgement:
    """What a foreign server thought of a message: the result of each method, as `spf` to `pass`."""

    results: Mapping[str, str]

    @classmethod
    def of(cls, message: EmailMessage) -> Judgement:
        """From the Authentication-Results (RFC 8601) that the judge added."""
        results: dict[str, str] = {}
        for header in message.get_all("Authentication-Results", []):
            server, _unused, rest = str(header).partition(";")
            if server.strip() == JUDGE:
                results |= dict(re.findall(r"\b(spf|dkim|dmarc)=(\w+)", rest))
        return cls(results)


class Internet:
    """Everybody else."""

    def __init__(self, deployment: Deployment) -> None:
        self.facts: Mapping[str, Any] = deployment.description["internet"]
        self.parties = {domain: Party(domain, **facts) for domain, facts in self.facts["parties"].items()}
        self.elsewhere = Elsewhere(deployment.description["elsewhere"])
        self.shell: Shell = self.elsewhere.shell
        self.deployment = deployment
        self._dkim_keys: dict[str, bytes] = {}

    # Mail.

    def send_from(
        self,
        domain: str,
        to: str | Sequence[str],
        *,
        message: EmailMessage | None = None,
        envelope_sender: str | None = None,
        helo: str | None = None,
        sign: bool | None = None,
        version: int = 4,
        which: int = 0,
        target: str | None = None,
        tls: bool = True,
        data: bytes | None = None,
    ) -> Conversation:
        """Deliver from a party's address, step by step; by default to the host under test, signed if the party does.

        `which` picks an address of a pool, `target` another server's, `data` is the message byte
        for byte. Nothing is demanded: see the conversation.
        """
        party = self.parties[domain]
        recipients = [to] if isinstance(to, str) else list(to)
        sender = f"somebody@{domain}"
        message = message or compose(to=", ".join(recipients), sender=sender)
        if data is None:
            data = message.as_bytes()
            if party.dkim if sign is None else sign:
                data = self.signed(data, domain)
        asked = {
            "source": (party.addresses if version == 4 else party.addresses6)[which],
            "target": target or self.deployment.address(version),
            "helo": helo or party.mx,
            "sender": sender if envelope_sender is None else envelope_sender,
            "recipients": recipients,
            "data": base64.b64encode(data).decode(),
            "tls": tls,
        }
        told = self.shell.run(
            "env", "PYTHONPATH=/usr/local/lib", "python3", "-B", "-m", "internet.say", stdin=json.dumps(asked)
        ).stdout
        return Conversation(
            message, [(name, Reply(code, tuple(text.splitlines()))) for name, code, text in json.loads(told)]
        )

    def mail_from(self, domain: str, to: str, *, message: EmailMessage | None = None) -> EmailMessage:
        """Hand a message to a party's own mail server, which signs it, queues it and tries again as servers do."""
        sender = f"somebody@{domain}"
        message = message or compose(to=to, sender=sender)
        text = message.as_string().replace("\r\n", "\n")
        self.shell.run("sendmail", "-i", "-f", sender, to, stdin=text)
        return message

    def signed(self, data: bytes, domain: str) -> bytes:
        """The message with the DKIM signature of a party."""
        signature: bytes = dkim.sign(
            data, SELECTOR.encode(), domain.encode(), self._dkim_key(domain), include_headers=list(SIGNED_HEADERS)
        )
        return signature + data

    def _dkim_key(self, domain: str) -> bytes:
        if domain not in self._dkim_keys:
            self._dkim_keys[domain] = self.shell.output("cat", f"/var/lib/internet/dkim/{domain}.pem").encode()
        return self._dkim_keys[domain]

    def received(self, message: EmailMessage | str) -> Arrival:
        """The copy of a message that a server of this internet got."""
        return self.elsewhere.wait_for(message)

    def judged(self, message: EmailMessage | str) -> Judgement:
        """What the server that got it thought of it."""
        return Judgement.of(self.received(message).message)

    # The DNS.

    def ask(self, name: str, kind: str, *, checking: bool = True, timeout: float = 10) -> dns.message.Message:
        """What everybody else's resolver, which validates, says; `checking` off takes bogus answers as well."""
        return dns.query.udp(question(name, kind, checking), str(self.facts["resolver"]), timeout=timeout)

    def ask_host(self, name: str, kind: str, *, checking: bool = True, timeout: float = 10) -> dns.message.Message:
        """What the resolver of the host under test says to the host."""
        wire = base64.b64encode(question(name, kind, checking).to_wire()).decode()
        answer = self.deployment.shell.run("python3", "-", "127.0.0.1", str(timeout), wire, stdin=ASK).stdout
        return dns.message.from_wire(base64.b64decode(answer))

    @contextmanager
    def records(self, zone: str, owner: str, kind: str, *data: str) -> Iterator[None]:
        """For a while, a name in a zone has these records of a type and no other; none at all when there are no data.

        `owner` is relative to the zone, `@` for itself. Signed zones sign them. Resolvers know them when this begins.
        """
        before = self._zone_read(zone, owner, kind)
        self._zone_write(zone, owner, kind, data)
        try:
            yield
        finally:
            self._zone_write(zone, owner, kind, before)

    @contextmanager
    def changing(self, *zones: str) -> Iterator[None]:
        """Zones are as they were once this ends, whoever changed them by updates meanwhile."""
        try:
            yield
        finally:
            for zone in zones:
                self.shell.run("knotc", "--blocking", "zone-reload", zone)

    def _zone_read(self, zone: str, owner: str, kind: str) -> list[str]:
        # [example.org.] name ttl type data; there is nothing to read when it fails
        lines = self.shell.run("knotc", "zone-read", zone, owner, kind, check=False).stdout.splitlines()
        return [line.split(None, 4)[4] for line in lines if line.startswith("[")]

    def _zone_write(self, zone: str, owner: str, kind: str, data: Sequence[str]) -> None:
        commands = [["zone-begin", zone]]
        if self._zone_read(zone, owner, kind):
            commands.append(["zone-unset", zone, owner, kind])
        commands += [["zone-set", zone, owner, "1", kind, each] for each in data]
        commands.append(["zone-commit", zone])
        for command in commands:
            self.shell.run("knotc", *command)
        name = zone if owner == "@" else f"{owner}.{zone}"
        origin = dns.name.from_text(zone)
        wanted = {dns.rdata.from_text(dns.rdataclass.IN, kind, each, origin, relativize=False) for each in data}
        for ask in (self.ask, self.ask_host) if self.deployment.resolves else (self.ask,):
            self._wait_until_seen(ask, name, kind, wanted)

    def _wait_until_seen(
        self, ask: Callable[[str, str], dns.message.Message], name: str, kind: str, wanted: set[dns.rdata.Rdata]
    ) -> None:
        wait_for(lambda: set(records(ask(name, kind), kind)) == wanted, f"{name} {kind} in the DNS")


def question(name: str, kind: str, checking: bool = True) -> dns.message.Message:
    """A question of somebody who wants to know whether the answer was validated."""
    asked = dns.message.make_query(name, kind, use_edns=0)
    asked.flags |= dns.flags.AD
    if not checking:
        asked.flags |= dns.flags.CD
    return asked


def records(answer: dns.message.Message, kind: str) -> list[dns.rdata.Rdata]:
    wanted = dns.rdatatype.from_text(kind)
    return [rdata for rrset in answer.answer if rrset.rdtype == wanted for rdata in rrset]


def texts(answer: dns.message.Message, kind: str) -> set[str]:
    return {str(rdata) for rdata in records(answer, kind)}


def validated(answer: dns.message.Message) -> bool:
    return bool(answer.flags & dns.flags.AD)
