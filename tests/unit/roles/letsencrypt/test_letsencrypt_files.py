# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings, certificates, what certbot is told and says, and what is made of what came."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from postoffice_letsencrypt import ask, install, memory, pem
from postoffice_letsencrypt.decide import Known
from postoffice_letsencrypt.settings import Settings, SettingsError, Wanted, load

HOST = "mail.example.org"
CERTIFICATE = {"name": HOST, "names": [HOST], "certificate": "/etc/tls/chain.pem", "key": "/etc/tls/key.pem"}
SETTINGS: dict[str, Any] = {
    "server": "https://acme.example/dir",
    "authority": "",
    "email": "",
    "challenge": "http",
    "webroot": "",
    "options": [],
    "addresses": [],
    "certificates": [CERTIFICATE],
    "domains": [],
}


def loaded(**changed: object) -> Settings:
    return load(json.dumps({**SETTINGS, **changed}))


def test_settings_are_read() -> None:
    (wanted,) = loaded(certificates=[{**CERTIFICATE, "optional_names": [HOST, "imap.example.org"]}]).certificates
    assert wanted == Wanted(HOST, (HOST,), ("imap.example.org",), Path("/etc/tls/chain.pem"), Path("/etc/tls/key.pem"))


def test_all_names_of_a_domain_may_go_elsewhere() -> None:
    paths = {"certificate": "/etc/tls/example.net/chain.pem", "key": "/etc/tls/example.net/key.pem"}
    told = loaded(domains=[{"name": "example.net", "names": ["mail.example.net"], **paths}])
    assert [(each.name, each.required, each.optional) for each in told.certificates] == [
        (HOST, (HOST,), ()),
        ("example.net", (), ("mail.example.net",)),
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "../evil"}, r"certificates\[0\].name: '../evil' is not a name"),
        ({"names": ["mail"]}, r"certificates\[0\]: 'mail' is no domain name"),
        ({"names": ["bücher.example"]}, "is no domain name"),
        ({"names": ["a.example,DNS:b.example"]}, "is no domain name"),
        ({"names": []}, "has no names"),
    ],
)
def test_what_no_certificate_can_have_is_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        loaded(certificates=[{**CERTIFICATE, **changed}])


def test_two_certificates_of_one_name_and_nonsense_are_refused() -> None:
    with pytest.raises(SettingsError, match=f"two certificates are called {HOST}"):
        loaded(certificates=[CERTIFICATE, CERTIFICATE])
    with pytest.raises(SettingsError, match="these are no settings"):
        load("{}")


# Certificates and requests


def signed(folder: Path, key: Path, name: str = HOST, subject: str = "/O=Post Office bootstrap") -> str:
    path = folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-key", str(key), "-days", "90", "-subj", subject),
            *("-addext", f"subjectAltName=DNS:{name}", "-out", str(path)),
        ],
        check=True,
    )
    return path.read_text()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "tls" / "key.pem"
    memory.make_folder(path.parent)
    pem.make_key(path)
    return path


def test_a_key_is_readable_by_its_owner_only(key: Path) -> None:
    assert key.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in key.parent.iterdir()] == ["key.pem"]


def test_a_folder_can_be_entered_whatever_the_mask(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        memory.make_folder(tmp_path / "a" / "b")
        memory.make_folder(tmp_path / "a" / "b")
    finally:
        os.umask(mask)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a" / "b")] == [0o755, 0o755]


def test_a_certificate_is_looked_at_beside_its_key(key: Path, tmp_path: Path) -> None:
    found = pem.look(signed(tmp_path, key), key)
    assert (found.names, found.is_own, found.fits_key) == ((HOST,), True, True)
    assert found.ends - found.begins == 90 * 86400
    other = tmp_path / "other.pem"
    pem.make_key(other)
    stranger = pem.look(signed(tmp_path, key, subject="/O=Somebody"), other)
    assert (stranger.is_own, stranger.fits_key, stranger.issuer) == (False, False, "O=Somebody")
    assert not pem.look(signed(tmp_path, key), tmp_path / "nowhere").fits_key
    with pytest.raises(pem.PemError, match="there is no certificate in it"):
        pem.look("", key)


def test_a_request_has_all_names(key: Path) -> None:
    said = pem.openssl("req", "-noout", "-text", stdin=pem.request(key, (HOST, "imap.example.org")))
    assert f"DNS:{HOST}, DNS:imap.example.org" in said


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="link"):
        pem.read(tmp_path / "link")


# certbot

REFUSED = """
Saving debug log to /var/lib/postoffice-letsencrypt/logs/letsencrypt.log
Requesting a certificate for mail.example.org

Certbot failed to authenticate some domains (authenticator: standalone). The authority reported these problems:
  Domain: mail.example.org
  Type:   connection
  Detail: 192.0.2.1: Fetching http://mail.example.org/.well-known/acme-challenge/x: Connection refused

Hint: The Certificate Authority failed to download the challenge files.
Some challenges have failed.
Ask for help or search for solutions at https://community.letsencrypt.org.
"""
DOWN = """
An unexpected error occurred:
requests.exceptions.ConnectionError: Max retries exceeded with url: /dir
Ask for help or search for solutions at https://community.letsencrypt.org.
"""


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            REFUSED,
            f"{HOST}: 192.0.2.1: Fetching http://{HOST}/.well-known/acme-challenge/x: Connection refused",
        ),
        (DOWN, "requests.exceptions.ConnectionError: Max retries exceeded with url: /dir"),
        ("\n", "certbot says nothing"),
    ],
)
def test_what_matters_of_certbot_s_words_is_said(output: str, said: str) -> None:
    assert ask.complaint(output) == said


def test_certbot_is_told_everything() -> None:
    argv = ask.command(HOST, loaded())
    assert {"--non-interactive", "--agree-tos", "--register-unsafely-without-email", "--standalone"} <= set(argv)
    told = ask.command(HOST, loaded(email="x@example.org", webroot="/srv/web"))
    assert told[told.index("--email") + 1] == "x@example.org"
    assert told[told.index("--webroot-path") + 1] == "/srv/web"
    assert "--standalone" not in told
    by_dns = ask.command(HOST, loaded(challenge="dns", options=["--authenticator", "dns-rfc2136"]))
    assert by_dns[-2:] == ["--authenticator", "dns-rfc2136"]
    assert "--standalone" not in by_dns


def test_an_authority_that_has_forgotten_us_is_told_again_who_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts, log = tmp_path / "config" / "accounts", tmp_path / "logs" / "letsencrypt.log"
    for folder in (accounts, log.parent):
        folder.mkdir(parents=True)
    program = tmp_path / "certbot"
    program.write_text(
        "#!/bin/sh\n"
        f'[ -d "{accounts}" ] || exit 0\n'
        f'echo "urn:ietf:params:acme:error:accountDoesNotExist" > "{log}"\n'
        "echo Account 1 not found.\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(ask, "SPOOL", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert ask.ask_for(HOST, loaded()) == ""
    assert not accounts.exists()


# What came


@pytest.fixture
def wanted(key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wanted:
    monkeypatch.setattr(ask, "ISSUED", tmp_path)
    return Wanted(HOST, (HOST,), (), tmp_path / "served" / "chain.pem", key)


def test_what_came_is_put_into_place(wanted: Wanted, tmp_path: Path) -> None:
    assert install.place(wanted, [HOST]) == []
    text = signed(tmp_path, wanted.key)
    ask.issued(HOST).write_text(f"said before\n{text}")
    assert install.place(wanted, [HOST]) == [install.Put(wanted, None)]
    assert wanted.chain.read_text() == text
    assert wanted.chain.stat().st_mode & 0o777 == 0o644
    assert not ask.issued(HOST).exists()
    ask.issued(HOST).write_text(signed(tmp_path, wanted.key))
    assert install.place(wanted, [HOST]) == [install.Put(wanted, text)]


@pytest.mark.parametrize("which", ["another key", "another name", "nonsense"])
def test_what_is_of_no_use_is_not(which: str, wanted: Wanted, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    pem.make_key(other)
    text = {
        "another key": signed(tmp_path, other),
        "another name": signed(tmp_path, wanted.key, "www.example.org"),
        "nonsense": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    }[which]
    ask.issued(HOST).write_text(text)
    with pytest.raises(pem.PemError):
        install.place(wanted, [HOST])
    assert not wanted.chain.exists()


def test_failures_are_counted_and_forgotten(tmp_path: Path) -> None:
    told = loaded()
    once = install.after(Known("https://old.example"), "no route", (HOST,), told.server, 5.0)
    assert once == Known("https://old.example", 1, 5.0, (HOST,), told.server, "no route")
    twice = install.after(once, "no route", (HOST,), told.server, 6.0)
    assert (twice.failures, twice.failed_at) == (2, 6.0)
    memory.remember({HOST: twice, "gone.example.org": once}, told, tmp_path)
    assert memory.recall(tmp_path) == {HOST: twice}
    assert install.after(twice, "", (HOST,), told.server, 7.0) == Known(server=told.server)
    assert memory.recall(tmp_path / "nowhere") == {}
