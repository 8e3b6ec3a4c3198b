# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the certificates are served that are in the files is noticed, and that one ends soon."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest
from mailtest.deployment import Deployment, Shell
from playing import Player

PROGRAM = "/usr/local/lib/postoffice/postoffice-certificates"
SETTINGS = "/etc/postoffice/certificates.json"
UNIT = "postoffice-certificates.service"
TLS = "/etc/postoffice/tls"
KEPT = "/run/postoffice-served"
SERVICES = {
    25: "smtp", 465: "submissions", 587: "submission", 143: "imap", 993: "imaps", 4190: "sieve", 443: "https"
}  # fmt: skip
POP3 = {110: "pop3", 995: "pop3s"}


def asked(host: Shell) -> subprocess.CompletedProcess[str]:
    return host.run(PROGRAM, check=False)


def lines(output: str) -> dict[int, str]:
    """What is said of the host's own name, by port."""
    own = [line for line in output.splitlines() if not re.match(r" *\d+ \S+ +for \S+: ", line)]
    return {int(line.split()[0]): line.split(None, 1)[1] for line in own}


def reload(host: Shell) -> None:
    host.run("systemctl", "reload", "dovecot.service", "nginx.service", "postfix.service")


def another(host: Shell, name: str, days: int) -> None:
    """Put another certificate into the files, of which nobody is told."""
    host.run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"),
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


def test_every_port_is_asked(host: Shell, ports: set[int], deployment: Deployment) -> None:
    done = asked(host)
    assert (done.returncode, done.stderr) == (0, "")
    said = lines(done.stdout)
    assert said.keys() == ports
    issuer = "issued by " if deployment.variables.get("letsencrypt_enabled") else "the host's own"
    assert all(issuer in line and " days, " in line for line in said.values()), said
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


def test_a_port_where_nobody_answers_is_noticed(host: Shell, ports: set[int]) -> None:
    settings = json.loads(host.output("cat", SETTINGS))
    settings["served"].append({"certificate": f"{TLS}/fullchain.pem", "ports": {"https": 8443}})
    host.run("tee", "/run/postoffice-served.json", stdin=json.dumps(settings))
    done = host.run(PROGRAM, "/run/postoffice-served.json", check=False)
    host.run("rm", "/run/postoffice-served.json")
    assert done.returncode == 1
    assert lines(done.stdout).keys() == ports
    assert lines(done.stderr)[8443].startswith("https       nobody answers as expected: ")


def test_an_operator_sees_a_line_for_each(player: Player, ports: set[int]) -> None:
    played = player.playbook("certificates")
    assert (played.status, played.changed) == (0, False), played.output
    assert len(re.findall(r"^ +\d+ \w+ +good until \d{4}-\d\d-\d\d, \d+ days, ", played.output, re.MULTILINE)) == len(
        ports
    )
