# SPDX-License-Identifier: GPL-3.0-or-later
"""The milter's side of the protocol over a real socket, and that nothing passes when something goes wrong."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postoffice_milter import protocol
from postoffice_milter.client import Answer, MilterClient
from postoffice_milter.content import AddField, Client, Content, Outcome, RemoveField
from postoffice_milter.lookup import Directory
from postoffice_milter.protocol import ACCEPT, CONTINUE, PACKET_LIMIT, ProtocolError, negotiation, packet
from postoffice_milter.quota import QuotaCheck, QuotaStatus
from postoffice_milter.senders import SenderCheck
from postoffice_milter.server import Server
from postoffice_milter.session import Check, Envelope
from postoffice_milter.verdict import LATER, Reply, UnavailableError

REFUSAL = Reply(550, "5.7.1", "100% no")
REFUSED = Answer(protocol.REPLY, "550 5.7.1 100%% no")
DEFERRED = Answer(protocol.REPLY, str(LATER))
ALICE = "alice@example.org"
EVERY_FIELD_ANSWERED = protocol.ALL_STEPS & ~protocol.NO_HEADER_REPLY
DEADLINE = 10.0


class Refuses(Check):
    """Refuses recipients and headers that contain a word, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Envelope] = []

    def recipient(self, envelope: Envelope, recipient: str) -> Reply | None:
        return REFUSAL if "bad" in recipient else None

    def headers(self, envelope: Envelope, headers: list[tuple[str, bytes]]) -> Reply | None:
        self.asked.append(envelope)
        return REFUSAL if any(b"bad" in value for _unused, value in headers) else None


class Breaks(Check):
    """Fails at everything."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def recipient(self, envelope: Envelope, recipient: str) -> Reply | None:
        raise self._error

    def headers(self, envelope: Envelope, headers: list[tuple[str, bytes]]) -> Reply | None:
        raise self._error


Start = Callable[..., Server]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "milter.sock"


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    """Starts a server at ``path``."""

    def start_one(*checks: Check, body_limit: int = 0) -> Server:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        server = Server(listener, checks, body_limit)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    yield start_one
    # The thread waits for a connection that nobody can make any more; it ends with the process.
    path.unlink()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_needed_is_asked_for(start: Start, path: Path) -> None:
    start()
    with MilterClient(str(path)) as client:
        assert client.steps == 0x593, "no connection, greeting, body, unknown commands, answers to fields; may skip"
        assert client.actions == protocol.SET_MACROS
        assert client.macros == {0: "j", 2: "{auth_authen}", 3: "{rcpt_addr}", 5: "i"}


def test_a_mail_server_that_offers_less_gets_less(start: Start, path: Path) -> None:
    start()
    with socket.socket(socket.AF_UNIX) as old:
        old.connect(str(path))
        old.sendall(negotiation(0x3F, 0x7F, version=2))
        with old.makefile("rb") as stream:
            assert protocol.read_packet(stream) == (b"O", struct.pack("!III", 2, 0, 0x13))


def test_strangers_content_is_left_alone(start: Start, path: Path) -> None:
    server = start(Refuses())
    with MilterClient(str(path)) as client:
        assert client.mail("s@x.example").goes_on
        assert client.recipient("good@x.example").goes_on
        assert server.sessions.in_message() == 1
        assert client.data() == Answer(ACCEPT)
        assert server.sessions.in_message() == 0


@pytest.mark.parametrize("offered", [protocol.ALL_STEPS, EVERY_FIELD_ANSWERED])
def test_a_users_message_passes(start: Start, path: Path, offered: int) -> None:
    check = Refuses()
    server = start(check)
    with MilterClient(str(path), offered=offered) as client:
        assert client.mail("s@x.example", login=ALICE, parameters=["SIZE=10"]).goes_on
        assert client.recipient("good@x.example").goes_on
        assert client.message([("From", b"good"), ("To", b"good")]) == Answer(ACCEPT)
        assert server.sessions.in_message() == 0
    assert check.asked == [Envelope(ALICE, "<s@x.example>", 10, ["<good@x.example>"])]


@pytest.mark.parametrize("offered", [protocol.ALL_STEPS, EVERY_FIELD_ANSWERED])
def test_refusals_reach_the_client_and_the_log(
    start: Start, path: Path, offered: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(Refuses())
    with MilterClient(str(path), offered=offered) as client, caplog.at_level(logging.INFO):
        client.mail("s@x.example", login=ALICE)
        assert client.recipient("bad%s@x.example") == REFUSED
        assert ALICE in caplog.text
        assert client.message([("X", b"bad secret")]) == REFUSED
        assert "secret" not in caplog.text
        assert server.sessions.in_message() == 0
        client.mail("s@x.example", login=ALICE)
        assert client.message([("X", b"good")]) == Answer(ACCEPT), "the next message is judged by itself"


def test_a_recipient_is_what_the_mail_server_understood(start: Start, path: Path) -> None:
    start(Refuses())
    with MilterClient(str(path)) as client:
        client.mail("s@x.example")
        assert client.recipient(" good@x.example. ", understood="bad@x.example") == REFUSED
        assert client.recipient("good@x.example", understood="good@x.example").goes_on


def test_a_login_holds_for_one_message(start: Start, path: Path) -> None:
    check = Refuses()
    start(check)
    with MilterClient(str(path)) as client:
        client.mail("s@x.example", login=ALICE)
        client.abort()
        assert client.mail("s@x.example").goes_on
        assert client.data() == Answer(ACCEPT)
    assert check.asked == []


def test_strange_octets_are_carried_along(start: Start, path: Path) -> None:
    start(Refuses())
    with MilterClient(str(path)) as client:
        client.mail("s@x.example")
        assert client._ask(b"R", b"<\xff\xfe@x.example>\0").goes_on
        assert client._ask(b"R", b"<bad\xff@x.example>\0") == REFUSED


@pytest.mark.parametrize("offered", [protocol.ALL_STEPS, EVERY_FIELD_ANSWERED])
@pytest.mark.parametrize("error", [UnavailableError("no\ndatabase"), RuntimeError("bug"), RecursionError()])
def test_trouble_defers(
    start: Start, path: Path, error: Exception, offered: int, caplog: pytest.LogCaptureFixture
) -> None:
    start(Breaks(error))
    with MilterClient(str(path), offered=offered) as client:
        client.mail("s@x.example", login=ALICE)
        assert client.recipient("a@x.example") == DEFERRED
        assert client.message([("From", b"x")]) == DEFERRED
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


class Reads(Check):
    """Wants whole messages of strangers, and changes or refuses them."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.read: list[Content] = []

    def wants_headers(self, envelope: Envelope) -> bool:
        return False

    def wants_content(self, envelope: Envelope) -> bool:
        return not envelope.login

    def content(self, envelope: Envelope, content: Content) -> Outcome:
        self.read.append(content)
        return self.outcome


def whole_message(client: MilterClient, body: tuple[bytes, ...] = (b"text\r\n",), address: str = "192.0.2.1") -> Answer:
    client.connect("mx.x.example", address, {"j": "mail.example.org"})
    client.helo("greeting")
    client.mail("s@x.example")
    client.recipient("a@x.example")
    client.data()
    for value in (b"one", b"two"):
        client.header("X-Thing", value)
    client.end_of_headers()
    for chunk in body:
        client.body(chunk)
    return client.end_of_message({"i": "4abc"})


@pytest.mark.parametrize("offered", [protocol.ALL_STEPS, EVERY_FIELD_ANSWERED])
@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_a_whole_message_reaches_those_who_want_it(start: Start, path: Path, offered: int, address: str) -> None:
    changes = (RemoveField("X-Thing", 2), RemoveField("X-Thing", 1), AddField("X-New", "a\n\tb"))
    check = Reads(Outcome(changes=changes))
    start(check, body_limit=12)
    with MilterClient(str(path), offered=offered) as client:
        assert client.actions == protocol.SET_MACROS | protocol.ADD_FIELDS | protocol.CHANGE_FIELDS
        assert whole_message(client, (b"0123456789", b"abcdefghij"), address) == Answer(CONTINUE)
        assert client.changes == [
            ("X-Thing", 2, None),
            ("X-Thing", 1, None),
            ("X-New", 0, "a\n\tb"),
        ]
    (content,) = check.read
    assert content == Content(
        headers=[("X-Thing", b"one"), ("X-Thing", b"two")],
        body=b"0123456789ab",
        size=20,
        queue_id="4abc",
        host="mail.example.org",
        client=Client("mx.x.example", address, "greeting"),
    )
    assert content.cut


def test_a_refused_message_is_not_changed(start: Start, path: Path) -> None:
    server = start(Reads(Outcome(REFUSAL, (AddField("X", "y"),))), body_limit=100)
    with MilterClient(str(path)) as client:
        assert whole_message(client) == REFUSED
        assert client.changes == []
        assert server.sessions.in_message() == 0


def test_a_users_content_is_left_alone(start: Start, path: Path) -> None:
    check = Reads(Outcome())
    start(check, Refuses(), body_limit=100)
    with MilterClient(str(path)) as client:
        client.mail("s@x.example", login=ALICE)
        assert client.message([("From", b"good")]) == Answer(ACCEPT)
        assert whole_message(client) == Answer(CONTINUE)
    assert len(check.read) == 1


def test_a_mail_server_that_lets_nobody_change_the_header_is_told_so(
    start: Start, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(Reads(Outcome()), body_limit=100)
    assert said_to(path, negotiation(0x100, protocol.ALL_STEPS)) == b""
    wait_until(lambda: server.running() == 0)
    assert "lets no milter change the header" in caplog.text


@pytest.mark.parametrize("offered", [protocol.ALL_STEPS, EVERY_FIELD_ANSWERED])
def test_trouble_with_a_field_defers(start: Start, path: Path, offered: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_unused: object) -> None:
        raise MemoryError

    start(Refuses())
    with MilterClient(str(path), offered=offered) as client:
        client.mail("s@x.example", login=ALICE)
        monkeypatch.setattr("postoffice_milter.session.Session.header", broken)
        assert client.message([("From", b"x")]) == DEFERRED
        monkeypatch.undo()
        client.mail("s@x.example", login=ALICE)
        assert client.message([("From", b"x")]) == Answer(ACCEPT)


def test_real_checks_defer_without_their_sources(start: Start, path: Path, tmp_path: Path) -> None:
    directory = Directory(tmp_path / "absent.sqlite3")
    start(SenderCheck(directory, "+", True), QuotaCheck(directory, QuotaStatus(tmp_path / "absent", 1), "+"))
    with MilterClient(str(path)) as client:
        client.mail("alice@example.org", login=ALICE)
        assert client.recipient("a@example.org") == DEFERRED
        assert client.message([("From", b"alice@example.org")]) == DEFERRED


def test_sessions_are_counted_until_they_end(start: Start, path: Path) -> None:
    server = start()
    with MilterClient(str(path)) as client, MilterClient(str(path)):
        client.mail("s@x.example")
        client.recipient("a@x.example")
        assert (server.running(), server.sessions.in_message()) == (2, 1)
        client.abort()
        wait_until(lambda: server.sessions.in_message() == 0)
    wait_until(lambda: server.running() == 0)


def test_a_connection_serves_one_client_after_the_other(start: Start, path: Path) -> None:
    server = start(Refuses())
    with MilterClient(str(path)) as client:
        client.mail("s@x.example", login=ALICE)
        client._send(protocol.QUIT_BUT_STAY)
        wait_until(lambda: server.sessions.in_message() == 0)
        assert client.connect().goes_on
        assert client.mail("s@x.example").goes_on


def test_a_slow_session_holds_nobody_up(start: Start, path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    class Waits(Check):
        def recipient(self, envelope: Envelope, recipient: str) -> Reply | None:
            if "slow" in recipient:
                entered.set()
                assert leave.wait(DEADLINE)
            return None

    start(Waits())
    with MilterClient(str(path)) as slow, MilterClient(str(path)) as fast:
        slow.mail("s@x.example")
        waiting = threading.Thread(target=slow.recipient, args=("slow@x.example",))
        waiting.start()
        assert entered.wait(DEADLINE)
        fast.mail("s@x.example")
        assert fast.recipient("a@x.example").goes_on
        leave.set()
        waiting.join()


def said_to(path: Path, *packets: bytes) -> bytes:
    """What a server answers to raw octets before it closes the connection; the other side has ended its part."""
    with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as stream:
        client.settimeout(DEADLINE)
        client.connect(str(path))
        client.sendall(b"".join(packets))
        client.shutdown(socket.SHUT_WR)
        try:
            return stream.read()
        except ConnectionResetError:
            return b""


HELLO = negotiation(protocol.ALL_ACTIONS, protocol.ALL_STEPS)
NONSENSE = {
    "an event before the negotiation": (packet(b"M", b"<>\0"),),
    "a short negotiation": (packet(b"O", b"\0\0\0\6"),),
    "an ancient version": (negotiation(0, 0, version=1),),
    "a packet without a command": (HELLO, struct.pack("!I", 0)),
    "a packet that is too large": (HELLO, struct.pack("!I", PACKET_LIMIT + 1), b"L"),
    "an unknown command": (HELLO, packet(b"Z")),
    "a string without an end": (HELLO, packet(b"M", b"<>")),
    "no string at all": (HELLO, packet(b"R")),
    "a macro without a value": (HELLO, packet(b"D", b"M{auth_authen}\0")),
    "a field without a value": (HELLO, packet(b"M", b"<>\0"), packet(b"L", b"Subject\0")),
    "a cut length": (HELLO, b"\0\0"),
    "a cut packet": (HELLO, packet(b"M", b"<a@b.example>\0")[:-3]),
    "HTTP": (b"GET / HTTP/1.0\r\n\r\n",),
}


@pytest.mark.parametrize("packets", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_ends_the_connection_and_nothing_else(
    start: Start, path: Path, packets: tuple[bytes, ...], caplog: pytest.LogCaptureFixture
) -> None:
    server = start(Refuses())
    assert packet(protocol.ACCEPT) not in said_to(path, *packets)
    wait_until(lambda: server.running() == 0)
    assert [(record.levelname, record.message[:17]) for record in caplog.records] == [("WARNING", "connection closed")]
    with MilterClient(str(path)) as client:
        assert client.mail("s@x.example").goes_on


@given(data=st.binary(max_size=200), hello=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_any_octets_are_survived(start: Start, path: Path, data: bytes, hello: bool) -> None:
    if not path.exists():
        start(Refuses())
    said_to(path, HELLO if hello else b"", data)
    with MilterClient(str(path)) as client:
        assert client.mail("s@x.example").goes_on


@given(st.binary(max_size=50).filter(lambda code: code[:1] != b""), st.binary(max_size=2000))
def test_packets_come_back_as_they_went(code: bytes, payload: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, theirs.makefile("rb") as stream:
        ours.sendall(packet(code[:1], payload))
        assert protocol.read_packet(stream) == (code[:1], payload)


def test_an_end_between_packets_is_an_end() -> None:
    ours, theirs = socket.socketpair()
    with theirs, theirs.makefile("rb") as stream:
        ours.close()
        assert protocol.read_packet(stream) is None


def test_a_server_that_has_no_thread_left_hangs_up(
    start: Start, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none_left(_unused: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    server = start()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        with pytest.raises((ProtocolError, ConnectionError)):
            MilterClient(str(path))
    wait_until(lambda: "can't start new thread" in caplog.text)
    assert server.sessions.running() == 0
    with MilterClient(str(path)) as client:
        assert client.mail("s@x.example").goes_on


class Counts(Check):
    """Says the last word about messages of users, and remembers about which."""

    def __init__(self, reply: Reply | None = None) -> None:
        self.counted: list[list[str]] = []
        self._reply = reply

    def wants_headers(self, envelope: Envelope) -> bool:
        return False

    def wants_end(self, envelope: Envelope) -> bool:
        return bool(envelope.login)

    def end(self, envelope: Envelope) -> Reply | None:
        self.counted.append(envelope.recipients)
        return self._reply


@pytest.mark.parametrize("login", ["", ALICE])
@pytest.mark.parametrize("offered", [protocol.ALL_STEPS, protocol.ALL_STEPS & ~protocol.CAN_SKIP])
def test_the_end_of_a_user_s_message_is_asked_for_and_its_body_is_not(
    start: Start, path: Path, login: str, offered: int
) -> None:
    counts = Counts()
    start(Reads(Outcome()), counts, body_limit=100)
    with MilterClient(str(path), offered=offered) as client:
        client.mail("s@x.example", login=login)
        client.recipient("r@x.example")
        assert client.data() == Answer(CONTINUE)
        client.header("Subject", b"x")
        assert client.end_of_headers() == Answer(CONTINUE)
        skips = login and offered & protocol.CAN_SKIP
        assert client.body(b"y" * 1000) == Answer(protocol.SKIP if skips else CONTINUE)
        assert client.end_of_message() == Answer(CONTINUE)
    assert counts.counted == ([["<r@x.example>"]] if login else [])


def test_the_last_word_is_no_and_the_operator_is_told(
    start: Start, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(Counts(Reply(450, "4.7.1", "enough", notable=True)))
    with MilterClient(str(path)) as client, caplog.at_level(logging.INFO, "postoffice_milter"):
        client.mail("s@x.example", login=ALICE)
        client.recipient("r@x.example")
        assert client.message([("Subject", b"x")]) == Answer(protocol.REPLY, "450 4.7.1 enough")
        assert server.sessions.in_message() == 0
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", f"refused, login <{ALICE}>, sender <s@x.example>: 450 4.7.1 enough")
    ]
