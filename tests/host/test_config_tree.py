# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config_tree with a small daemon of its own, beside whatever the host serves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mailtest.deployment import REPOSITORY, Shell
from mailtest.waiting import wait_for
from playing import Player, Target

NAME = "host-test"
FOLDER = "/etc/postoffice-host-test"
PROGRAMS = "/usr/local/lib/postoffice-host-test"
UNIT = "postoffice-host-test.service"
STATE = f"/var/lib/postoffice/config_tree/{NAME}"
PORT = 8925

# Answers with its settings, as it read them at its start and on every SIGHUP. `silent` makes it close its port.
DAEMON = f"""\
import http.server, pathlib, signal, sys, threading

def read():
    global settings
    settings = pathlib.Path("{FOLDER}/daemon.conf").read_bytes()
    if b"crash" in settings:
        sys.exit("daemon: cannot work with that")

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if b"silent" in settings:
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(settings)

read()
signal.signal(signal.SIGHUP, lambda *_: read())
http.server.ThreadingHTTPServer(("127.0.0.1", {PORT}), Handler).serve_forever()
"""
SERVICE = f"""\
[Service]
ExecStart=/usr/bin/python3 {PROGRAMS}/daemon
ExecReload=/bin/kill -HUP $MAINPID
"""
CHECK = f"""\
#!/usr/bin/python3
import pathlib, sys
for number, line in enumerate(pathlib.Path("{FOLDER}/daemon.conf").read_text().splitlines(), 1):
    if "misspelt" in line:
        secret = pathlib.Path("{FOLDER}/password").read_text()
        sys.exit(f"daemon: {FOLDER}/daemon.conf, line {{number}}: no such setting\\ndaemon: by the way {{secret}}")
"""
PROBE = f"""\
#!/usr/bin/python3
import urllib.request
urllib.request.urlopen("http://127.0.0.1:{PORT}/", timeout=2).read()
"""
PASSWORD = "back\\slash \"quotes' {{ braces }} {% raw %} $HOME \u00fcml\u00e4ut\nsecond line of it"


def options(settings: str = "port = 25\n", password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    files: list[dict[str, Any]] = [
        {"path": f"{FOLDER}/daemon.conf", "content": settings, "last": True},
        {"path": f"{FOLDER}/password", "mode": "0400"},
        {"path": f"{PROGRAMS}/daemon", "content": DAEMON, "restart": True},
        {"path": f"{PROGRAMS}/check", "content": CHECK, "mode": "0755"},
        {"path": f"{PROGRAMS}/probe", "content": PROBE, "mode": "0755"},
        {"path": f"/etc/systemd/system/{UNIT}", "content": SERVICE, "restart": True},
        *more.pop("files", []),
    ]
    wanted = {
        "name": NAME,
        "files": files,
        "secrets": {f"{FOLDER}/password": password},
        "check": [[f"{PROGRAMS}/check"]],
        "reload": ["systemctl", "reload-or-restart", UNIT],
        "restart": ["systemctl", "restart", UNIT],
        "probe": [f"{PROGRAMS}/probe"],
        "probe_timeout": 3,
    }
    return {**wanted, **more}


@pytest.fixture
def clean(host: Shell) -> Iterator[None]:
    forget(host)
    yield
    forget(host)


def forget(host: Shell) -> None:
    host.run("systemctl", "stop", UNIT, check=False)
    host.run("rm", "-rf", FOLDER, PROGRAMS, STATE, f"/etc/systemd/system/{UNIT}")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "reset-failed", UNIT, check=False)


@pytest.fixture
def serving(clean: None, player: Player) -> None:
    assert player.tree(options()).changed


def answer(host: Shell) -> str:
    fetch = (
        f"import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:{PORT}/', timeout=5).read().decode())"
    )
    return host.run("python3", "-c", fetch, check=False).stdout.strip()


def tree(host: Shell) -> str:
    """Everything about the files but when they were looked at."""
    attributes = "%p %y %l %m %u:%g %i"
    printing = ["-type", "d", "-printf", f"{attributes}\\n", "-o", "-printf", f"{attributes} %T@\\n"]
    found = host.output("find", FOLDER, PROGRAMS, f"/etc/systemd/system/{UNIT}", *printing)
    return "".join(sorted(found.splitlines(keepends=True)))


def test_the_first_run_starts_the_daemon_and_the_second_changes_nothing(
    clean: None, player: Player, host: Shell
) -> None:
    predicted = player.tree(options(), "--check", "--diff")
    assert predicted.changed
    assert host.run("test", "-e", FOLDER, check=False).returncode != 0
    first = player.tree(options())
    assert first.result["files"] == predicted.result["files"]
    assert answer(host) == "port = 25"
    before = tree(host)
    second = player.tree(options())
    assert not second.changed
    assert tree(host) == before


def test_a_misspelt_setting_changes_nothing_and_is_named(serving: None, player: Player, host: Shell) -> None:
    before = tree(host)
    for mode in ([], ["--check"]):
        played = player.tree(options("port = 25\nmisspelt = 1\n"), *mode)
        assert played.status != 0
        first, second, *_unused = played.message.splitlines()
        assert first == f"daemon: {FOLDER}/daemon.conf, line 2: no such setting"
        assert second.strip() == f"{FOLDER}/daemon.conf, line 2: misspelt = 1"
        assert "nothing was changed" in played.message
        assert tree(host) == before
    assert answer(host) == "port = 25"


@pytest.mark.parametrize(
    ("settings", "said"), [("silent = yes\n", "RemoteDisconnected"), ("crash = yes\n", "Traceback")]
)
def test_a_daemon_that_does_not_answer_gets_its_old_files_back(
    serving: None, player: Player, host: Shell, settings: str, said: str
) -> None:
    before = tree(host)
    stranger = {"path": f"{FOLDER}/sub/new.conf", "content": "x\n"}
    played = player.tree(options(settings, files=[stranger]))
    assert played.status != 0
    assert said in played.message
    assert "The old files are back, host-test answers" in played.message
    assert tree(host) == before
    assert answer(host) == "port = 25"
    assert not player.tree(options()).changed


def test_what_the_daemon_logged_is_in_the_error(serving: None, player: Player) -> None:
    played = player.tree(options("crash = yes\n"))
    assert "daemon: cannot work with that" in played.message


def test_links_modes_and_owners_come_back(serving: None, player: Player, host: Shell) -> None:
    host.run("touch", f"{FOLDER}/real")
    host.run("chown", "daemon:daemon", f"{FOLDER}/daemon.conf")
    host.run("chmod", "0604", f"{FOLDER}/daemon.conf")
    host.run("ln", f"{FOLDER}/daemon.conf", f"{FOLDER}/hard")
    host.run("ln", "-s", "real", f"{FOLDER}/soft")
    host.run("mkdir", "-m", "0711", f"{FOLDER}/folder")
    before = tree(host)
    files = [
        {"path": f"{FOLDER}/soft", "content": "a file now\n"},
        {"path": f"{FOLDER}/folder", "state": "directory", "mode": "0700", "owner": "daemon"},
    ]
    assert player.tree(options("silent = yes\n", files=files)).status != 0
    assert tree(host) == before
    assert player.tree(options(files=files)).changed
    assert host.output("stat", "-c", "%F %U %a", f"{FOLDER}/soft").split() == ["regular", "file", "root", "644"]
    assert host.output("stat", "-c", "%U %a", f"{FOLDER}/folder").split() == ["daemon", "700"]
    assert host.output("stat", "-c", "%s", f"{FOLDER}/real").strip() == "0"


def test_only_what_it_wrote_is_removed(serving: None, player: Player, host: Shell) -> None:
    host.run("touch", f"{FOLDER}/theirs")
    own = {"path": f"{FOLDER}/sub/own.conf", "content": "x\n"}
    player.tree(options(files=[own]))
    assert host.run("test", "-e", own["path"], check=False).returncode == 0
    played = player.tree(options(), "--diff")
    assert {"path": own["path"], "action": "removed"} in played.result["files"]
    assert host.run("test", "-e", f"{FOLDER}/sub", check=False).returncode != 0
    assert host.run("test", "-e", f"{FOLDER}/theirs", check=False).returncode == 0


def test_a_changed_certificate_is_loaded(serving: None, player: Player, host: Shell) -> None:
    certificate = f"{FOLDER}/certificate"
    watching: dict[str, Any] = {"watch": [certificate]}
    host.run("tee", certificate, stdin="one")
    assert player.tree(options(**watching)).changed
    assert not player.tree(options(**watching)).changed
    host.run("tee", certificate, stdin="two")
    log = host.output("journalctl", "-u", UNIT, "-o", "cat")
    played = player.tree(options(**watching), "--diff")
    assert played.changed
    assert certificate in played.output
    assert host.output("journalctl", "-u", UNIT, "-o", "cat").removeprefix(log).count("Reloaded") == 1
    assert not player.tree(options(**watching)).changed


def test_checks_see_the_new_tree_at_its_place_and_everything_else_as_it_is(
    serving: None, player: Player, host: Shell
) -> None:
    seen = f"{PROGRAMS}/see"
    program = (
        "#!/bin/sh\n"
        f"stat -c '%U %G %a %n' {FOLDER}/secret\n"
        "cmp /etc/hosts /proc/1/root/etc/hosts && echo the hosts file is the one of the host\n"
        f"test -e {FOLDER}/sub/own.conf || echo the dropped file is gone\n"
        "exit 1\n"
    )
    files = [
        {"path": seen, "content": program, "mode": "0755"},
        {"path": f"{FOLDER}/secret", "owner": "daemon", "group": "daemon", "mode": "0640"},
        {"path": "/etc/postoffice-host-test-new/x", "content": ""},
    ]
    player.tree(options(files=[{"path": f"{FOLDER}/sub/own.conf", "content": "x\n"}]))
    wanted = options(files=files, check=[[seen]])
    wanted["secrets"][f"{FOLDER}/secret"] = "hidden"
    played = player.tree(wanted)
    assert f"daemon daemon 640 {FOLDER}/secret" in played.message
    assert "the hosts file is the one of the host" in played.message
    assert "the dropped file is gone" in played.message
    assert host.run("test", "-e", "/etc/postoffice-host-test-new", check=False).returncode != 0
    assert host.output("find", "/run", "-maxdepth", "1", "-name", "postoffice-config-tree*") == ""


def test_two_runs_at_once_both_end_well(
    serving: None, player: Player, host: Shell, target: Target, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Player(target, tmp_path / "other")
    rival = other.start(other.tree_tasks(options("rival = 1\n"), tmp_path / "other" / "result.json"))
    ours = player.tree(options("ours = 1\n"))
    status, output = other.finish(rival)
    assert (status, ours.status) == (0, 0), output
    assert answer(host) in ("rival = 1", "ours = 1")
    assert host.run("test", "-e", f"{STATE}/pending.json", check=False).returncode != 0


LIBRARY = REPOSITORY / "plugins" / "module_utils" / "config_tree"
# Runs on the host: dies before each of the operations of a run, and lets the next run finish what is left.
DYING = """
import json, os, pathlib, shutil, signal, sys, tempfile

folder = tempfile.mkdtemp()
for name, text in json.load(sys.stdin).items():
    pathlib.Path(folder, "config_tree").mkdir(exist_ok=True)
    pathlib.Path(folder, "config_tree", name).write_text(text)
sys.path.insert(0, folder)
from config_tree.posix import PosixHost
from config_tree.request import parse_request
from config_tree.run import apply

TREE, STATE = pathlib.Path("/etc/postoffice-host-test"), pathlib.Path("/var/lib/postoffice/config_tree/host-test")
OLD = {"a": "old", "gone": "old", "sub/gone": "old"}
NEW = {"a": "new", "b": "new", "deep/er/c": "new"}
COUNTED = ("write rename keep make_folder set_attributes remove remove_folder sync run run_in_view lock").split()

def request(files):
    true = ["/bin/true"]
    files = [{"path": f"{TREE}/{name}", "content": text, "last": name == "a"} for name, text in files.items()]
    files = json.dumps(files)
    return parse_request({"name": "host-test", "files": files, "check": [true], "reload": true, "probe": true})

class Hasty(PosixHost):
    def wait(self, seconds):
        pass

class Dying(Hasty):
    def __init__(self, moment):
        self.left = moment

    def __getattribute__(self, name):
        if name in COUNTED:
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
        return super().__getattribute__(name)

def tree():
    return {str(path.relative_to(TREE)): path.read_text() for path in TREE.rglob("*") if path.is_file()}

moment, died = 0, True
while died:
    shutil.rmtree(TREE, ignore_errors=True)
    shutil.rmtree(STATE, ignore_errors=True)
    TREE.mkdir()
    (TREE / "theirs").write_text("theirs")
    apply(request(OLD), Hasty())
    child = os.fork()
    if child == 0:
        apply(request(NEW), Dying(moment))
        os._exit(0)
    died = os.waitpid(child, 0)[1] != 0
    for name, text in tree().items():
        assert text in {OLD.get(name), NEW.get(name), "theirs"} or name.endswith(".config_tree"), (moment, name, text)
    pending = (STATE / "pending.json").exists()
    result = apply(request(NEW), Hasty())
    assert result.pending == pending, moment
    assert result.changed or not pending, moment
    assert tree() == {**NEW, "theirs": "theirs"}, (moment, tree())
    assert not (TREE / "sub").exists(), moment
    assert {path.name for path in STATE.iterdir()} == {"lock", "state.json"}, moment
    assert not apply(request(NEW), Hasty()).changed, moment
    moment += 1
shutil.rmtree(folder)
print(moment)
"""


def test_killed_at_every_moment_the_next_run_finishes(clean: None, host: Shell) -> None:
    library = {path.name: path.read_text() for path in LIBRARY.glob("*.py") if path.name != "glue.py"}
    moments = host.run("python3", "-c", DYING, stdin=json.dumps(library)).stdout
    assert int(moments) > 30


def lock_holder(host: Shell) -> str:
    """The process that holds the lock, once the old tree is marked as kept."""
    marked = host.run("test", "-e", f"{STATE}/pending.json", check=False).returncode == 0
    inode = host.run("stat", "-c", "%i", f"{STATE}/lock", check=False).stdout.strip()
    locks = [line.split() for line in host.output("cat", "/proc/locks").splitlines()]
    return next((lock[4] for lock in locks if marked and inode and lock[5].endswith(f":{inode}")), "")


@pytest.mark.parametrize("how", ["killed", "cut off"])
def test_the_next_run_finishes_what_an_interrupted_one_began(
    serving: None, player: Player, host: Shell, how: str
) -> None:
    slow = options("slow = 1\n", probe=["/bin/sleep", "2"], probe_timeout=10)
    process = player.start(player.tree_tasks(slow, player.folder / "interrupted.json"))
    pid = wait_for(lambda: lock_holder(host), "the swap")
    if how == "killed":
        host.run("kill", "-9", pid)
        player.finish(process)
    else:
        session = wait_for(lambda: session_of(host, pid), "the session of the run")
        host.run("kill", "-9", session)
        player.finish(process)
        wait_for(lambda: not lock_holder(host), "the end of the run")
    assert answer(host) == "slow = 1"
    again = player.tree(options("slow = 1\n"), "--diff")
    assert again.status == 0
    assert again.changed == again.result["pending"] == (how == "killed")
    assert not player.tree(options("slow = 1\n")).changed


def session_of(host: Shell, pid: str) -> str:
    """The SSH daemon's process above another one."""
    while pid != "1":
        status = host.output("cat", f"/proc/{pid}/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if fields["Name"].startswith("sshd"):
            return pid
        pid = fields["PPid"]
    return ""


SURVIVING = ("back\\slash", "quotes'", "second line of it", "\u00fcml\u00e4ut")


def test_no_secret_is_said_anywhere(clean: None, player: Player, host: Shell) -> None:
    cursor = host.output("journalctl", "-n", "0", "--show-cursor").split("cursor: ")[-1].strip()
    processes: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            processes.append(host.output("ps", "-eww", "-o", "args"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    said = ""
    try:
        for settings, password, mode in (
            ("port = 25\n", PASSWORD, []),
            ("misspelt = 1\n", f"{PASSWORD} changed", []),
            ("crash = 1\n", f"{PASSWORD} again", []),
            ("port = 26\n", f"{PASSWORD} at last", ["--check"]),
        ):
            played = player.tree(options(settings, password), "--diff", "-vvvv", *mode)
            said += played.output + json.dumps(played.result)
    finally:
        ended.set()
        watcher.join()
    journal = host.output("journalctl", f"--after-cursor={cursor}", "-o", "json", "--all")
    assert "config_tree" in journal
    assert processes
    assert "no such setting" in said
    for part in SURVIVING:
        for spelling in (part, json.dumps(part)[1:-1], repr(part)[1:-1], json.dumps(json.dumps(part))[2:-2]):
            assert spelling not in said
            assert spelling not in "".join(processes)
            assert spelling not in journal


def test_where_mounting_is_forbidden_it_says_so(serving: None, player: Player, host: Shell) -> None:
    before = tree(host)
    wrapper = "/usr/local/bin/postoffice-host-test-python"
    host.run("tee", wrapper, stdin='#!/bin/sh\nexec setpriv --bounding-set=-sys_admin python3 "$@"\n')
    host.run("chmod", "0755", wrapper)
    played = player.tree(options("port = 26\n"), python=wrapper)
    host.run("rm", wrapper)
    assert played.status != 0
    assert "does not let its root mount" in played.message
    assert tree(host) == before
