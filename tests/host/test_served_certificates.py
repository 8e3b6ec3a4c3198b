# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the certificates are served that are in the files is noticed, and that one ends soon."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from mailtest.deployment import Deployment, Shell
from playing import Player

PROGRAM = "/usr/local/lib/postoffice/postoffice-certificates"
UNIT = "postoffice-certificates.service"
TLS = "/etc/postoffice/tls"
KEPT = "/run/postoffice-served"
SERVICES = {25: "smtp", 465: "submissions", 587: "submission", 143: "imap", 993: "imaps", 4190: "sieve"}
POP3 = {110: "pop3", 995: "pop3s"}


def asked(host: Shell) -> subprocess.CompletedProcess[str]:
    return host.run(PROGRAM, check=False)


def lines(output: str) -> dict[int, str]:
    """What is said, by port."""
    return {int(line.split()[0]): line.split(None, 1)[1] for line in output.splitlines()}


def reload(host: Shell) -> None:
    host.run("systemctl", "reload", "dovecot.service", "postfix.service")


def another(host: Shell, name: str, days: int) -> None:
    """Put another certificate into the files, of which nobody is told."""
    host.run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-quiet"),
        *("-days", str(days), "-subj", "/CN=another", "-addext", f"subjectAltName=DNS:{name}"),
        *("-keyout", f"{TLS}/privkey.pem", "-out", f"{TLS}/fullchain.pem"),
    )


@pytest.fixture
def ports(deployment: Deployment) -> set[int]:
    return {*SERVICES, *(POP3 if deployment.variables.get("dovecot_pop3") else ())}


@pytest.fixture
def files(host: Shell) -> Iterator[None]:
    """The files are as they were afterwards, and served."""
    host.run("cp", "-a", TLS, KEPT)
    yield
    host.run("sh", "-c", f"cp -a {KEPT}/*.pem {TLS}/ && rm -r {KEPT}")
    reload(host)


def test_every_port_is_asked(host: Shell, ports: set[int]) -> None:
    done = asked(host)
    assert (done.returncode, done.stderr) == (0, "")
    said = lines(done.stdout)
    assert said.keys() == ports
    assert all("the host's own" in line and " days, " in line for line in said.values())
    host.run("systemctl", "start", UNIT)


@pytest.mark.usefixtures("files")
def test_a_certificate_that_is_not_served_is_noticed(
    host: Shell, deployment: Deployment, ports: set[int], player: Player
) -> None:
    another(host, deployment.hostname, 5)
    done = asked(host)
    assert done.returncode == 1
    # Postfix reads it for each process that starts, Dovecot when it is reloaded.
    imap = lines(done.stderr)[993]
    assert f"another certificate is served than {TLS}/fullchain.pem has; reload what serves it" in imap
    assert host.run("systemctl", "start", UNIT, check=False).returncode != 0
    played = player.playbook("certificates")
    assert played.status != 0
    assert "another certificate is served" in played.output
    reload(host)
    done = asked(host)
    assert done.returncode == 1
    assert lines(done.stderr).keys() == ports
    assert all("the certificate ends in 4 days, on " in line for line in lines(done.stderr).values()), done.stderr
    assert not any("another certificate" in line for line in lines(done.stderr).values()), done.stderr


@pytest.mark.usefixtures("files")
def test_a_certificate_for_another_name_is_noticed(host: Shell, deployment: Deployment) -> None:
    another(host, "elsewhere.example", 90)
    reload(host)
    done = asked(host)
    assert done.returncode == 1
    assert f"the certificate is not for {deployment.hostname}" in lines(done.stderr)[465]


def test_a_service_that_does_not_answer_is_noticed(host: Shell, ports: set[int], player: Player) -> None:
    host.run("systemctl", "stop", "dovecot.socket", "dovecot.service", check=False)
    try:
        done = asked(host)
        assert done.returncode == 1
        assert lines(done.stderr).keys() == ports - {25, 465, 587}
        assert "nobody answers as expected" in lines(done.stderr)[143]
    finally:
        host.run("systemctl", "start", "dovecot.service")
    played = player.playbook("certificates")
    assert (played.status, played.changed) == (0, False), played.output
    assert "465 submissions" in played.output
