# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check, compile and probe what the role dovecot configures: dovecot-config check|compile|probe.

check    finds what `doveconf -n` passes over: warnings, misspelt settings, files, users, groups, programs and plugins
         that do not exist, a certificate without its key, a directory that is none, Sieve scripts with errors.
compile  compiles the declared Sieve scripts to where mail processes cannot write, and removes what is left of others.
probe    connects to every listener and waits for the daemon's own greeting.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import hashlib
import json
import os
import pwd
import re
import shlex
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/postoffice/dovecot.json")
CONFIGURATION = Path("/etc/dovecot/dovecot.conf")
SCRIPTS = Path("/etc/dovecot/sieve")
LEARNING = SCRIPTS / "learning"
COMPILED = Path("/var/lib/dovecot/sieve")
MASTER_PID = Path("/run/dovecot/master.pid")
SIEVE_PLUGINS = "/usr/lib/dovecot/modules/sieve"

NOT_INSTALLED = 127
PROGRAM_SECONDS = 60
CONNECT_SECONDS = 5
TCP_LISTEN = "0A"  # as /proc/net/tcp writes it
REFUSALS = ("* ", "-ERR", "NO", "BYE", "4", "5", "action=")


class ProblemError(Exception):
    """Something that an operator has to put right; the text says what and where."""


@dataclass
class Block:
    """A block of settings as `doveconf` prints them. Blocks are named as written, for example `service auth`."""

    values: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, Block] = field(default_factory=dict)

    def walk(self, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, str]]:
        """Every setting in and below this block: the blocks around it, its name, its value."""
        for name, value in self.values.items():
            yield path, name, value
        for name, block in self.blocks.items():
            yield from block.walk((*path, name))

    def update(self, other: Block) -> None:
        """Take over the settings of another block. 2.4 prints the services' defaults only when asked for defaults."""
        self.values.update(other.values)
        for name, block in other.blocks.items():
            self.blocks.setdefault(name, Block()).update(block)

    def words(self, name: str) -> list[str]:
        """A list setting: words on 2.3 and in short form on 2.4, where the long form is a block of `word = yes`."""
        if name in self.blocks:
            return [word for word, value in self.blocks[name].values.items() if value == "yes"]
        return self.values.get(name, "").split()


def parse_configuration(text: str) -> Block:
    """Read the output of `doveconf`. A line that is no setting is a problem: something unexpected was printed."""
    root = Block()
    stack = [root]
    for line in (raw.strip() for raw in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line == "}":
            stack.pop()
        elif line.endswith("{"):
            stack.append(stack[-1].blocks.setdefault(line[:-1].strip(), Block()))
        elif match := re.match(r"(\S+|\"[^\"]*\"|[\w./%{}-]+) =(?: (.*))?$", line):
            stack[-1].values[match[1]] = match[2] or ""
        else:
            raise ProblemError(f"doveconf: unexpected line: {line}")
    return root


def run(*argv: str, warnings: bool = False) -> str:
    """Run a program and return what it prints. An error is a problem; so is any word of warning, unless allowed."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False)
    except FileNotFoundError:
        print(f"{argv[0]} is not installed", file=sys.stderr)
        sys.exit(NOT_INSTALLED)
    except subprocess.TimeoutExpired:
        raise ProblemError(f"{shlex.join(argv)} does not end") from None
    if done.returncode != 0 or (done.stderr.strip() and not warnings):
        raise ProblemError(done.stderr.strip() or f"{shlex.join(argv)} exits with status {done.returncode}")
    return done.stdout


# Check


def check_accounts(configuration: Block) -> Iterator[str]:
    """Users and groups that services, listeners and mail processes run as."""
    for path, name, value in configuration.walk():
        place = " / ".join((*path, name))
        if name in ("user", "mail_uid", "default_internal_user", "default_login_user"):
            if is_name(value) and not exists(pwd.getpwnam, value):
                yield f"{place} = {value}: there is no such user"
        elif name in ("group", "extra_groups", "mail_gid", "mail_access_groups", "mail_privileged_group"):
            for group in re.split(r"[\s,]+", value):
                if is_name(group) and not exists(grp.getgrnam, group):
                    yield f"{place} = {group}: there is no such group"


def is_name(value: str) -> bool:
    return bool(value) and not value.startswith("$") and not value.isdigit()


def exists(lookup: Callable[[str], object], name: str) -> bool:
    try:
        lookup(name)
    except KeyError:
        return False
    return True


def check_files(configuration: Block) -> Iterator[str]:
    """Files that settings name: `<file` on 2.3, settings called something_file, _path or _dir on both."""
    for path, name, value in configuration.walk():
        named = value.removeprefix("<").strip()
        is_file = value.startswith("<") or name.endswith(("_file", "_path", "_dir")) or name in ("args", "path")
        if is_file and is_fixed_path(named) and not named.startswith(str(COMPILED)) and not Path(named).exists():
            yield f"{' / '.join((*path, name))} = {value}: there is no such file"


def check_programs(configuration: Block, protocols: Iterable[str], folder: str) -> Iterator[str]:
    """Programs that services start, of the protocols that are served."""
    served = {"", *protocols}
    for name, service in configuration.blocks.items():
        words = service.values.get("executable", "").split()
        if not name.startswith("service ") or not words or service.values.get("protocol", "") not in served:
            continue
        arguments = [word for word in words[1:] if not word.startswith("-")]
        program = arguments[0] if words[0] == "script" and arguments else words[0]
        if not os.access(Path(folder, program), os.X_OK):
            yield f"{name} / executable = {' '.join(words)}: {program} is not there or cannot be run"


def is_fixed_path(value: str) -> bool:
    """Whether a value is one absolute path that does not depend on the user."""
    return value.startswith("/") and not re.search(r"[%\s]", value)


def program_of(words: list[str]) -> str:
    """The program of `executable = ...`: the one that `script` runs, if it does."""
    if words[0] != "script":
        return words[0]
    return next((word for word in words[1:] if not word.startswith("-")), words[0])


def check_plugins(configuration: Block, folder: str) -> Iterator[str]:
    """Plugins of mail processes and of Sieve."""
    for place, block in [("", configuration), *configuration.blocks.items()]:
        for setting, where in (("mail_plugins", folder), ("sieve_plugins", SIEVE_PLUGINS)):
            for plugin in block.words(setting):
                if not list(Path(where).glob(f"lib*_{plugin}_plugin.so")):
                    yield f"{place} {setting}: there is no plugin {plugin} in {where}".strip()


def as_compiled(name: str) -> str:
    """How a setting occurs in programs that put its name together from parts."""
    if re.fullmatch(r"imapsieve_mailbox\d+_(name|from|causes|before|after)", name):
        return "imapsieve_mailbox"
    if extprogram := re.fullmatch(r"sieve_(?:pipe|filter|execute)_(\w+)", name):
        return f"sieve_%s_{extprogram[1]}"
    # Settings may be numbered; those of quota roots are put together from the root's name and an ending.
    return re.sub(r"\d+$", "", name).removeprefix("quota")


def check_plugin_settings(configuration: Block, folders: Iterable[str]) -> Iterator[str]:
    """Names in `plugin {}` of 2.3, which accepts anything: each must occur in one of the programs' files."""
    names = configuration.blocks.get("plugin", Block()).values
    if not names:
        return
    files = [path for folder in folders for path in Path(folder).glob("**/*") if path.is_file()]
    unknown = {name: as_compiled(name).encode() + b"\0" for name in names}
    for path in files:
        content = path.read_bytes()
        unknown = {name: text for name, text in unknown.items() if text not in content}
    yield from (f"plugin / {name}: no part of Dovecot knows this setting" for name in unknown)


def check_certificate(certificate: str, key: str) -> Iterator[str]:
    """The private key must belong to the certificate, and must not ask for a passphrase."""
    missing = [path for path in (certificate, key) if not Path(path).exists()]
    if missing:
        yield from (f"certificate or key {path}: there is no such file" for path in missing)
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError, OSError) as error:
        yield f"certificate {certificate} with key {key}: {getattr(error, 'reason', None) or error}"


def check_listeners(configuration: Block, protocols: Iterable[str]) -> Iterator[str]:
    """Addresses and ports that cannot be had: a reload that meets one ends the running daemon (2.3 and 2.4)."""
    addresses = [word for word in re.split(r"[\s,]+", configuration.values.get("listen", "")) if word]
    listening = ports_of_running_daemon()
    for service in configuration.blocks.values():
        if service.values.get("protocol", "") not in protocols:
            continue
        for name, listener in service.blocks.items():
            port = int(listener.values.get("port", "0")) if name.startswith("inet_listener ") else 0
            for address in addresses if port else ():
                yield from cannot_listen(address, port, port in listening)


def cannot_listen(address: str, port: int, listening: bool) -> Iterator[str]:
    """Why nobody can listen there; nothing when it is possible, or when the host has no IPv6 for `::`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                stream.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            stream.bind(("" if address == "*" else address, port))
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        if not (listening if in_use else address == "::"):
            yield f"cannot listen on {address} port {port}: {error.strerror or error}"


def ports_of_running_daemon() -> set[int]:
    """The TCP ports that the running Dovecot listens on."""
    inodes = set(sockets_of_running_daemon())
    tables = [Path("/proc/net", name) for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == TCP_LISTEN and row[9] in inodes}


def sockets_of_running_daemon() -> Iterator[str]:
    """The inodes of its sockets; none when it is not running."""
    with contextlib.suppress(OSError):
        for entry in Path("/proc", MASTER_PID.read_text(encoding="ascii").strip(), "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                yield str(entry.readlink()).removeprefix("socket:[").removesuffix("]")


def check_directory(path: str, queries: Iterable[str]) -> Iterator[str]:
    """Every query must be one that the directory answers."""
    if not Path(path).exists():
        yield f"directory {path}: there is no such file"
        return
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            for query in queries:
                database.execute(query).fetchone()
    except sqlite3.Error as error:
        yield f"directory {path}: {error}"


def check(settings: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong, one text each. Scripts are compiled when the rest is right."""
    return list(check_configuration(settings)) or list(check_scripts())


def check_configuration(settings: Mapping[str, Any]) -> Iterator[str]:
    configuration = parse_configuration(run("doveconf", "-ad"))
    configuration.update(parse_configuration(run("doveconf", "-a")))
    changed = parse_configuration(run("doveconf", "-n"))
    protocols = configuration.words("protocols")
    programs = configuration.values.get("libexec_dir", "/usr/lib/dovecot")
    plugins = configuration.values.get("mail_plugin_dir", "/usr/lib/dovecot/modules")
    yield from check_accounts(configuration)
    yield from check_files(changed)
    yield from check_programs(configuration, protocols, programs)
    yield from check_plugins(configuration, plugins)
    yield from check_plugin_settings(configuration, (programs,))
    yield from check_listeners(configuration, protocols)
    yield from check_certificate(settings["certificate"], settings["certificate_key"])
    for pair in settings["name_certificates"]:
        yield from check_certificate(pair["certificate"], pair["key"])
    directory = settings["directory"]
    if directory["path"]:
        yield from check_directory(directory["path"], directory["queries"])


# Compile


def fingerprint(path: Path, compiler: str) -> str:
    return hashlib.sha256(compiler.encode() + path.read_bytes()).hexdigest()


def compiler_fingerprint() -> str:
    """What else decides about the compiled form: the version, and settings such as the extensions."""
    return run("dovecot", "--version") + hashlib.sha256(CONFIGURATION.read_bytes()).hexdigest()


def declared_scripts() -> dict[str, str]:
    """The declared scripts, by their path below the folder of scripts, and their fingerprints.

    When nobody learns any more, the scripts that teach stay until after the reload, and do not compile: left out.
    """
    compiler = compiler_fingerprint()
    learns = str(LEARNING) in CONFIGURATION.read_text(encoding="utf-8")
    scripts = [path for path in sorted(SCRIPTS.glob("*/*.sieve")) if learns or path.parent.name != LEARNING.name]
    return {str(path.relative_to(SCRIPTS)): fingerprint(path, compiler) for path in scripts}


def compiled_path(name: str) -> Path:
    return (COMPILED / name).with_suffix(".svbin")


def compiled_scripts() -> dict[str, str]:
    """The scripts that are compiled, and the fingerprints of what they were compiled from."""
    try:
        index = json.loads((COMPILED / "index.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {name: value for name, value in index.items() if compiled_path(name).exists()}


def changed_scripts(declared: Mapping[str, str], compiled: Mapping[str, str]) -> dict[str, list[Path]]:
    """The scripts that have to be compiled, by folder."""
    changed: dict[str, list[Path]] = {}
    for name, wanted in declared.items():
        if compiled.get(name) != wanted:
            changed.setdefault(str(Path(name).parent), []).append(SCRIPTS / name)
    return changed


def sievec(*arguments: Path) -> None:
    """Compile a script, or all scripts of a folder (which is ten times as fast). Warnings are nobody's problem."""
    run("sievec", "-c", str(CONFIGURATION), *map(str, arguments), warnings=True)


def check_scripts() -> Iterator[str]:
    """The first error of each folder, as sievec says it: script, line, and what is wrong. Nothing is kept."""
    for folder, paths in changed_scripts(declared_scripts(), compiled_scripts()).items():
        with tempfile.TemporaryDirectory() as copies:
            for path in paths:
                shutil.copy(path, copies)
            try:
                sievec(Path(copies))
            except ProblemError as problem:
                yield f"Sieve script in {SCRIPTS / folder}:\n{problem}".replace(copies, str(SCRIPTS / folder))


def compile_in_place() -> Iterator[str]:
    """Compile what changed, and remove what is left of scripts that are gone. A script must be compiled where it is."""
    declared = declared_scripts()
    for folder, paths in changed_scripts(declared, compiled_scripts()).items():
        (COMPILED / folder).mkdir(mode=0o755, parents=True, exist_ok=True)
        all_of_them = len(list((SCRIPTS / folder).glob("*.sieve")))
        try:
            if len(paths) * 10 > all_of_them > 10:
                sievec(SCRIPTS / folder)
            else:
                for path in paths:
                    sievec(path, path.with_suffix(".svbin"))
        except ProblemError as problem:
            declared = {name: value for name, value in declared.items() if SCRIPTS / name not in paths}
            yield f"Sieve script in {SCRIPTS / folder}:\n{problem}"
        for path in (SCRIPTS / folder).glob("*.svbin"):
            path.chmod(0o644)
            shutil.move(path, COMPILED / folder / path.name)
    write_index(declared)


def write_index(declared: Mapping[str, str]) -> None:
    """Note what is compiled, and remove the rest."""
    wanted = {compiled_path(name) for name in declared}
    for path in COMPILED.glob("*/*"):
        if path not in wanted:
            path.unlink()
    COMPILED.mkdir(parents=True, exist_ok=True)
    fresh = COMPILED / "index.new"
    fresh.write_text(json.dumps(declared), encoding="utf-8")
    fresh.rename(COMPILED / "index.json")


# Probe


def probe_greeting(stream: socket.socket, expected: str) -> None:
    """Read lines until one starts with what is expected; a refusal or an end is a problem."""
    with stream.makefile("r", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith(expected):
                return
            if line.startswith(REFUSALS):
                raise ProblemError(f"answers {line.strip()}")
    raise ProblemError("closes the connection")


def probe_listener(listener: Mapping[str, Any]) -> None:
    """Connect to one listener: `socket` or `address` and `port`, `tls`, `send`, `expect`."""
    with contextlib.ExitStack() as stack:
        if "socket" in listener:
            stream = stack.enter_context(socket.socket(socket.AF_UNIX))
            stream.settimeout(CONNECT_SECONDS)
            stream.connect(listener["socket"])
        else:
            address = (listener["address"], int(listener["port"]))
            stream = stack.enter_context(socket.create_connection(address, timeout=CONNECT_SECONDS))
        if listener.get("tls"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            stream = stack.enter_context(context.wrap_socket(stream))
        stream.sendall(listener.get("send", "").encode())
        probe_greeting(stream, listener["expect"])


def probe(settings: Mapping[str, Any]) -> Iterator[str]:
    """Every listener that does not answer, and how."""
    for listener in settings["listeners"]:
        try:
            probe_listener(listener)
        except (OSError, ProblemError) as error:
            yield f"{listener['name']} on {listener.get('socket') or listener.get('address')}: {error}"


def main(arguments: list[str]) -> int:
    settings = json.loads(SETTINGS.read_text(encoding="utf-8"))
    actions: dict[str, Callable[[], Iterable[str]]] = {
        "check": lambda: check(settings),
        "compile": compile_in_place,
        "probe": lambda: probe(settings),
    }
    try:
        problems = list(actions[arguments[0]]())
    except ProblemError as problem:
        problems = [str(problem)]
    for text in problems:
        print(text, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
