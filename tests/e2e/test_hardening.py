"""What an intruder would find: few open doors, and daemons that can do little beyond their work."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
from mailtest.deployment import Deployment, Shell

pytestmark = pytest.mark.last

WEB = {80, 443}
MAIL = {25, 465, 587, 143, 993, 4190}
SSH = {22}
POP3 = {110, 995}
# Only for the host itself: the resolver, postsrsd, and the way of forwarded mail through the queue.
LOOPBACK = {("127.0.0.1", port) for port in (53, 10001, 10002, 10029)}

DAEMONS = (
    "postfix",
    "dovecot",
    "nginx",
    "postoffice-autoconfig",
    "postoffice-milter",
    "postoffice-tls-policy",
    "postfix-mta-sts-resolver",
    "postgrey",
    "postsrsd",
    "spamd",
    "unbound",
)
# The exposure according to `systemd-analyze security` (0 to 10) that each must not exceed.
EXPOSURE = {
    "postfix": 3.5,
    "dovecot": 3.5,
    "fail2ban": 3.0,
    "nginx": 3.0,
    "postgrey": 1.5,
    "postoffice-autoconfig": 1.5,
    "postoffice-bayes": 2.0,
    "postoffice-certificates": 1.5,
    "postoffice-milter": 1.5,
    "postoffice-publish": 2.0,
    "postoffice-tls-policy": 2.0,
    "postfix-mta-sts-resolver": 2.5,
    "postsrsd": 2.0,
    "spamd": 2.5,
    "unbound": 3.0,
}


def unit(host: Shell, name: str) -> str:
    """The unit that does the work; Debian 12 runs Postfix as an instance of postfix@."""
    instance = f"{name}@-.service"
    running = host.run("systemctl", "is-active", "--quiet", instance, check=False).returncode == 0
    return instance if running else f"{name}.service"


def main_process(host: Shell, name: str) -> str:
    process = host.output("systemctl", "show", "--property=MainPID", "--value", unit(host, name)).strip()
    assert process not in ("", "0"), f"{name} does not run"
    return process


def in_its_view(host: Shell, name: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program as root where the daemon's files are: in its mount namespace."""
    return host.run("nsenter", f"--target={main_process(host, name)}", "--mount", "--", *argv, check=False)


def statuses(host: Shell, name: str) -> list[str]:
    """What the kernel says of every process of the daemon (proc_pid_status(5)), its main process first."""
    its_unit = unit(host, name)
    running = [line.split() for line in host.output("ps", "-e", "-o", "pid=,unit=").splitlines()]
    children = [f"/proc/{process}/status" for process, where in running if where == its_unit]
    main = host.output("cat", f"/proc/{main_process(host, name)}/status")
    return [main, *re.findall(r"^Name:.*(?:\n.+)*", host.run("cat", *children, check=False).stdout, re.MULTILINE)]


def listening(host: Shell) -> Iterator[tuple[str, str, int]]:
    for line in host.output("ss", "--no-header", "--listening", "--numeric", "--tcp", "--udp").splitlines():
        fields = line.split()
        address, _unused, port = fields[4].rpartition(":")
        yield fields[0], address, int(port)


def test_nothing_listens_that_need_not(host: Shell, deployment: Deployment) -> None:
    wanted = MAIL | WEB | SSH | (POP3 if deployment.variables.get("dovecot_pop3") else set())
    sockets = set(listening(host))
    assert {(address, port) for _unused, address, port in sockets if address.startswith("127.")} == LOOPBACK
    open_to_others = {each for each in sockets if not each[1].startswith("127.")}
    assert {port for protocol, _unused, port in open_to_others if protocol == "tcp"} == wanted
    assert {(address, port) for protocol, address, port in open_to_others if protocol == "udp"} == set()


@pytest.mark.parametrize("name", EXPOSURE)
def test_a_daemon_is_little_exposed(host: Shell, name: str) -> None:
    analysis = host.output("systemd-analyze", "security", "--no-pager", unit(host, name))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", analysis)
    assert found
    assert float(found[1]) <= EXPOSURE[name], analysis


@pytest.mark.parametrize("name", DAEMONS)
@pytest.mark.parametrize("path", ["/usr/bin", "/usr/local/lib/postoffice", "/boot", "/etc/systemd/system"])
def test_a_daemon_cannot_change_the_system(host: Shell, name: str, path: str) -> None:
    tried = in_its_view(host, name, "touch", f"{path}/probe")
    assert tried.returncode != 0
    assert "Read-only file system" in tried.stderr


@pytest.mark.parametrize("name", DAEMONS)
def test_a_daemon_does_not_see_homes(host: Shell, name: str) -> None:
    assert host.run("test", "-e", "/root/.ssh/authorized_keys").returncode == 0
    assert in_its_view(host, name, "test", "-e", "/root/.ssh/authorized_keys").returncode == 1
    assert in_its_view(host, name, "test", "-e", "/usr/bin/test").returncode == 0


@pytest.mark.parametrize("name", DAEMONS)
def test_a_daemon_has_its_own_tmp(host: Shell, name: str) -> None:
    host.run("touch", "/tmp/probe-of-the-host")
    try:
        assert in_its_view(host, name, "test", "-e", "/tmp/probe-of-the-host").returncode == 1
    finally:
        host.run("rm", "/tmp/probe-of-the-host")


HANDS_ON = {"dovecot"}  # Sieve answers and redirects through sendmail, whose postdrop is set-group-ID
FORBIDDEN = {  # capability: its number
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_MODULE": 16,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_BOOT": 22,
    "CAP_SYS_TIME": 25,
    "CAP_MKNOD": 27,
    "CAP_MAC_ADMIN": 33,
    "CAP_BPF": 39,
}


@pytest.mark.parametrize("name", DAEMONS)
def test_a_daemon_can_never_gain_the_system_s_powers(host: Shell, name: str) -> None:
    for status in statuses(host, name):
        bounding = int(re.search(r"CapBnd:\s+([0-9a-f]+)", status)[1], 16)  # type: ignore[index]
        assert [power for power, number in FORBIDDEN.items() if bounding >> number & 1] == []
        assert re.search(r"Seccomp:\s+2", status), "system calls are filtered"
        assert name in HANDS_ON or re.search(r"NoNewPrivs:\s+1", status)


def test_the_milter_runs_as_a_user_of_its_own(host: Shell) -> None:
    user = host.output("ps", "-o", "user:32=", "-p", main_process(host, "postoffice-milter")).strip()
    assert user == "postoffice-milter"


def test_daemons_come_back_by_themselves(host: Shell) -> None:
    for name in DAEMONS:
        policy = host.output("systemctl", "show", "--property=Restart", "--value", unit(host, name)).strip()
        assert policy in ("always", "on-failure", "on-abnormal"), name


@pytest.mark.parametrize(
    ("path", "reader"),
    [
        ("/var/lib/postoffice/directory.sqlite3", "postfix"),
        ("/var/lib/postoffice/directory.sqlite3", "nobody"),
        ("/var/lib/postoffice/published/lookup.sqlite3", "nobody"),
        ("/etc/postoffice/tls/privkey.pem", "postfix"),
        ("/etc/postoffice/tls/privkey.pem", "nobody"),
        ("/var/vmail/example.org", "nobody"),
    ],
)
def test_what_is_private_is_private(host: Shell, path: str, reader: str) -> None:
    assert host.run("test", "-e", path).returncode == 0
    tried = host.run("runuser", "-u", reader, "--", "test", "-r", path, check=False)
    assert tried.returncode == 1


def test_the_published_copy_holds_no_hash(host: Shell) -> None:
    published = host.run(
        "grep", "--count", "--text", r"\{[A-Z0-9-]*\}\$", "/var/lib/postoffice/published/lookup.sqlite3", check=False
    )
    assert published.stdout.strip() == "0"
    live = host.output("grep", "--count", "--text", r"\{[A-Z0-9-]*\}\$", "/var/lib/postoffice/directory.sqlite3")
    assert int(live) > 0, "the same search finds the hashes where they belong"
