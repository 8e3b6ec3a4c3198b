# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever happens to a change of the directory, Postfix and Dovecot find the old state or the new one, at once."""

from __future__ import annotations

import json
import math
import os
import random
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mailtest.deployment import Shell
from mailtest.waiting import wait_for
from passlib.hash import sha256_crypt
from playing import Played, Player, Target

DIRECTORY = "/var/lib/postoffice"
DATABASE = f"{DIRECTORY}/directory.sqlite3"
PUBLISHED = f"{DIRECTORY}/published"
FOLDER = "/run/postoffice-host-test"
MAIN_CF = "/etc/postfix/main.cf"
DOMAIN = "directory.example"
STEADY = "steady.example"
MANAGER = "host-test"
PASSWORD = "a cheap hash"
HASH = "{SHA256-CRYPT}" + sha256_crypt.using(rounds=1000).hash(PASSWORD)
PROGRAMS = ("asking.py", "killing.py")
MANY = 50_000
MORE = 0.1  # seconds by which a lookup may take longer than usual
KILLS = 200
PUBLISHER_KILLS = 10
RACES = 5


def mailbox(name: str, **options: str) -> dict[str, str]:
    return {"name": name, "password_hash": HASH, "quota": "1G", **options}


def site(size: int, quota: str = "1G", *also: str) -> list[dict[str, Any]]:
    """Domains as the inventory has them; two states of the directory differ in everything but who is `both`."""
    names = ["both", "switched", *also, *(f"u{number:05}" for number in range(size))]
    aliases = [{"name": f"{quota.lower()}-{number}", "destinations": "both"} for number in range(20)]
    boxes = [mailbox(name, quota=quota, display_name=f"{name} with {quota}") for name in names]
    return [
        {
            "name": DOMAIN,
            "mailboxes": boxes,
            "aliases": [{**each, "destinations": f"both@{DOMAIN}"} for each in aliases],
        }
    ]


STATES = {"old": site(300, "1G", "only-old"), "new": site(300, "2G", "only-new")}
CLEAN_UP = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60)
connection.execute("PRAGMA foreign_keys = on")
for domain in sys.argv[2:]:
    for table in ("mailbox", "alias"):
        connection.execute(f"DELETE FROM {table} WHERE address LIKE '%@' || ?", [domain])
    connection.execute("DELETE FROM domain WHERE name = ?", [domain])
connection.commit()
connection.close()
"""


def module(player: Player, domains: object, **options: object) -> dict[str, Any]:
    """A task of the module that `site.yml` uses; what others manage is not its business."""
    source = player.folder / "domains.json"
    source.write_text(json.dumps(domains))
    given = {"domains": f"{{{{ lookup('ansible.builtin.file', '{source}') }}}}", "managed_by": MANAGER}
    return {"postoffice.mail.directory": {**given, "absent": "delete", "retention_days": 0, **options}}


def play(player: Player, task: Mapping[str, Any], *arguments: str) -> Played:
    """One task, and what it returned."""
    returned = player.folder / "result.json"
    returned.unlink(missing_ok=True)
    report = {
        "ansible.builtin.copy": {"content": "{{ result | to_json }}", "dest": str(returned), "mode": "0600"},
        "delegate_to": "localhost",
        "check_mode": False,
        "diff": False,
    }
    tasks = [{"block": [{**task, "register": "result"}], "always": [report]}]
    status, output = player.finish(player.start(tasks, *arguments))
    return Played(status, output, json.loads(returned.read_text()) if returned.exists() else {})


def clean_up(host: Shell, *domains: str) -> None:
    host.run("python3", "-", DATABASE, *domains, stdin=CLEAN_UP)
    host.run("systemctl", "start", "postoffice-publish.service")
    host.run("rm", "-rf", *(f"/var/vmail/{domain}" for domain in domains))


@pytest.fixture(scope="module", autouse=True)
def programs(host: Shell) -> Iterator[None]:
    """The programs that run on the host; in the end, the host as it was.

    A transaction that ends after RCPT counts as mail in flow that is never delivered; Postfix then makes everybody wait
    for a second, `in_flow_delay`, until its next reload. Nobody asks that much without sending.
    """
    host.run("mkdir", "-p", FOLDER)
    for name in PROGRAMS:
        host.run("tee", f"{FOLDER}/{name}", stdin=Path(__file__).with_name(name).read_text())
    host.run("cp", "-a", MAIN_CF, FOLDER)
    host.run("postconf", "-e", "in_flow_delay=0")
    host.run("systemctl", "reload", "postfix.service")
    yield
    host.run("cp", "-a", f"{FOLDER}/main.cf", MAIN_CF)
    host.run("systemctl", "reload", "postfix.service")
    clean_up(host, DOMAIN, STEADY)
    host.run("rm", "-rf", FOLDER)


@pytest.fixture(scope="module")
def modules(target: Target, host: Shell, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The module with its arguments as Ansible brings it to the host, once per state; the old one is there."""
    player = Player(target, tmp_path_factory.mktemp("modules"))
    kept = {}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ANSIBLE_KEEP_REMOTE_FILES", "1")
        environment.setenv("ANSIBLE_PIPELINING", "0")
        for state in ("new", "old"):
            folder = f"{FOLDER}/{state}"
            task = {**module(player, STATES[state]), "vars": {"ansible_remote_tmp": folder}}
            status, output = player.finish(player.start([task]))
            assert status == 0, output
            kept[state] = host.output("find", folder, "-name", "AnsiballZ_directory.py").strip()
    return kept


def on_host(host: Shell, task: str, **settings: object) -> Any:
    """Do what `killing.py` calls so; the seed repeats a run that failed."""
    seed = int(os.environ.get("POSTOFFICE_SEED", random.randrange(1 << 32)))
    given = {"task": task, "path": DATABASE, "folder": PUBLISHED, "domain": DOMAIN, "seed": seed, **settings}
    done = subprocess.run(
        [*host.login, f"cd {FOLDER} && python3 -B killing.py"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\nonce more: POSTOFFICE_SEED={seed}"
    return json.loads(done.stdout)


@dataclass
class Asked:
    """What the daemons' clients were told meanwhile."""

    process: subprocess.Popen[str]
    answers: list[tuple[str, str, float, float, str]] = field(default_factory=list)

    def meanwhile(self, what: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()

    @property
    def troubles(self) -> list[str]:
        return [f"{what}, {meanwhile}: {trouble}" for what, meanwhile, *_unused, trouble in self.answers if trouble]


@contextmanager
def asked(host: Shell, person: Mapping[str, str], **settings: object) -> Iterator[Asked]:
    """Ask both daemons, 20 times a second each; afterwards no question may have failed."""
    given: dict[str, object] = {
        "recipients": {person["address"]: "250", f"nobody@{person['address'].partition('@')[2]}": "550"},
        "users": {person["address"]: "USER", f"nobody@{DOMAIN}": "NOTFOUND"},
        "login": [person["address"], person["password"]],
        "rates": {
            "SMTP, new session": [2, 8],
            "SMTP, kept session": [2, 12],
            "Dovecot, user": [2, 16],
            "Dovecot, log-in": [1, 4],
        },
        **settings,
    }
    process = subprocess.Popen(
        [*host.login, f"cd {FOLDER} && python3 -B asking.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout
    asked = Asked(process)
    try:
        asked.meanwhile(json.dumps(given))
        assert process.stdout.readline() == "asking\n"
        yield asked
    finally:
        said, _unused = process.communicate(timeout=120)
    asked.answers = [tuple(answer) for answer in json.loads(said)]
    assert {answer[0] for answer in asked.answers} >= {"SMTP, kept session", "Dovecot, user"}
    assert asked.troubles == []


@pytest.fixture
def person(target: Target) -> Mapping[str, str]:
    """Somebody of the inventory."""
    user: Mapping[str, str] = target.description["users"][0]
    return user


@pytest.fixture
def quiet(host: Shell) -> Iterator[None]:
    """No daemon says that it was locked out, throttled or ended."""
    cursor = host.output("journalctl", "-n", "0", "--show-cursor").split("cursor: ")[-1].strip()
    yield
    said = host.output(
        "journalctl", f"--after-cursor={cursor}", "-o", "cat", "-t", "dovecot", "-u", "postfix*", "--all"
    )
    bad = [line for line in said.splitlines() if any(word in line.lower() for word in COMPLAINTS)]
    assert bad == []


COMPLAINTS = ("locked", "throttl", "fatal", "panic", "malformed", "disk i/o")


def test_a_run_killed_at_any_moment_leaves_the_old_state_or_the_new(
    modules: Mapping[str, str], host: Shell, target: Target, quiet: None, record_property: Callable[[str, object], None]
) -> None:
    done = on_host(host, "modules", modules=modules, kills=KILLS)
    record_property("kills", done)
    print(done)
    assert done["outcome"]["old"] > 0
    assert done["outcome"]["new"] > 0
    assert sum(done["outcome"][state] for state in ("old", "new")) == KILLS


def test_a_publisher_killed_at_any_moment_is_brought_to_an_end_by_itself(
    modules: Mapping[str, str], host: Shell, quiet: None, record_property: Callable[[str, object], None]
) -> None:
    done = on_host(host, "publishers", kills=PUBLISHER_KILLS)
    record_property("kills", done)
    print(done)
    assert done["outcome"]["killed"] > PUBLISHER_KILLS / 2


def test_a_hot_journal_is_healed_by_whoever_asks_first(modules: Mapping[str, str], host: Shell, quiet: None) -> None:
    """Dovecot here: the service that publishes, which would also heal it, is kept away."""
    host.run("systemctl", "stop", "postoffice-publish.path")
    try:
        done = on_host(host, "journal")
    finally:
        host.run("systemctl", "start", "postoffice-publish.path")
    assert done == {"left": True, "healed": True, "same": True}


def test_two_runs_at_once_both_end_well(modules: Mapping[str, str], host: Shell, quiet: None) -> None:
    done = on_host(host, "race", modules=modules, races=RACES)
    assert sum(done["outcome"].values()) == RACES


READER = f"""
import sqlite3, time
connection = sqlite3.connect("{DATABASE}", isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM mailbox").fetchone()
print("reading", flush=True)
time.sleep(10)
connection.execute("SELECT count(*) FROM mailbox").fetchone()
connection.execute("COMMIT")
print("read")
"""


def test_who_reads_for_ten_seconds_hurts_nobody(
    modules: Mapping[str, str], player: Player, host: Shell, person: Mapping[str, str], quiet: None
) -> None:
    command = [*host.login, "python3 -"]
    with (
        asked(host, person),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader,
    ):
        assert reader.stdin
        assert reader.stdout
        reader.stdin.write(READER)
        reader.stdin.close()
        assert reader.stdout.readline() == "reading\n"
        played = play(player, module(player, site(10, "3G")))
        assert reader.stdout.readline() == "read\n"
    assert (played.status, played.changed) == (0, True), played.output
    assert quotas(host) == ["3221225472"]


def quotas(host: Shell) -> list[str]:
    query = "SELECT DISTINCT quota_bytes FROM dovecot_user WHERE user LIKE ? AND may_receive"
    return select(host, query, f"%@{DOMAIN}").split()


def select(host: Shell, query: str, *values: str) -> str:
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        " [print(*row, sep='\\t') for row in c.execute(sys.argv[2], sys.argv[3:])]"
    )
    return host.output("python3", "-c", program, DATABASE, query, *values)


def dump(host: Shell) -> str:
    program = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).iterdump(), sep='\\n')"
    return host.output("python3", "-c", program, DATABASE)


SPARE = 128 << 10  # bytes left free


@contextmanager
def small_disk(host: Shell) -> Iterator[str]:
    """The directory's folder, as it is, on a file system that is nearly full; yields the file that fills it."""
    small = f"{FOLDER}/small"
    ballast = f"{DIRECTORY}/ballast"
    host.run("mkdir", "-p", small)
    host.run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", small)
    host.run("cp", "-a", f"{DIRECTORY}/.", small)
    compact = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('VACUUM')"
    host.run("python3", "-c", compact, f"{small}/directory.sqlite3")
    host.run("mount", "--bind", small, DIRECTORY)
    try:
        host.run("systemctl", "restart", "dovecot.service")
        master = host.output("systemctl", "show", "--property=MainPID", "--value", "dovecot.service").strip()
        assert "tmpfs" in host.output("nsenter", f"--target={master}", "--mount", "findmnt", "--target", DIRECTORY)
        free = int(host.output("stat", "--file-system", "--format=%a", DIRECTORY)) * 4096
        host.run("fallocate", "--length", str(free - SPARE), ballast)
        yield ballast
    finally:
        host.run("umount", "--lazy", DIRECTORY)
        host.run("umount", "--lazy", small)
        host.run("systemctl", "restart", "dovecot.service")


def test_a_full_disk_is_an_error_and_nothing_is_lost(
    modules: Mapping[str, str], player: Player, host: Shell, person: Mapping[str, str], quiet: None
) -> None:
    with small_disk(host) as ballast, asked(host, person):
        before = dump(host)
        failed = play(player, module(player, site(3000, "4G")))
        assert failed.status != 0
        assert f"{DATABASE}: no space left" in failed.message
        assert failed.result.get("error") == "DiskFull", failed.message
        assert dump(host) == before
        host.run("rm", ballast)
        played = play(player, module(player, site(3000, "4G")))
        assert (played.status, played.changed) == (0, True), played.output


def test_a_publication_that_does_not_fit_is_an_error_and_made_up_for(
    modules: Mapping[str, str], player: Player, host: Shell, person: Mapping[str, str], quiet: None
) -> None:
    with asked(host, person):
        host.run("mount", "-t", "tmpfs", "-o", "size=16k,mode=0750", "tmpfs", PUBLISHED)
        try:
            failed = play(player, module(player, site(300, "5G")))
        finally:
            host.run("umount", "--lazy", PUBLISHED)
        assert failed.status != 0
        assert f"cannot publish to {PUBLISHED}: " in failed.message
        assert "the directory was changed, but" in failed.message
        wait_for(lambda: published(host, "5g-0@"), "the publication")


def published(host: Shell, address: str) -> bool:
    """Whether Postfix is told of an alias that begins so."""
    return bool(host.run("postmap", "-q", f"{address}{DOMAIN}", *host_map(host), check=False).stdout)


def host_map(host: Shell) -> list[str]:
    """The directory's table of aliases."""
    return re.findall(r"socketmap:[^,\s]+:aliases", host.output("postconf", "-xh", "virtual_alias_maps"))


BROKEN = r"""
import os, shutil, sqlite3, sys
source, folder = sys.argv[1:]
os.makedirs(folder)
with open(f"{folder}/text", "w") as file:
    file.write("this is not a database, whatever its name says\n" * 200)
shutil.copy(source, f"{folder}/damaged")
with open(f"{folder}/damaged", "r+b") as file:
    size = file.seek(0, os.SEEK_END)
    for page in range(4096, size, 4096):
        file.seek(page)
        file.write(b"\xa5" * 2048)
for name, version in (("newer", 9999), ("older", 1)):
    shutil.copy(source, f"{folder}/{name}")
    connection = sqlite3.connect(f"{folder}/{name}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
"""
REFUSED = {
    "text": ("NotADatabase", "is not an SQLite database"),
    "damaged": ("CorruptDatabase", "is damaged"),
    "newer": ("NewerSchema", "was written by a newer release"),
    "older": ("OlderSchema", "bring the host up to date first"),
}


def test_a_file_that_is_not_as_it_should_be_is_an_error_and_stays_as_it_is(
    modules: Mapping[str, str], player: Player, host: Shell, person: Mapping[str, str], quiet: None
) -> None:
    folder = f"{FOLDER}/broken"
    host.run("python3", "-", DATABASE, folder, stdin=BROKEN)
    before = host.output("sh", "-c", f"sha256sum {folder}/*; stat -c '%n %s %Y %a %U:%G' {folder}/*")
    loop = {"loop": [f"{folder}/{name}" for name in REFUSED], "ignore_errors": True}
    with asked(host, person):
        played = play(player, {**module(player, STATES["new"], path="{{ item }}"), **loop})
    for (name, (error, message)), result in zip(REFUSED.items(), played.result["results"], strict=True):
        assert result["failed"]
        assert (result["error"], message in result["msg"]) == (error, True), result["msg"]
        assert f"{folder}/{name}" in result["msg"]
    assert host.output("sh", "-c", f"sha256sum {folder}/*; stat -c '%n %s %Y %a %U:%G' {folder}/*") == before


def many(size: int) -> list[dict[str, Any]]:
    return [{"name": DOMAIN, "mailboxes": [mailbox(f"m{number:05}") for number in range(size)]}] if size else []


PHASES = (("import", MANY, True), ("unchanged", MANY, False), ("removal", 0, True), ("deletion", 0, True))


def test_lookups_do_not_wait_while_50_000_mailboxes_are_reconciled(
    player: Player, host: Shell, quiet: None, login: Mapping[str, str], record_property: Callable[[str, object], None]
) -> None:
    """Usual is what they take beside the same work on a file that nobody asks, published to where nobody looks.

    No lookup may fail. How long they take is judged where the directory can hold them up: while the live file lets
    nobody in, and where the published one is replaced. At other times they share processors and disks with the import,
    and with whoever else uses the machine, but no file; what they take then, in the same phase, is usual too.
    """
    scratch = f"{FOLDER}/scratch"
    elsewhere = {
        "path": f"{scratch}/directory.sqlite3",
        "published_folder": f"{scratch}/published",
        "publish_unit": "nobody.service",
    }
    publish = "cd /usr/local/lib/postoffice && python3 -B -m postoffice_directory.command_line publish"
    host.run("mkdir", "-p", scratch)
    clean_up(host, DOMAIN)
    with asked(host, login, probe=[DATABASE, f"{PUBLISHED}/lookup.sqlite3"]) as questions:
        for size in (MANY, 0):
            questions.meanwhile("usual")
            assert play(player, module(player, many(size), **elsewhere)).changed
            host.run("sh", "-c", f"{publish} {elsewhere['path']} {elsewhere['published_folder']}")
        for phase, size, changed in PHASES:
            questions.meanwhile(phase)
            assert play(player, module(player, many(size))).changed is changed
    figures = distribution(questions)
    print("", *figures, sep="\n")
    record_property("lookups", figures)
    moments = [
        (begin - BEFORE, begin + seconds + AFTERWARDS)
        for what, when, begin, seconds, _unused in questions.answers
        if what in {"live file closed", "published"} and when != "usual"
    ]
    assert len(moments) >= 3, "import, removal and deletion are written and published"
    late: list[str] = []
    judged: set[str] = set()
    for what, group in KINDS.items():
        for phase in dict.fromkeys(when for _kind, when, *_unused in questions.answers if when != "usual"):
            held = [
                slow
                for kind, when, begin, slow, _unused in questions.answers
                if (kind, when) == (what, phase) and overlaps(begin, slow, moments)
            ]
            usual = max(
                slow
                for kind, when, begin, slow, _unused in questions.answers
                if kind in group and (when == "usual" or (when == phase and not overlaps(begin, slow, moments)))
            )
            if held:
                judged.add(what)
            late += [
                f"{what}, {phase}: {slow * 1000:.0f} ms, usually at most {usual * 1000:.0f} ms"
                for slow in held
                if slow > usual + MORE
            ]
    assert judged == set(KINDS)
    assert late == [], "\n".join((*late, *figures))


def overlaps(begin: float, seconds: float, moments: Sequence[tuple[float, float]]) -> bool:
    """Whether something that took so long falls into one of the moments."""
    return any(begin < end and start < begin + seconds for start, end in moments)


BEFORE, AFTERWARDS = 0.0, 0.25  # seconds around such a moment, so that each kind of question falls into it
POSTFIX = ("SMTP, new session", "SMTP, kept session")
DOVECOT = ("Dovecot, user", "Dovecot, log-in")
KINDS = {**dict.fromkeys(POSTFIX, POSTFIX), **{what: (what,) for what in DOVECOT}}
"""Questions, and those with which they are compared."""


def distribution(asked: Asked) -> list[str]:
    """Count, median, 99th percentile and maximum in milliseconds, by question and what went on meanwhile."""
    times: dict[tuple[str, str], list[float]] = {}
    for what, meanwhile, _begin, seconds, _trouble in asked.answers:
        times.setdefault((what, meanwhile), []).append(seconds * 1000)
    lines = []
    for (what, meanwhile), found in sorted(times.items()):
        found.sort()
        middle, most, last = found[len(found) // 2], found[math.ceil(len(found) * 0.99) - 1], found[-1]
        lines.append(f"{what:20} {meanwhile:17} {len(found):5} {middle:8.1f} {most:8.1f} {last:8.1f}")
    return lines


@pytest.fixture
def login(player: Player, host: Shell) -> Mapping[str, str]:
    """Somebody whose password is cheap to verify, and who is not of those that come and go."""
    task = {
        "postoffice.mail.mailbox": {
            "address": f"steady@{STEADY}",
            "password_hash": HASH,
            "managed_by": STEADY,
        }
    }
    domain = {"postoffice.mail.domain": {"name": STEADY, "managed_by": STEADY}}
    status, output = player.finish(player.start([domain, task]))
    assert status == 0, output
    return {"address": f"steady@{STEADY}", "password": PASSWORD}


# Every word of these is looked for, so that half a password is found as well.
SECRETS = {
    "password": "Quillon1\\Quillon2\"Quillon3' {{ Quillon4 }} {% Quillon5 %} $Quillon6 #Quillon7",
    "another": "Quillon8`Quillon9`\\\\n%Quillon10 {# Quillon11 #}\\",
    "torn": "Quillon12\nQuillon13\r\nQuillon14",
}
WORDS = [f"Quillon{number}" for number in range(1, 15)]
SALT = "SaltOfQuillon"
WATCH = """
import select, subprocess, sys
while not select.select([sys.stdin], [], [], 0.05)[0]:
    sys.stdout.write(subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True).stdout)
"""


def secret_tasks(folder: Path) -> list[dict[str, Any]]:
    """Passwords and hashes on every way into the directory, good ones and refused ones."""

    def secret(name: str) -> str:
        path = folder / name
        path.write_text(SECRETS[name], newline="")
        return f"{{{{ lookup('ansible.builtin.file', '{path}', rstrip=false) }}}}"

    def domains(name: str, **box: object) -> str:
        path = folder / f"{name}.json"
        path.write_text(json.dumps([{"name": DOMAIN, "mailboxes": [{"name": "both"}, {"name": "secret", **box}]}]))
        return f"{{{{ lookup('ansible.builtin.file', '{path}') }}}}"

    hashed = "{SHA256-CRYPT}" + sha256_crypt.using(rounds=1000, salt=SALT).hash("Quillon1")
    good, other = SECRETS["password"], SECRETS["another"]
    declared = [
        {"domains": domains("created", password=good)},
        {"domains": domains("changed", password=other), "update_password": "always"},
        {"domains": domains("hashed", password_hash=hashed), "update_password": "always"},
        {"domains": domains("both", password=good, password_hash=hashed)},
        {"domains": domains("torn", password=SECRETS["torn"])},
        {"domains": domains("misspelt", pasword=good)},
        {"domains": domains("nested", password=[good, {"of": other}])},
        {"domains": domains("torn-hash", password_hash=f"{hashed[:-20]}\\Quillon2")},
        {"domains": secret("password")},
    ]
    single = [
        {"password": secret("another")},
        {"password_hash": hashed},
        {"password": secret("torn")},
        {"password": secret("password"), "unknown_option": "said"},
    ]
    common = {"address": f"single@{DOMAIN}", "managed_by": STEADY, "update_password": "always"}
    return [
        *({"postoffice.mail.directory": {**given, "managed_by": MANAGER}} for given in declared),
        *({"postoffice.mail.mailbox": {**common, **given}} for given in single),
        {"postoffice.mail.directory_info": {}},
    ]


def test_no_password_and_no_hash_is_said_anywhere(player: Player, host: Shell) -> None:
    """Not in the journal, in `-vvvv`, a diff, a return value or a process list."""
    clean_up(host, DOMAIN)
    cursor = host.output("journalctl", "-n", "0", "--show-cursor").split("cursor: ")[-1].strip()
    returned = player.folder / "results.json"
    tasks = []
    for number, task in enumerate(secret_tasks(player.folder)):
        tasks.append({**task, "register": f"result{number}", "ignore_errors": True})
    report = {
        "content": "{{ query('ansible.builtin.varnames', '^result[0-9]+$') | map('extract', vars) | to_json }}",
        "dest": str(returned),
    }
    tasks.append({"ansible.builtin.copy": report, "delegate_to": "localhost", "check_mode": False, "diff": False})
    said = ""
    with subprocess.Popen(
        [*host.login, shlex.join(["python3", "-c", WATCH])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as watch:
        for some, mode in ((tasks[:2] + tasks[-1:], "--check"), (tasks, "--diff")):
            status, output = player.finish(player.start(some, "--diff", "-vvvv", mode))
            assert status == 0, "the play did not end"
            said += output + returned.read_text()
        processes, _unused = watch.communicate("end")
    results = json.loads(returned.read_text())
    assert [bool(result["failed"]) for result in results].count(False) == 6, said
    journal = "".join(
        host.output("journalctl", f"--after-cursor={cursor}", "-o", form, "--all", "--no-pager")
        for form in ("json", "cat")
    )
    stored = select(host, "SELECT password FROM dovecot_user WHERE user LIKE ?", f"%@{DOMAIN}").split()
    hashes = [value.rpartition("$")[2] for value in stored]
    assert len(hashes) == 2
    assert "ansible-ansible" in journal or "directory" in journal
    assert "secret@" in said
    assert "AnsiballZ" in processes or "python3" in processes
    places = {"output": said, "journal": journal, "processes": processes}
    found = [(place, word) for place, text in places.items() for word in (*WORDS, SALT, *hashes) if leaks(text, word)]
    assert found == []


def leaks(text: str, word: str) -> bool:
    return re.search(rf"{re.escape(word)}(?![0-9])", text) is not None
