# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from postoffice_certificates import CheckError, Service, finding, line, main, of_file, read_services, reader

NAME = "mail.example.org"


def made(folder: Path, name: str = NAME, organization: str = "Somebody") -> Path:
    """A certificate for a name, with its key in the same file."""
    key, path = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        (
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"),
            *("-days", "90", "-subj", f"/O={organization}", "-addext", f"subjectAltName=DNS:{name}"),
            *("-keyout", str(key), "-out", str(path)),
        ),
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + key.read_text())
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made(tmp_path)


def judged(path: Path, before: datetime.timedelta, name: str = NAME, served: Path | None = None) -> str:
    """What is wrong so long before the end."""
    der = of_file(served or path)
    service = Service("imaps", 993, path, name)
    return finding(service, der, reader(name), reader(name)(der).ends - before, 14).problem


def test_days_are_counted_to_the_end(path: Path) -> None:
    assert judged(path, datetime.timedelta(days=14)) == ""
    assert judged(path, datetime.timedelta(days=14, seconds=-1)).startswith("the certificate ends in 13 days, on ")
    assert judged(path, datetime.timedelta(seconds=-1)).startswith("the certificate has ended on ")


def test_the_name_of_the_server_is_in_it(path: Path) -> None:
    assert (
        judged(path, datetime.timedelta(days=30), "imap.example.org") == "the certificate is not for imap.example.org"
    )


def test_another_one_is_told_apart(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    problem = judged(path, datetime.timedelta(days=30), served=made(folder))
    assert problem == f"another certificate is served than {path} has; reload what serves it"


def test_one_that_nobody_trusts_is_told_and_no_failure(tmp_path: Path) -> None:
    path = made(tmp_path, organization="Post Office bootstrap")
    der = of_file(path)
    service = Service("imaps", 993, path, NAME)
    told = finding(service, der, reader(NAME), reader(NAME)(der).ends - datetime.timedelta(days=30), 14)
    assert told.problem == ""
    assert told.text.endswith("30 days, the host's own")


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\n"])
def test_a_file_without_a_certificate_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "empty.pem"
    path.write_text(content)
    with pytest.raises(CheckError, match=r"empty\.pem: has no certificate"):
        of_file(path)
    with pytest.raises(CheckError, match=r"none\.pem: No such file"):
        of_file(tmp_path / "none.pem")


@pytest.fixture
def port(path: Path) -> Iterator[int]:
    """A server that says a greeting of SMTP, is asked for TLS, and does it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _peer = listening.accept()
        with connection:
            connection.sendall(b"220-one\r\n220 mail.example.org ESMTP\r\n")
            assert connection.recv(100) == b"EHLO localhost\r\n"
            connection.sendall(b"250-mail.example.org\r\n250 STARTTLS\r\n")
            assert connection.recv(100) == b"STARTTLS\r\n"
            connection.sendall(b"220 go\r\n")
            with context.wrap_socket(connection, server_side=True) as secure:
                assert secure.recv(100) == b"QUIT\r\n"

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listening.getsockname()[1]
    listening.close()
    thread.join(10)


def written(folder: Path, path: Path, ports: dict[str, int]) -> str:
    settings = {
        "hostname": NAME,
        "address": "127.0.0.1",
        "days": 14,
        "served": [{"certificate": str(path), "ports": ports}],
        "named": [],
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    return str(folder / "settings.json")


def test_a_port_is_asked_as_a_client_asks(
    path: Path, port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([written(tmp_path, path, {"smtp": port})]) == 0
    told = capsys.readouterr()
    assert told.out.split()[:3] == [str(port), "smtp", "good"]
    assert told.err == ""


def test_of_each_daemon_one_port_is_asked_for_every_further_name(tmp_path: Path) -> None:
    mail, other = tmp_path / "mail.pem", tmp_path / "other.pem"
    settings = {
        "hostname": NAME,
        "served": [
            {"certificate": str(mail), "ports": {"submissions": 465, "smtp": 25}},
            {"certificate": str(mail), "ports": {"imap": 143}},
        ],
        "named": [{"names": ["mail.example.net", "imap.example.net"], "certificate": str(other)}],
    }
    services = read_services(settings)
    assert services == [
        Service("smtp", 25, mail, NAME),
        Service("submissions", 465, mail, NAME),
        Service("imap", 143, mail, NAME),
        Service("submissions", 465, other, "mail.example.net"),
        Service("imap", 143, other, "mail.example.net"),
    ]
    assert line(services[0], "good", NAME) == "   25 smtp        good\n"
    assert line(services[3], "good", NAME) == "  465 submissions for mail.example.net: good\n"


def test_nobody_who_answers_is_a_failure(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        closed = listening.getsockname()[1]
    assert main([written(tmp_path, path, {"imaps": closed})]) == 1
    assert "nobody answers as expected: [Errno 111]" in capsys.readouterr().err
