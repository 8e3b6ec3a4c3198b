# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clamav-config finds without any daemon, and what it makes of a milter's answers."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import clamav_config
import pytest
from clamav_config import ProblemError, Settings

MEBIBYTE = 2**20


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        clamd_socket=str(tmp_path / "clamd"),
        milter_socket=str(tmp_path / "milter"),
        groups=[],
        directory=str(tmp_path),
        official=["main", "daily"],
        custom=["others.ndb"],
        local=["own.ndb"],
        message_limit=50 * MEBIBYTE,
        timeout=120,
        fetch_seconds=1,
    )


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ([], ["main", "daily", "others.ndb"]),
        (["main.cvd", "daily.cld", "others.ndb"], []),
        (["main.cvd", "daily.cld"], ["others.ndb"]),
        (["main.ndb", "daily.cvd", "others.ndb"], ["main"]),
    ],
)
def test_databases_that_have_to_be_there(
    settings: Settings, tmp_path: Path, there: list[str], missing: list[str]
) -> None:
    for name in there:
        (tmp_path / name).touch()
    assert settings.missing() == missing
    assert len(list(clamav_config.databases(settings))) == bool(missing)


@pytest.mark.parametrize(
    ("text", "size"), [("100M", 100 * MEBIBYTE), ("64k", 65536), ("123", 123), ("0", 0), ("1G", 2**30)]
)
def test_sizes_are_read_as_clamav_does(text: str, size: int) -> None:
    assert clamav_config.octets(text) == size


def test_what_is_no_size_is_a_problem() -> None:
    with pytest.raises(ProblemError, match="10Q is no size"):
        clamav_config.octets("10Q")


CLAMD = "# ours\nMaxFileSize 200M\nMaxScanSize 200M\nStreamMaxLength 200M\n"
MILTER = 'MaxFileSize 200M\nReadTimeout 120\nRejectMsg "The message contains %v"\n'


@pytest.mark.parametrize(
    ("clamd", "milter", "said"),
    [
        (CLAMD, MILTER, []),
        (CLAMD.replace("MaxFileSize 200M", "MaxFileSize 49M"), MILTER, ["MaxFileSize 49M is less"]),
        (CLAMD.replace("MaxScanSize 200M", "MaxScanSize 10M"), MILTER, ["MaxScanSize 10M is less"]),
        (CLAMD.replace("MaxScanSize 200M", "MaxScanSize 0"), MILTER, []),
        (CLAMD, MILTER.replace("200M", "25M"), ["MaxFileSize 25M is less"]),
        (CLAMD, MILTER.replace("200M", "0"), ["MaxFileSize 0 is less"]),
        (CLAMD, MILTER.replace("120", "300"), ["ReadTimeout 300"]),
        (CLAMD, MILTER.replace("120", "0"), ["ReadTimeout 0"]),
    ],
)
def test_limits_below_the_mail_servers_are_problems(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clamd: str, milter: str, said: list[str]
) -> None:
    for name, text in (("CLAMD", clamd), ("MILTER", milter)):
        path = tmp_path / name
        path.write_text(text)
        monkeypatch.setattr(clamav_config, name, path)
    found = list(clamav_config.check_limits(settings))
    assert [part in problem for part, problem in zip(said, found, strict=True)] == [True] * len(said)


def test_options_are_replaced_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "clamd.conf"
    path.write_text("LocalSocket /run/clamd\nLocalSocketGroup clamav\nMaxFileSize 1M\n")
    changed = clamav_config.with_options(path, {"LocalSocket": "/tmp/clamd", "LocalSocketGroup": None})
    assert changed == "MaxFileSize 1M\nLocalSocket /tmp/clamd\n"


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            "ERROR: Parse error at /etc/clamav/clamd.conf:9: Unknown option Foo\nERROR: Can't open",
            "/etc/clamav/clamd.conf:9",
        ),
        ("LibClamAV Error: Malformed database\n", "LibClamAV Error: Malformed"),
        ("", "no reason"),
    ],
)
def test_the_first_error_is_the_reason(output: str, reason: str) -> None:
    assert clamav_config.errors(output).startswith(reason)


def milter(path: str, answers: bytes, skipped: int = 0) -> list[bytes]:
    """Serve one connection as a milter that says these codes, one to each step; returns the codes that it got."""
    got: list[bytes] = []
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()

    def packet(code: bytes, payload: bytes = b"") -> bytes:
        return struct.pack("!I", 1 + len(payload)) + code + payload

    def serve() -> None:
        with server:
            connection, _address = server.accept()
        with connection, connection.makefile("rb") as stream:
            said = iter(answers)
            while head := stream.read(4):
                content = stream.read(struct.unpack("!I", head)[0])
                got.append(content[:1])
                if content[:1] == b"O":
                    connection.sendall(packet(b"O", struct.pack("!III", 6, 0, skipped)))
                elif content[:1] != b"Q":
                    code = bytes([next(said)])
                    connection.sendall(packet(code, b"550 5.7.1 The message contains It\0" if code == b"y" else b""))

    threading.Thread(target=serve, daemon=True).start()
    return got


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (b"cccccca", "accepted"),
        (b"ccccccc", "accepted"),
        (b"ccct", "deferred"),
        (b"ccccccy", "550 5.7.1 The message contains It"),
        (b"ccccccr", "refused"),
    ],
)
def test_what_a_milter_answers(settings: Settings, answers: bytes, said: str) -> None:
    milter(settings.milter_socket, answers)
    assert clamav_config.ask_milter(settings.milter_socket, b"text") == said


def test_steps_that_the_milter_does_not_want_are_skipped(settings: Settings) -> None:
    got = milter(settings.milter_socket, b"cccca", skipped=0x1 | 0x40)
    assert clamav_config.ask_milter(settings.milter_socket, b"text") == "accepted"
    assert b"".join(got[:6]) == b"OMRLBE"


@pytest.mark.parametrize("answers", [b"cccccca", b"ccct"])
def test_a_test_virus_that_is_not_refused_is_a_problem(settings: Settings, answers: bytes) -> None:
    milter(settings.milter_socket, answers)
    with pytest.raises(ProblemError, match="instead of refused"):
        clamav_config.demand_refusal(settings.milter_socket)


def test_a_refusal_of_the_test_virus_is_what_is_wanted(settings: Settings) -> None:
    milter(settings.milter_socket, b"ccccccy")
    clamav_config.demand_refusal(settings.milter_socket)


def answering(after: int) -> Callable[[], bool]:
    """What fails by an OSError at first."""
    calls = iter(range(1000))

    def attempt() -> bool:
        if next(calls) < after:
            raise ConnectionRefusedError("refused")
        return True

    return attempt


def test_waiting_ends_with_the_answer() -> None:
    clamav_config.answered(answering(3), lambda: None, seconds=5)


def test_waiting_ends_with_the_reason() -> None:
    with pytest.raises(ProblemError, match="refused"):
        clamav_config.answered(answering(1000), lambda: None, seconds=0.2)
