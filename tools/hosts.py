# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boots and removes the throw-away hosts of the tests and of the demo.

A host is a container that boots systemd and is reached over SSH, like a user's server. Everything belongs to one
scenario of one checkout: containers and networks carry labels that say so, and are found again by them. What a caller
needs (inventory, ssh_config, keys) is written to ``build/hosts/<scenario>/``. Podman and mmdebstrap run as root,
through sudo where the caller is not.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import io
import json
import os
import re
import resource
import secrets
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import yaml

CHECKOUT = Path(__file__).resolve().parent.parent
HOSTS = CHECKOUT / "build" / "hosts"
CHECKOUT_ID = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]

LABEL_CHECKOUT = "postoffice.checkout"
LABEL_SCENARIO = "postoffice.scenario"
LABEL_HOST = "postoffice.host"
LABEL_IMAGE = "postoffice.image"
IMAGE = "localhost/postoffice-host"
IMAGE_MAX_AGE = 20 * 3600  # seconds; after that its package lists name files that the archive may no longer have

BARE_PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "netbase",
    "openssh-server",
    "procps",
    "python3-minimal",
    "python3",
    "systemd",
    "systemd-sysv",
)
ELSEWHERE_PACKAGES = (
    "knot",
    "libsasl2-modules",
    "nginx-light",
    "opendkim",
    "opendmarc",
    "pebble",
    "postfix",
    "sasl2-bin",
    "ssl-cert",
    "unbound",
)
# They start once they are configured.
ELSEWHERE_UNITS = ("knot", "nginx", "opendkim", "opendmarc", "postfix", "unbound")
# They would act on the machine's kernel, which the hosts share.
MASKED_UNITS = ("systemd-modules-load.service", "systemd-sysctl.service")

PORTS = {
    "smtp": 25,
    "submission": 587,
    "submissions": 465,
    "imap": 143,
    "imaps": 993,
    "pop3": 110,
    "pop3s": 995,
    "managesieve": 4190,
    "http": 80,
    "https": 443,
}
DEMO_PORTS = ("smtp", "submission", "submissions", "imap", "imaps", "managesieve", "https")


@dataclass(frozen=True)
class Source:
    """One line of an apt configuration: where, which suite, which component."""

    uri: str
    suite: str
    component: str


@dataclass(frozen=True)
class Host:
    """A host to boot: its name in the scenario, the group it joins, its Debian release and what it has installed."""

    name: str
    group: str
    suite: str
    packages: tuple[str, ...] = ()
    published: tuple[str, ...] = ()


@dataclass
class Running:
    """A booted host and how to reach it."""

    host: Host
    container: str
    address: str
    address6: str
    ports: dict[str, str] = field(default_factory=dict)
    nameserver: str = ""
    gateways: tuple[str, str] = ("", "")  # from which connections of this machine come


def fail(message: str) -> NoReturn:
    sys.exit(f"hosts: {message}")


def say(message: str) -> None:
    print(message, flush=True)


def as_root(arguments: Sequence[str]) -> list[str]:
    return list(arguments) if os.geteuid() == 0 else ["sudo", *arguments]


def run(arguments: Sequence[str], *, stdin: bytes | None = None, check: bool = True) -> str:
    """Runs a program and returns its output; a failure ends this program with what the other one said."""
    done = subprocess.run(arguments, input=stdin, capture_output=True, check=False)
    if check and done.returncode != 0:
        said = (done.stderr + done.stdout).decode(errors="replace").strip()
        fail(f"{' '.join(arguments[:6])} ... ended with {done.returncode}:\n{said}")
    return done.stdout.decode(errors="replace")


def podman(*arguments: str, stdin: bytes | None = None, check: bool = True) -> str:
    return run(as_root(["podman", *arguments]), stdin=stdin, check=check)


def wait_for(what: str, seconds: float, attempt: Callable[[], bool]) -> None:
    """Asks again and again until the answer is yes, or ends the program when it takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not attempt():
        if time.monotonic() > deadline:
            fail(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.1)


@contextmanager
def locked(name: str) -> Iterator[None]:
    HOSTS.mkdir(parents=True, exist_ok=True)
    with (HOSTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# Base images: a bare Debian, from the mirrors that this machine uses itself.


def parse_index_targets(text: str) -> list[Source]:
    """The sources in `apt-get indextargets` output, one "URI RELEASE COMPONENT" a line, each once and in order."""
    sources = dict.fromkeys(Source(*line.split()) for line in text.splitlines() if len(line.split()) == 3)
    return [source for source in sources if source.component == "main"]


def sources_for(suite: str, sources: Sequence[Source], codename: str) -> list[Source]:
    """The same archives for another release: `bookworm-security` of a Debian 12 becomes `trixie-security`."""
    pattern = re.compile(rf"^{re.escape(codename)}(?=$|[-/])")
    return [
        Source(source.uri, pattern.sub(suite, source.suite), source.component)
        for source in sources
        if pattern.match(source.suite)
    ]


def machine_sources() -> tuple[list[Source], str]:
    """This machine's Debian archives and the name of its release, as apt itself understands its configuration."""
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines() if "=" in line
    )
    query = ["apt-get", "indextargets", "Created-By: Packages", "Origin: Debian"]
    query += ["--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"]
    sources = parse_index_targets(run(query))
    if not sources:
        run(as_root(["apt-get", "-qq", "update"]))
        sources = parse_index_targets(run(query))
    if not sources:
        fail("apt on this machine knows no Debian archive (nothing of origin Debian, component main)")
    return sources, release.get("VERSION_CODENAME", "").strip('"')


def proxy_options() -> list[str]:
    """apt's proxy settings of this machine, as options of mmdebstrap."""
    settings = run(["apt-config", "dump"]).splitlines()
    return [f"--aptopt={line.rstrip(';')}" for line in settings if re.match(r'Acquire::https?::Proxy "', line)]


def archive_names() -> list[str]:
    """The names of the hosts from which apt on this machine gets packages, proxies included."""
    uris = [source.uri for source in machine_sources()[0]]
    uris += [option.rpartition(" ")[2].strip('"') for option in proxy_options()]
    return sorted({name for name in (urlsplit(uri).hostname for uri in uris) if name})


def resolved(names: Sequence[str]) -> str:
    """Lines of hosts(5) for names, as this machine resolves them."""
    lines = []
    for name in names:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except OSError:
            continue
        lines += [f"{address[0]} {name}\n" for *_unused, address in found]
    return "".join(lines)


def image_recipe(suite: str, packages: Sequence[str], sources: Sequence[Source]) -> list[str]:
    """The mmdebstrap command that writes a base image to its standard output."""
    masks = [f'ln -s /dev/null "$1/etc/systemd/system/{unit}"' for unit in MASKED_UNITS]
    hooks = [*masks, 'rm -f "$1"/etc/ssh/ssh_host_*', 'rm -f "$1"/etc/sasldb2']
    if "knot" in packages:
        hooks.append(f'chroot "$1" systemctl --quiet disable {" ".join(ELSEWHERE_UNITS)}')
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join((*BARE_PACKAGES, *packages))}",
        "--skip=cleanup/apt/lists",
        *(f"--customize-hook={hook}" for hook in hooks),
        suite,
        "-",
        *(f"deb {source.uri} {source.suite} {source.component}" for source in sources),
    ]


def image_name(suite: str, recipe: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:12]
    return f"{IMAGE}:{suite}-{digest}"


def image_age(name: str) -> float | None:
    """Seconds since an image was made; None when there is none of that name."""
    created = podman("image", "inspect", "--format", "{{.Created.Unix}}", name, check=False).strip()
    return time.time() - int(created) if created else None


def ensure_image(suite: str, packages: Sequence[str]) -> str:
    """Builds the base image unless a recent one is there; returns its name."""
    sources, codename = machine_sources()
    recipe = image_recipe(suite, packages, sources_for(suite, sources, codename))
    name = image_name(suite, recipe)
    with locked(f"image-{suite}"):
        age = image_age(name)
        if age is not None and age < IMAGE_MAX_AGE:
            return name
        start = time.monotonic()
        say(f"building a base image of {suite}{' with ' + packages[0] if packages else ''} ...")
        command = [recipe[0], *proxy_options(), *recipe[1:]]
        with subprocess.Popen(as_root(command), stdout=subprocess.PIPE) as maker:
            importing = as_root(["podman", "import", "--quiet", "--change", f"LABEL {LABEL_IMAGE}={suite}", "-", name])
            imported = subprocess.run(importing, stdin=maker.stdout, capture_output=True, text=True, check=False)
        if maker.returncode != 0 or imported.returncode != 0:
            podman("rmi", "--force", name, check=False)
            fail(f"could not build the base image of {suite}\n{imported.stderr}")
        say(f"built a base image of {suite} in {time.monotonic() - start:.0f} s")
    return name


# What this machine needs said to podman, found out rather than assumed.


def candidate_options(files: int, processes: int) -> list[list[str]]:
    """Options to try, the defaults first.

    Podman's own limits may be higher than this machine allows even root, and the runtime's own limit of processes is
    lower on some. With both cgroup hierarchies mounted crun refuses to start what runc does.
    """
    limits: list[list[str]] = [[]]
    for most in (processes, 32768, 4096):
        limits.append(["--ulimit", f"nofile={files}:{files}", "--ulimit", f"nproc={most}:{most}"])
    runtimes: list[list[str]] = [[], ["--runtime", "runc"]]
    return [[*runtime, *limit] for runtime in runtimes for limit in limits]


def working_options(image: str) -> list[str]:
    """The first of the candidates with which podman starts a container here."""
    files, processes = (resource.getrlimit(which)[1] for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    error = ""
    for options in candidate_options(files, processes):
        trial = ["podman", "run", "--rm", "--privileged", "--systemd=always", "--network=none", *options, image, "true"]
        done = subprocess.run(as_root(trial), capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return options
        error = error or done.stderr
    fail(f"podman cannot start a container on this machine:\n{error}")


# Hosts.


def container_name(scenario: str, host: str) -> str:
    return f"postoffice-{CHECKOUT_ID}-{scenario}-{host}"


def labels(scenario: str) -> list[str]:
    return ["--label", f"{LABEL_CHECKOUT}={CHECKOUT_ID}", "--label", f"{LABEL_SCENARIO}={scenario}"]


def found(scenario: str | None) -> list[str]:
    filters = ["--filter", f"label={LABEL_CHECKOUT}={CHECKOUT_ID}"]
    return [*filters, "--filter", f"label={LABEL_SCENARIO}={scenario}"] if scenario else filters


def ensure_key(path: Path) -> str:
    """An ed25519 key pair at that path; returns the public half."""
    if not path.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "postoffice", "-f", str(path)])
    return Path(f"{path}.pub").read_text(encoding="ascii").strip()


def seed(name: str, host_key: Path, user_key: str, known: str = "") -> bytes:
    """A tar archive of what a host has before its first boot: its own name and key, who may log in, whom it knows."""
    hosts = f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost ip6-localhost ip6-loopback\n{known}"
    files = {
        "etc/ssh/ssh_host_ed25519_key": (host_key.read_bytes(), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (Path(f"{host_key}.pub").read_bytes(), 0o644),
        "root/.ssh/authorized_keys": (f"{user_key}\n".encode(), 0o600),
        "usr/local/share/first-boot/hostname": (f"{name}\n".encode(), 0o644),
        "usr/local/share/first-boot/hosts": (hosts.encode(), 0o644),
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        folder = tarfile.TarInfo("root/.ssh")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        tar.addfile(folder)
        for path, (content, mode) in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


# Podman mounts these three over the host's own files, which then cannot be replaced by renaming.
OWN_FILES = """
cp /etc/resolv.conf /usr/local/share/first-boot/
for name in hostname hosts resolv.conf; do
  umount "/etc/$name" 2>/dev/null
  cp "/usr/local/share/first-boot/$name" /etc/
done
rm -r /usr/local/share/first-boot
"""
# At the next boot it does so again, over what the host has by then.
OWN_FILES_AGAIN = "umount /etc/hostname /etc/hosts /etc/resolv.conf"


def is_running(container: str) -> bool:
    return podman("inspect", "--format", "{{.State.Status}}", container, check=False).strip() == "running"


def boot(scenario: str, host: Host) -> None:
    """Boots one host, or keeps the one that runs."""
    name = container_name(scenario, host.name)
    if (HOSTS / scenario / f"{host.name}.booted").exists() and is_running(name):
        say(f"{host.name}.{scenario} is already there")
        return
    podman("rm", "--force", "--time", "0", name, check=False)
    image = ensure_image(host.suite, host.packages)
    folder = HOSTS / scenario
    (folder / f"{host.name}.booted").unlink(missing_ok=True)
    key = folder / f"{host.name}.hostkey"
    ensure_key(key)
    network = f"postoffice-{CHECKOUT_ID}-{scenario}"
    publish = [option for port in host.published for option in ("--publish", f"127.0.0.1::{PORTS[port]}")]
    podman(
        "create", "--name", name, "--hostname", host.name, *labels(scenario), "--label", f"{LABEL_HOST}={host.name}",
        "--privileged", "--systemd=always", "--network", network, *working_options(image), *publish,
        image, "/sbin/init",
    )  # fmt: skip
    # Those that see the small internet find packages nevertheless.
    known = "" if host.published else resolved(archive_names())
    podman("cp", "-", f"{name}:/", stdin=seed(host.name, key, ensure_key(HOSTS / "id_ed25519"), known))
    podman("start", name)
    wait_for(f"{name} to boot", 120, partial(has_booted, name))
    (folder / f"{host.name}.resolv.conf").write_text(podman("exec", name, "cat", "/etc/resolv.conf"), encoding="utf-8")
    podman("exec", name, "sh", "-c", OWN_FILES)
    failed = podman("exec", name, "systemctl", "list-units", "--failed", "--plain", "--no-legend", check=False)
    if failed.strip():
        instances = Path("/proc/sys/fs/inotify/max_user_instances").read_text(encoding="ascii").strip()
        hint = f"When it is .path units: fs.inotify.max_user_instances is {instances}, and each host needs about ten."
        fail(f"{name} booted, but these units failed:\n{failed}{hint}")
    (folder / f"{host.name}.booted").touch()
    say(f"{host.name}.{scenario} booted: {host.suite}")


def has_booted(container: str) -> bool:
    state = podman("exec", container, "systemctl", "is-system-running", check=False).strip()
    return state in {"running", "degraded"}


def look_up(scenario: str, host: Host) -> Running:
    """How a running host is reached."""
    container = json.loads(podman("inspect", container_name(scenario, host.name)))[0]
    facts = container["NetworkSettings"]
    network = next(iter(facts["Networks"].values()))
    running = Running(host, container["Id"], network["IPAddress"], network["GlobalIPv6Address"])
    running.gateways = (network["Gateway"], network["IPv6Gateway"])
    running.nameserver = first_nameserver((HOSTS / scenario / f"{host.name}.resolv.conf").read_text(encoding="utf-8"))
    for port in PORTS:
        published = (facts.get("Ports") or {}).get(f"{PORTS[port]}/tcp")
        if published:
            running.ports[port] = f"127.0.0.1:{published[0]['HostPort']}"
        elif not host.published:
            running.ports[port] = f"{running.address}:{PORTS[port]}"
    return running


def first_nameserver(resolv_conf: str) -> str:
    """The resolver that podman gave to a host."""
    return next(line.split()[1] for line in resolv_conf.splitlines() if line.startswith("nameserver "))


def reachable(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=2) as connection:
            connection.sendall(b"SSH-2.0-postoffice\r\n")
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner reads, in one step."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def alias(scenario: str, host: Host) -> str:
    return f"{host.name}.{scenario}"


def unique(scenario: str, running: Running) -> str:
    """A name that no other host has or had, so that a shared SSH connection never leads to another one."""
    return f"{alias(scenario, running.host)}.{running.container[:12]}"


def ssh_config(scenario: str, hosts: Sequence[Running]) -> str:
    blocks = [
        f"Host {alias(scenario, running.host)} {unique(scenario, running)}\n"
        f"  HostName {running.address}\n"
        f"  HostKeyAlias {unique(scenario, running)}\n"
        "  User root\n"
        f"  IdentityFile {HOSTS / 'id_ed25519'}\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {HOSTS / scenario / 'known_hosts'}\n"
        "  StrictHostKeyChecking yes\n"
        for running in hosts
    ]
    return "\n".join(blocks)


def behind(running: Running) -> dict[str, Any]:
    """What the resolver of a host must know that sees nothing but the machine's network: whom it can ask.

    That resolver may know the names of the package archives only, and need not sign anything.
    """
    return {
        "unbound_forward_zones": {".": [running.nameserver]},
        "unbound_insecure_domains": ["."],
        "unbound_probe_name": next(iter(archive_names()), "."),
    }


def inventory(scenario: str, hosts: Sequence[Running], password: str) -> dict[str, Any]:
    """The inventory of a scenario: its hosts with their addresses, and what all of them know of `elsewhere`."""
    groups: dict[str, Any] = {}
    shared: dict[str, Any] = {"host_scenario": scenario}
    for running in hosts:
        shared["controller"] = dict(zip(("address", "address6"), running.gateways, strict=True))
        config = CHECKOUT / "build" / "ssh_config"
        groups.setdefault(running.host.group, {"hosts": {}})["hosts"][running.host.name] = {
            "ansible_host": unique(scenario, running),
            "ansible_user": "root",
            "ansible_ssh_common_args": f"-F {config}",
            "host_address": running.address,
            "host_address6": running.address6,
            "host_ports": running.ports,
            "host_ssh": f"ssh -F {config} {alias(scenario, running.host)}",
        }
        if running.host.published:
            shared |= behind(running)
        if running.host.name == "elsewhere":
            shared["elsewhere"] = {
                "address": running.address,
                "address6": running.address6,
                "user": "relay",
                "password": password,
                "maildir": "/var/lib/elsewhere/Maildir",
                "ssh": f"ssh -F {config} {alias(scenario, running.host)}",
            }
    return {"all": {"vars": shared, "children": groups}}


def describe(scenario: str, hosts: Sequence[Running]) -> None:
    """Writes everything that says how to reach the hosts of a scenario."""
    folder = HOSTS / scenario
    secret = folder / "elsewhere.password"
    if not secret.exists():
        write_private(secret, secrets.token_urlsafe(18))  # for the user of the smarthost
    known = [f"{unique(scenario, running)} {ensure_key(folder / f'{running.host.name}.hostkey')}" for running in hosts]
    write_private(folder / "known_hosts", "\n".join(known) + "\n")
    write_private(folder / "ssh_config", ssh_config(scenario, hosts))
    write_private(CHECKOUT / "build" / "ssh_config", f"Include {HOSTS}/*/ssh_config\n")
    text = yaml.safe_dump(
        inventory(scenario, hosts, secret.read_text(encoding="utf-8")), explicit_start=True, sort_keys=False
    )
    (folder / "inventory").mkdir(exist_ok=True)
    write_private(folder / "inventory" / "hosts.yml", text)


def planned(suite: str, publish: bool) -> list[Host]:
    """The hosts of a scenario: the mail server, and for tests the host that plays the rest of the world."""
    if publish:
        return [Host("server", "mail", suite, published=DEMO_PORTS)]
    return [Host("server", "mail", suite), Host("elsewhere", "outside", "trixie", ELSEWHERE_PACKAGES)]


def still_there(scenario: str, host: Host) -> bool:
    """Whether the host of before answers: its key says that it is the one. Root is not needed to know."""
    folder = HOSTS / scenario
    described = folder / "inventory" / "hosts.yml"
    if not (folder / f"{host.name}.booted").exists() or not described.exists():
        return False
    if described.stat().st_mtime < Path(__file__).stat().st_mtime:
        return False  # described by another version of this program
    config = CHECKOUT / "build" / "ssh_config"
    options = ["-F", str(config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
    asked = ["ssh", *options, alias(scenario, host), "true"]
    return subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def up(scenario: str, suite: str, *, publish: bool) -> None:
    hosts = planned(suite, publish)
    if all(still_there(scenario, host) for host in hosts):
        for host in hosts:
            say(f"{alias(scenario, host)} is already there")
        return
    (HOSTS / scenario).mkdir(parents=True, exist_ok=True, mode=0o700)
    network = f"postoffice-{CHECKOUT_ID}-{scenario}"
    if not podman("network", "ls", "--quiet", "--filter", f"name=^{network}$").strip():
        podman("network", "create", "--ipv6", *labels(scenario), network)
    for host in hosts:
        boot(scenario, host)
    running = [look_up(scenario, host) for host in hosts]
    for each in running:
        wait_for(f"SSH on {alias(scenario, each.host)}", 30, partial(reachable, each.address))
    describe(scenario, running)


def reboot(scenario: str, suite: str, *, publish: bool) -> None:
    """Shuts the mail host down and starts it again; its address may be another one afterwards."""
    hosts = planned(suite, publish)
    name = container_name(scenario, hosts[0].name)
    podman("stop", "--time", "90", name)
    podman("start", name)
    podman("exec", name, "sh", "-c", OWN_FILES_AGAIN)
    wait_for(f"{name} to boot", 120, partial(has_booted, name))
    running = [look_up(scenario, host) for host in hosts]
    wait_for(f"SSH on {alias(scenario, hosts[0])}", 30, partial(reachable, running[0].address))
    describe(scenario, running)


def down(scenario: str | None) -> None:
    """Removes the hosts and networks of a scenario, or of the whole checkout."""
    containers = podman("ps", "--all", "--quiet", *found(scenario)).split()
    if containers:
        wait_for("podman to remove the hosts", 60, lambda: removed(scenario))
        say(f"removed {len(containers)} host{'s' if len(containers) > 1 else ''}")
    networks = podman("network", "ls", "--quiet", *found(scenario)).split()
    if networks:
        podman("network", "rm", "--force", *networks)
    for folder in [HOSTS / scenario] if scenario else [path for path in HOSTS.glob("*") if path.is_dir()]:
        shutil.rmtree(folder, ignore_errors=True)
        (CHECKOUT / "build" / f"{folder.name}.json").unlink(missing_ok=True)


def removed(scenario: str | None) -> bool:
    """Whether no host is left; podman leaves those whose processes a busy machine did not end in time."""
    containers = podman("ps", "--all", "--quiet", *found(scenario)).split()
    if containers:
        podman("rm", "--force", "--time", "0", "--volumes", *containers, check=False)
    return not podman("ps", "--all", "--quiet", *found(scenario)).split()


def remove_images() -> None:
    """Removes the base images, except where another checkout's host runs from one."""
    for image in podman("images", "--quiet", "--filter", f"label={LABEL_IMAGE}").split():
        podman("rmi", image, check=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="Boot and remove the throw-away hosts of the tests and of the demo.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, act, what in (
        ("up", up, "boot the hosts of a scenario, or keep those that run"),
        ("reboot", reboot, "shut the mail host of a scenario down and start it again"),
    ):
        starting = commands.add_parser(command, help=what)
        starting.add_argument("scenario")
        starting.add_argument("--suite", default="trixie", choices=["bookworm", "trixie"])
        starting.add_argument("--publish", action="store_true", help="one mail server, its ports published on loopback")
        starting.set_defaults(act=act)
    stopping = commands.add_parser("down", help="remove the hosts of a scenario")
    stopping.add_argument("scenario", nargs="?", help="all scenarios of this checkout when left out")
    stopping.add_argument("--images", action="store_true", help="remove the base images, too")
    arguments = parser.parse_args()
    if "act" in arguments:
        arguments.act(arguments.scenario, arguments.suite, publish=arguments.publish)
        return
    down(arguments.scenario)
    if arguments.images:
        remove_images()


if __name__ == "__main__":
    main()
