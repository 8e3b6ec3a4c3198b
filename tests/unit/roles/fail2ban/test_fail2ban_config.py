# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import fail2ban_config
import pytest
from fail2ban_config import NotBitingError

FILTER = Path(__file__).resolve().parents[4] / "roles/fail2ban/templates/etc/fail2ban/filter.d/postoffice-mail.conf.j2"
DOVECOT = {
    "2.3": "imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<{user}>,"
    " method=PLAIN, rip={address}, lip=192.0.2.25, TLS, session=<YKM3hyFh3MJ/AAAB>",
    "2.4": "imap-login: Login aborted: Logged out (auth failed, 2 attempts in 4 secs) (auth_failed): user=<{user}>,"
    " method=PLAIN, rip={address}, lip=192.0.2.25, TLS, session=<YKM3hyFh3MJ/AAAB>",
}  # fmt: skip


def expressions() -> list[re.Pattern[str]]:
    """The role's own, as Fail2Ban understands them."""
    text = FILTER.read_text(encoding="utf-8")
    (daemon,) = re.findall(r"^_daemon = (.*)$", text, re.MULTILINE)
    lines = re.findall(r"%\(_daemon\)s(.*)$", text, re.MULTILINE)
    return [re.compile(daemon + line.replace("<HOST>", r"(?P<host>[0-9a-f.:]+)")) for line in lines]


def guilty(line: str) -> str | None:
    for expression in expressions():
        if found := expression.search(line):
            return found["host"]
    return None


@pytest.mark.parametrize("version", DOVECOT)
@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8::9"])
def test_failed_log_ins_of_dovecot_are_recognised(version: str, address: str) -> None:
    text = DOVECOT[version].format(user="alice@example.org", address=address)
    assert guilty(f"mail.example.org dovecot[12]: {text}") == address
    assert guilty(f"mail.example.org dovecot[12]: {text.replace('imap', 'managesieve')}") == address


@pytest.mark.parametrize("version", DOVECOT)
def test_nobody_else_is_guilty_of_what_a_client_calls_itself(version: str) -> None:
    name = "x>, method=PLAIN, rip=198.51.100.1, lip=192.0.2.25, TLS, session=<a>"
    assert guilty(f"mail dovecot[12]: {DOVECOT[version].format(user=name, address='203.0.113.9')}") == "203.0.113.9"


@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_failed_log_ins_of_postfix_are_recognised(service: str) -> None:
    line = (
        f"mail postfix/{service}/smtpd[12]: warning: unknown[203.0.113.9]: SASL PLAIN authentication failed:"
        " (reason unavailable), sasl_username=alice@example.org"
    )
    assert guilty(line) == "203.0.113.9"


@pytest.mark.parametrize(
    "line",
    [
        "mail dovecot[12]: imap-login: Login: user=<alice@example.org>, method=PLAIN, rip=203.0.113.9, lip=192.0.2.25,"
        " mpid=12, TLS, session=<a>",
        "mail dovecot[12]: imap-login: Login aborted: Connection closed (no auth attempts in 0 secs): user=<>,"
        " rip=203.0.113.9, lip=192.0.2.25, session=<a>",
        "mail postfix/submission/smtpd[12]: warning: unknown[203.0.113.9]: SASL PLAIN authentication failed: Connection"
        " lost to authentication server",
        "mail impostor[12]: warning: unknown[203.0.113.9]: SASL PLAIN authentication failed: x",
    ],
)  # fmt: skip
def test_what_is_nobody_s_fault_is_passed_over(line: str) -> None:
    assert guilty(line) is None


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, ...]]]:
    """Let programs say what a test wants; returns how they were called."""

    def answer(status: int = 0, output: str = "", errors: str = "") -> list[tuple[str, ...]]:
        calls: list[tuple[str, ...]] = []

        def run(argv: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
            calls.append(tuple(argv))
            return subprocess.CompletedProcess(argv, status, output, errors)

        monkeypatch.setattr(subprocess, "run", run)
        return calls

    return answer


def test_networks_that_are_none_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, programs: Callable[..., object]
) -> None:
    programs()
    settings = tmp_path / "jail.local"
    settings.write_text("[x]\nignoreip = 127.0.0.0/8 10.0.0.0/33\n", encoding="utf-8")
    monkeypatch.setattr(fail2ban_config, "SETTINGS", settings)
    (problem,) = fail2ban_config.check()
    assert problem.startswith(f"{settings}:2: ")


def test_what_fail2ban_says_of_its_configuration_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, programs: Callable[..., object]
) -> None:
    monkeypatch.setattr(fail2ban_config, "SETTINGS", tmp_path / "none")
    programs(status=255, errors="ERROR: Unable to read the filter 'x'\n")
    assert list(fail2ban_config.check()) == ["ERROR: Unable to read the filter 'x'"]


def test_the_journal_is_read_as_fail2ban_reads_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, programs: Callable[..., list[tuple[str, ...]]]
) -> None:
    settings = tmp_path / "filter.conf"
    settings.write_text("journalmatch = _SYSTEMD_UNIT=a.service + _SYSTEMD_UNIT=b.service\n", encoding="utf-8")
    monkeypatch.setattr(fail2ban_config, "FILTER", str(settings))
    entry = {"_HOSTNAME": "mail", "SYSLOG_IDENTIFIER": "dovecot", "_PID": "7", "MESSAGE": "imap-login: x"}
    calls = programs(output=json.dumps(entry) + "\n")
    assert fail2ban_config.journal(5.0) == ["mail dovecot[7]: imap-login: x"]
    assert {"--unit=a.service", "--unit=b.service"} <= set(calls[0])


def test_addresses_are_whole_when_the_firewall_is_asked(programs: Callable[..., object]) -> None:
    programs(output="elements = { 192.0.2.10, 2001:db8::1 }")
    assert not fail2ban_config.banned("192.0.2.1")
    assert fail2ban_config.banned("2001:db8::1")


def test_a_ban_that_the_firewall_does_not_hold_is_a_failure_and_lifted(
    monkeypatch: pytest.MonkeyPatch, programs: Callable[..., list[tuple[str, ...]]]
) -> None:
    monkeypatch.setattr(fail2ban_config, "WRITTEN", 0.0)
    calls = programs(output="table inet f2b-table { }")
    with pytest.raises(NotBitingError, match="the firewall lets it in"):
        fail2ban_config.demand_bans()
    assert any("unbanip" in call for call in calls)


def test_nothing_to_try_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fail2ban_config, "is_open", lambda _port: False)
    with pytest.raises(NotBitingError, match="none of the ports"):
        fail2ban_config.demand_recognition()
