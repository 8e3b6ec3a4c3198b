"""What is installed stays down as long as the installation lasts, and no longer, however that ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils import policy_rc_d
from ansible_collections.postoffice.mail.plugins.module_utils.policy_rc_d import only_starting

OWN = '#!/bin/sh\n[ "$1" != chrony ] || exit 101\n'


class Host:
    """The two files, and what a maintainer's script is told that asks for permission."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "policy-rc.d"
        self.allowed = folder / "allowed"

    def answer(self, unit: str) -> int:
        if not self.program.exists():
            return 0
        return subprocess.run([str(self.program), unit, "start"], check=False).returncode

    def put_own(self) -> None:
        self.program.write_text(OWN)
        self.program.chmod(0o755)

    def die_installing(self) -> None:
        """An installation that is killed before it can clean up."""
        code = f"""
import os, signal
from pathlib import Path
from {policy_rc_d.__name__} import only_starting
with only_starting(lambda: ["ssh"], Path({str(self.program)!r}), Path({str(self.allowed)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_only_named_units_start_during_an_installation(host: Host) -> None:
    with only_starting(lambda: ["systemd-timesyncd", "ssh.service"], host.program, host.allowed):
        assert host.answer("dovecot.service") == 101
        assert host.answer("postfix") == 101
        assert host.answer("ssh") == 0
        assert host.answer("systemd-timesyncd.service") == 0
        assert host.answer("systemd-timesyncd-wait") == 101
    assert not host.program.exists()


def test_the_hosts_own_policy_is_asked_too_and_comes_back(host: Host) -> None:
    host.put_own()
    with only_starting(lambda: ["chrony", "ssh"], host.program, host.allowed):
        assert host.answer("chrony") == 101
        assert host.answer("ssh") == 0
        assert host.answer("postfix") == 101
    assert host.program.read_text() == OWN
    assert sorted(path.name for path in host.program.parent.iterdir()) == ["allowed", "policy-rc.d"]


def test_a_failed_installation_leaves_nothing(host: Host) -> None:
    with pytest.raises(RuntimeError), only_starting(list, host.program, host.allowed):
        raise RuntimeError
    assert not host.program.exists()


def test_what_a_killed_installation_leaves_forbids_nothing(host: Host) -> None:
    host.die_installing()
    assert host.program.exists()
    assert host.answer("postfix") == 0
    host.allowed.unlink()  # as after a reboot
    assert host.answer("postfix") == 0


def test_the_hosts_own_policy_survives_a_killed_installation_and_the_next(host: Host) -> None:
    host.put_own()
    host.die_installing()
    assert host.answer("chrony") == 101
    assert host.answer("postfix") == 0
    host.die_installing()
    with only_starting(lambda: ["chrony"], host.program, host.allowed):
        assert host.answer("postfix") == 101
    assert host.program.read_text() == OWN


def test_daemons_stay_down_while_the_installing_program_outlives_us(host: Host) -> None:
    with only_starting(list, host.program, host.allowed) as lock:
        script = host.program.read_text()
        child = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    try:
        host.program.write_text(script)
        host.program.chmod(0o755)
        assert host.answer("postfix") == 101
    finally:
        child.kill()
        child.wait()
    assert host.answer("postfix") == 0
