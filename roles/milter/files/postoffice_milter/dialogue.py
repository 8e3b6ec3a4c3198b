# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection of a mail server: what it says becomes a session's events, what the checks say its answers.

Whatever goes wrong in here is answered with a deferral; nothing passes unchecked. The checks know nothing of the
protocol, the protocol nothing of the checks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from . import protocol
from .content import AddField, Client, RemoveField
from .protocol import ProtocolError, packet
from .session import Session
from .verdict import LATER, Reply, UnavailableError, printable

LOG = logging.getLogger("postoffice_milter")
LOGIN = b"{auth_authen}"
RECIPIENT = b"{rcpt_addr}"
QUEUE_ID, HOST = b"i", b"j"
CONTENT_STEPS = protocol.NO_CONNECT | protocol.NO_HELO | protocol.NO_BODY
CONTENT_ACTIONS = protocol.ADD_FIELDS | protocol.CHANGE_FIELDS
ADDRESS_FAMILIES = b"46"
MACROS = {
    protocol.MACROS_OF_CONNECTION: HOST.decode(),
    protocol.MACROS_OF_MAIL: LOGIN.decode(),
    protocol.MACROS_OF_RECIPIENT: RECIPIENT.decode(),
    protocol.MACROS_OF_MESSAGE: QUEUE_ID.decode(),
}
GO_ON = packet(protocol.CONTINUE)
# What a milter answers by name; the rest are orders.
ANSWERED = {
    protocol.CONNECT,
    protocol.HELO,
    protocol.MAIL,
    protocol.RECIPIENT,
    protocol.DATA,
    protocol.UNKNOWN,
    protocol.HEADER,
    protocol.END_OF_HEADERS,
    protocol.BODY,
    protocol.END_OF_MESSAGE,
}


class Dialogue:
    """Reads packets from ``stream`` and hands the answers to ``send`` until the mail server leaves."""

    def __init__(
        self, session: Session, stream: BinaryIO, send: Callable[[bytes], object], wants_content: bool = False
    ) -> None:
        self._wants_content = wants_content
        self._session = session
        self._stream = stream
        self._send = send
        self._macros: dict[bytes, dict[bytes, bytes]] = {}
        self._header_is_answered = True
        self._may_skip = False
        self._deferred: Reply | None = None
        self._events: dict[bytes, Callable[[bytes], bytes]] = {
            protocol.CONNECT: self._connect,
            protocol.HELO: self._helo,
            protocol.MAIL: self._mail,
            protocol.RECIPIENT: self._recipient,
            protocol.DATA: self._data,
            protocol.HEADER: self._header,
            protocol.END_OF_HEADERS: self._end_of_headers,
            protocol.BODY: self._body,
            protocol.END_OF_MESSAGE: self._end_of_message,
        }

    def run(self) -> None:
        """Serve the connection; raises :class:`ProtocolError` and ``OSError``."""
        first = protocol.read_packet(self._stream)
        if first is None:
            return
        self._negotiate(*first)
        while (said := protocol.read_packet(self._stream)) and said[0] != protocol.QUIT:
            self._hear(*said)

    def _negotiate(self, command: bytes, payload: bytes) -> None:
        """Choose the events that are needed, of those that the mail server offers, and the macros."""
        if command != protocol.NEGOTIATE:
            raise ProtocolError(f"{command!r} before the negotiation")
        version, actions, steps, _macros = protocol.read_negotiation(payload)
        if version < protocol.OLDEST_VERSION:
            raise ProtocolError(f"version {version} of the protocol")
        self._may_skip = bool(steps & protocol.CAN_SKIP)
        unwanted = protocol.NO_UNKNOWN | protocol.CAN_SKIP | (0 if self._wants_content else CONTENT_STEPS)
        steps &= unwanted | protocol.NO_HEADER_REPLY
        self._header_is_answered = not steps & protocol.NO_HEADER_REPLY
        wanted = actions & protocol.SET_MACROS
        if self._wants_content:
            if actions & CONTENT_ACTIONS != CONTENT_ACTIONS:
                raise ProtocolError("the mail server lets no milter change the header")
            wanted |= CONTENT_ACTIONS
        macros = MACROS if actions & protocol.SET_MACROS else {}
        self._send(protocol.negotiation(wanted, steps, macros, min(version, protocol.VERSION)))

    def _hear(self, command: bytes, payload: bytes) -> None:
        if command == protocol.MACROS:
            self._macros[payload[:1]] = dict(protocol.pairs(payload[1:]))
        elif command in (protocol.ABORT, protocol.QUIT_BUT_STAY):
            self._session.finish()
        elif command not in ANSWERED:
            raise ProtocolError(f"unknown command {command!r}")
        else:
            answer = self._answer(command, payload)
            if command != protocol.CONNECT:
                self._macros.pop(command, None)  # a login or a recipient is good for one command
            if command != protocol.HEADER or self._header_is_answered:
                self._send(answer)

    def _answer(self, command: bytes, payload: bytes) -> bytes:
        """Return what an event leads to, a deferral when it fails."""
        event = self._events.get(command)
        if event is None:
            return GO_ON
        try:
            return event(payload)
        except ProtocolError:
            raise
        except UnavailableError as error:
            LOG.error("message deferred: %s", printable(str(error), 300))
        except Exception:
            LOG.exception("message deferred: error in %s", event.__name__)
        if command == protocol.HEADER and not self._header_is_answered:
            self._deferred = LATER
        return reply_packet(LATER)

    def _macro(self, command: bytes, name: bytes) -> str:
        return _text(self._macros.get(command, {}).get(name, b""))

    def _judged(self, reply: Reply | None) -> bytes:
        if reply is None:
            return GO_ON
        envelope = self._session.envelope
        LOG.log(
            logging.WARNING if reply.notable else logging.INFO,
            "refused, login <%s>, sender %s: %s", printable(envelope.login), printable(envelope.sender), reply,
        )  # fmt: skip
        return reply_packet(reply)

    def _connect(self, payload: bytes) -> bytes:
        """A client connected: its name, and behind family and port its address."""
        name, end, rest = payload.partition(b"\0")
        if not end:
            raise ProtocolError("a connection without a family")
        address = ""
        if rest[:1] and rest[:1] in ADDRESS_FAMILIES:
            address = _text(protocol.strings(rest[3:])[0]).removeprefix("IPv6:")
        self._session.client = Client(_text(name), address)
        return GO_ON

    def _helo(self, payload: bytes) -> bytes:
        """HELO or EHLO."""
        self._session.client = replace(self._session.client, helo=_text(protocol.strings(payload)[0]))
        return GO_ON

    def _mail(self, payload: bytes) -> bytes:
        """MAIL FROM."""
        sender, *parameters = map(_text, protocol.strings(payload))
        self._deferred = None
        self._session.mail(self._macro(protocol.MAIL, LOGIN), sender, parameters)
        return GO_ON

    def _recipient(self, payload: bytes) -> bytes:
        """RCPT TO: as the mail server understood it, rather than as the client wrote it."""
        written = _text(protocol.strings(payload)[0])
        return self._judged(self._session.recipient(self._macro(protocol.RECIPIENT, RECIPIENT) or written))

    def _data(self, _payload: bytes) -> bytes:
        """DATA: a message whose content no check asks for is left alone from here on."""
        if self._session.wants_headers():
            return GO_ON
        self._session.finish()
        return packet(protocol.ACCEPT)

    def _header(self, payload: bytes) -> bytes:
        """One field of the header."""
        name, end, value = payload.removesuffix(b"\0").partition(b"\0")
        if not end:
            raise ProtocolError("a field without a value")
        self._session.header(_text(name), value)
        return GO_ON

    def _end_of_headers(self, _payload: bytes) -> bytes:
        """The end of the header."""
        if self._deferred:
            self._session.finish()
            return reply_packet(self._deferred)
        reply = self._session.end_of_headers()
        if reply is None and self._session.goes_on():
            return GO_ON
        self._session.finish()
        return self._judged(reply) if reply else packet(protocol.ACCEPT)

    def _body(self, payload: bytes) -> bytes:
        """A part of the body; when nobody reads it, the rest need not come."""
        if self._session.wants_content():
            self._session.body(payload)
        elif self._may_skip:
            return packet(protocol.SKIP)
        return GO_ON

    def _end_of_message(self, payload: bytes) -> bytes:
        """The end of the message, with the rest of its body."""
        self._session.body(payload)
        outcome = self._session.end_of_message(
            self._macro(protocol.END_OF_MESSAGE, QUEUE_ID), self._macro(protocol.CONNECT, HOST)
        )
        self._session.finish()
        if outcome.reply:
            return self._judged(outcome.reply)
        return b"".join(map(change_packet, outcome.changes)) + GO_ON


def change_packet(change: AddField | RemoveField) -> bytes:
    """Return the packet that makes the mail server change the header."""
    if isinstance(change, RemoveField):
        return protocol.removal(change.name, change.occurrence)
    return protocol.insertion(0, change.name, change.value)


def reply_packet(reply: Reply) -> bytes:
    """Return the packet that makes the mail server say ``reply``; it reads a percent sign only when doubled."""
    return packet(protocol.REPLY, str(reply).replace("%", "%%").encode("ascii") + b"\0")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
