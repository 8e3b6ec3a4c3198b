# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs on a host in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fake_host import STATE, FakeHost, Inode

from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.errors import ConfigTreeError
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.host import Outcome
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.request import parse_request
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.run import Result, apply, reread

RELOAD, RESTART, PROBE, CHECK = ("reload",), ("restart",), ("probe",), ("check",)
DAEMON_RELOAD = ("systemctl", "daemon-reload")


def run(host: FakeHost, *files: dict[str, Any], check_mode: bool = False, **options: Any) -> Result:
    defaults: dict[str, Any] = {"reload": [*RELOAD], "restart": [*RESTART], "probe": [*PROBE], "check": [[*CHECK]]}
    host.ran.clear()
    request = parse_request({"name": "d", "files": json.dumps(files), **defaults, **options})
    return apply(request, host, check_mode=check_mode)


def file(path: str = "/etc/d/d.conf", content: str = "new\n", **more: Any) -> dict[str, Any]:
    return {"path": path, "content": content, **more}


def failing(*bad: tuple[str, ...], output: str = "", when: Any = None) -> Any:
    def answer(argv: Sequence[str]) -> Outcome:
        fails = tuple(argv) in bad and (when is None or when())
        return Outcome(tuple(argv), 1 if fails else 0, output if fails else "")

    return answer


@pytest.fixture
def host() -> FakeHost:
    host = FakeHost()
    host.put("/etc/d/d.conf", "old\n", mode=0o640)
    return host


def test_a_change_is_checked_swapped_reloaded_and_probed_twice(host: FakeHost) -> None:
    result = run(host, file())
    assert result.changed
    assert host.text("/etc/d/d.conf") == "new\n"
    assert host.ran == [CHECK, RELOAD, PROBE, PROBE]
    assert result.files == ({"path": "/etc/d/d.conf", "action": "changed"},)


@pytest.mark.parametrize(
    ("states", "probes"),
    [
        ("inactive\n\nfailed\n", 1),
        ("inactive\n\nactive\n", 2),
        ("reloading\n", 2),
        ("activating\n", 2),
        ("deactivating\n", 2),
        ("maintenance\n", 2),
    ],
)
def test_a_daemon_that_was_stopped_cannot_answer_with_what_it_had(host: FakeHost, states: str, probes: int) -> None:
    units = ("one.service", "two.service")
    host.programs = lambda argv: Outcome(tuple(argv), 0, states if "ActiveState" in " ".join(argv) else "")
    reload = ("systemctl", "reload-or-restart", *units)
    run(host, file(), reload=[*reload], restart=["systemctl", "restart", "two.service"])
    look = ("systemctl", "show", "--property=ActiveState", "--value", *units)
    assert host.ran == [CHECK, look, reload, *[PROBE] * probes]


def test_what_nobody_can_tell_of_a_daemon_counts_as_running(host: FakeHost) -> None:
    reload = ("systemctl", "reload", "one.service")
    look = ("systemctl", "show", "--property=ActiveState", "--value", "one.service")
    host.programs = failing(look)
    run(host, file(), reload=[*reload], restart=[])
    assert host.ran == [CHECK, look, reload, PROBE, PROBE]


def test_files_are_as_old_as_wanted_for_the_check_and_for_the_daemon(host: FakeHost) -> None:
    ages = []

    def look(argv: Sequence[str]) -> Outcome:
        ages.append((*argv, host.tree["/etc/d/d.conf"].age))
        return Outcome(tuple(argv), 0, "")

    host.programs = look
    run(host, file(), age=2)
    assert ages[:2] == [(*CHECK, 2), (*RELOAD, 2)]


def test_a_second_run_reads_and_runs_nothing(host: FakeHost) -> None:
    run(host, file())
    before = dict(host.tree)
    assert not run(host, file()).changed
    assert host.ran == []
    assert host.tree == before


def test_the_check_sees_the_new_files_and_the_host_still_has_the_old_ones(host: FakeHost) -> None:
    seen: list[str | None] = []

    def answer(argv: Sequence[str]) -> Outcome:
        if tuple(argv) == CHECK:
            seen.append(host.text("/etc/d/d.conf"))
        return Outcome(tuple(argv), 0, "")

    host.programs = answer
    run(host, file(), check_mode=True)
    assert seen == ["new\n"]
    assert host.text("/etc/d/d.conf") == "old\n"


def test_a_failed_check_changes_nothing_and_says_what_and_where(host: FakeHost) -> None:
    host.programs = failing(CHECK, output="noise\n/etc/d/d.conf:1: no such setting")
    before = host.snapshot()
    with pytest.raises(ConfigTreeError, match="no such setting") as error:
        run(host, file())
    assert str(error.value).splitlines()[:2] == ["/etc/d/d.conf:1: no such setting", "    /etc/d/d.conf, line 1: new"]
    assert host.snapshot() == before
    assert host.ran == [CHECK]


@pytest.mark.parametrize("step", [RELOAD, PROBE])
def test_when_the_daemon_does_not_take_it_everything_is_as_it_was(host: FakeHost, step: tuple[str, ...]) -> None:
    host.put("/etc/d/gone", "was ours\n")
    run(host, file(content="first\n"), file("/etc/d/gone", "was ours, too\n"))
    before = host.snapshot()
    host.programs = failing(step, output="it hurts", when=lambda: host.text("/etc/d/d.conf") == "new\n")
    new_folder = {"path": "/etc/d/sub", "state": "directory", "mode": "0700"}
    with pytest.raises(ConfigTreeError, match=r"(?s)it hurts.*The old files are back, d answers"):
        run(host, file(mode="0600"), file("/etc/d/sub/new.conf"), new_folder)
    assert host.snapshot() == before
    assert not run(host, file(content="first\n"), file("/etc/d/gone", "was ours, too\n")).changed


def test_the_probe_has_until_the_deadline(host: FakeHost) -> None:
    host.programs = failing(PROBE, when=lambda: host.clock < 8)
    assert run(host, file(), probe_timeout=10).changed
    host.clock = 0
    with pytest.raises(ConfigTreeError, match="does not answer"):
        run(host, file(content="newer\n"), probe_timeout=5)


def test_a_probe_that_was_cut_short_does_not_hide_what_it_said_before(host: FakeHost) -> None:
    def answer(argv: Sequence[str]) -> Outcome:
        bad = tuple(argv) == PROBE and host.text("/etc/d/d.conf") == "new\n"
        cut_short = bad and host.clock > 2
        return Outcome(tuple(argv), 124 if cut_short else int(bad), "cut short" if cut_short else "no greeting")

    host.programs = answer
    with pytest.raises(ConfigTreeError, match="no greeting"):
        run(host, file(), probe_timeout=3)


def test_a_daemon_that_answers_only_at_first_is_noticed(host: FakeHost) -> None:
    host.programs = failing(PROBE, when=lambda: host.clock > 0 and host.text("/etc/d/d.conf") == "new\n")
    with pytest.raises(ConfigTreeError, match="does not answer"):
        run(host, file())
    assert host.text("/etc/d/d.conf") == "old\n"


def test_when_the_old_files_do_not_work_either_it_says_so_and_the_next_run_goes_on(host: FakeHost) -> None:
    host.programs = failing(RELOAD, output="broken anyway")
    with pytest.raises(ConfigTreeError, match="could not be put to work again"):
        run(host, file())
    assert host.text("/etc/d/d.conf") == "old\n"
    host.programs = failing()
    assert run(host, file(content="old\n", mode="0640")).pending
    assert host.ran == [CHECK, RELOAD, PROBE, PROBE]


@pytest.mark.parametrize("fits", [0, 1, 2])
def test_a_full_disk_is_an_error_about_the_file(host: FakeHost, fits: int) -> None:
    host.fits = fits
    before = host.snapshot()
    paths = ["/etc/d/a", "/etc/d/d.conf", "/etc/new/b"]
    failed = ["/etc/d/a", "/etc/new/b", "/etc/d/d.conf"][fits]
    with pytest.raises(ConfigTreeError, match=f"{failed} cannot be written: No space left on device"):
        run(host, *(file(path) for path in paths), check=[])
    assert host.snapshot() == before


def test_new_files_are_swapped_first_and_those_read_all_the_time_last_also_on_the_way_back(host: FakeHost) -> None:
    host.put("/etc/d/a.conf", "old\n")
    host.put("/etc/d/z.conf", "old\n")
    host.programs = failing(PROBE)
    files = [
        file("/etc/d/a.conf", last=True),
        file("/etc/d/b.conf", last=True),
        file("/etc/d/z.conf"),
        file("/etc/d/zz"),
    ]
    with pytest.raises(ConfigTreeError):
        run(host, *files)
    assert [path for path in host.renamed if path.startswith("/etc")] == [
        *("/etc/d/zz", "/etc/d/z.conf", "/etc/d/b.conf", "/etc/d/a.conf"),
        *("/etc/d/z.conf", "/etc/d/a.conf"),
    ]


def test_restart_is_asked_for_by_file_and_units_are_read_again(host: FakeHost) -> None:
    unit = file("/etc/systemd/system/d.service", restart=True)
    run(host, file(), unit)
    assert host.ran == [CHECK, DAEMON_RELOAD, RESTART, PROBE]
    run(host, file(content="newer\n"), unit)
    assert host.ran == [CHECK, RELOAD, PROBE, PROBE]


def test_removals_come_after_the_reload_and_are_followed_by_another(host: FakeHost) -> None:
    run(host, file(), file("/etc/d/b", restart=True))
    states: list[tuple[str, bool]] = []

    def answer(argv: Sequence[str]) -> Outcome:
        states.append((argv[0], "/etc/d/b" in host.tree))
        return Outcome(tuple(argv), 0, "")

    host.programs = answer
    result = run(host, file(content="newer\n"))
    assert states == [("check", False), ("restart", True), ("restart", False), ("probe", False)]
    assert {"path": "/etc/d/b", "action": "removed"} in result.files


def test_only_what_it_wrote_is_removed(host: FakeHost) -> None:
    host.put("/etc/d/same", "same\n")
    host.put("/etc/d/stranger", "x\n")
    run(host, file(), file("/etc/d/same", "same\n"), file("/etc/new/sub/x"))
    host.put("/etc/new/theirs", "x\n")
    run(host, file())
    assert host.text("/etc/d/same") == "same\n"
    assert host.text("/etc/d/stranger") == "x\n"
    assert host.text("/etc/new/theirs") == "x\n"
    assert "/etc/new/sub" not in host.tree


def test_a_file_that_became_something_else_is_left_alone(host: FakeHost) -> None:
    run(host, file(), file("/etc/d/b"))
    host.tree["/etc/d/b"] = Inode("symlink", 0o777, content=b"/etc/passwd")
    result = run(host, file())
    assert "/etc/d/b" in host.tree
    assert "now it is a symlink" in result.warnings[0]


def test_a_file_that_another_tree_took_over_is_not_removed(host: FakeHost) -> None:
    run(host, file(), file("/etc/d/b"))
    run(host, file("/etc/d/b", "other\n"), name="e")
    run(host, file())
    assert host.text("/etc/d/b") == "other\n"


def test_files_without_a_change_but_a_new_certificate_are_reloaded(host: FakeHost) -> None:
    host.put("/etc/cert", "one")
    assert run(host, file(), watch=["/etc/cert"]).changed
    assert not run(host, file(), watch=["/etc/cert"]).changed
    host.put("/etc/cert", "two")
    result = run(host, file(), watch=["/etc/cert"])
    assert result.changed
    assert host.ran == [CHECK, RELOAD, PROBE, PROBE]
    assert result.diff == ("/etc/cert is not what it was at the last reload\n",)
    assert not run(host, file(), watch=["/etc/cert"]).changed


def test_check_mode_counts_a_foreseen_change_of_a_watched_file(host: FakeHost) -> None:
    host.put("/etc/cert", "one\n")
    run(host, file(), watch=["/etc/cert"])
    foreseen: dict[str, Any] = {"watch": ["/etc/cert"], "watch_foreseen": ["/etc/cert", "/etc/other"]}
    result = run(host, file(), check_mode=True, **foreseen)
    assert result.changed
    assert result.diff == ("/etc/cert is not what it was at the last reload\n",)
    assert not run(host, file(), **foreseen).changed


def test_check_mode_does_not_fail_over_a_file_that_a_real_run_makes_first(host: FakeHost) -> None:
    run(host, file(), watch=["/etc/cert"])
    host.programs = failing(CHECK, output="no certificate")
    result = run(host, file(), check_mode=True, watch=["/etc/cert"], watch_foreseen=["/etc/cert"])
    assert "no certificate" in result.warnings[0]


def test_check_mode_does_not_fail_over_a_package_that_a_real_run_installs_first(host: FakeHost) -> None:
    run(host, file())
    host.programs = failing(CHECK, output="no such plugin")
    lacking: dict[str, Any] = {"missing_packages": ["example-plugin"]}
    result = run(host, file(content="newer\n"), check_mode=True, **lacking)
    assert result.changed
    assert "no such plugin" in result.warnings[0]
    with pytest.raises(ConfigTreeError, match="no such plugin"):
        run(host, file(content="newer\n"), **lacking)
    with pytest.raises(ConfigTreeError, match="no such plugin"):
        run(host, file(content="newer\n"), check_mode=True)


def test_a_watched_file_can_ask_for_a_restart(host: FakeHost) -> None:
    run(host, file(), watch_restart=["/etc/cert"])
    host.put("/etc/cert", "two")
    run(host, file(), watch_restart=["/etc/cert"])
    assert RESTART in host.ran


def test_a_certificate_that_fails_the_check_is_not_loaded_and_tried_again(host: FakeHost) -> None:
    run(host, file(), watch=["/etc/cert"])
    host.put("/etc/cert", "bad")
    host.programs = failing(CHECK, output="no such key")
    for _unused in range(2):
        with pytest.raises(ConfigTreeError, match=r"(?s)were in /etc/cert.*no such key"):
            run(host, file(), watch=["/etc/cert"])
        assert host.ran == [CHECK]


def test_another_program_has_a_changed_certificate_loaded_and_the_next_run_finds_nothing_to_do(host: FakeHost) -> None:
    host.put("/etc/cert", "one")
    run(host, file(), watch=["/etc/cert"], probe_timeout=7)
    host.ran.clear()
    assert reread("d", host, STATE) == ()
    assert host.ran == []
    host.put("/etc/cert", "two")
    assert reread("d", host, STATE) == ("/etc/cert",)
    assert host.ran == [CHECK, RELOAD, PROBE, PROBE]
    assert reread("d", host, STATE) == ()
    assert not run(host, file(), watch=["/etc/cert"], probe_timeout=7).changed
    assert host.ran == []


def test_another_program_has_a_daemon_restarted_that_asked_for_it(host: FakeHost) -> None:
    run(host, file(), watch_restart=["/etc/cert"])
    host.put("/etc/cert", "two")
    host.ran.clear()
    assert reread("d", host, STATE) == ("/etc/cert",)
    assert host.ran == [CHECK, RESTART, PROBE]


@pytest.mark.parametrize("refusing", [CHECK, RELOAD, PROBE])
def test_what_a_daemon_does_not_take_is_told_and_tried_again(host: FakeHost, refusing: tuple[str, ...]) -> None:
    run(host, file(), watch=["/etc/cert"])
    host.put("/etc/cert", "bad")
    host.programs = failing(refusing, output="key values mismatch")
    for _unused in range(2):
        with pytest.raises(ConfigTreeError, match=r"(?s)/etc/cert.*key values mismatch"):
            reread("d", host, STATE)
    assert host.text("/etc/d/d.conf") == "new\n"
    host.programs = failing()
    assert reread("d", host, STATE) == ("/etc/cert",)


def test_nobody_is_told_over_an_interrupted_run_nor_by_what_an_older_release_remembers(host: FakeHost) -> None:
    host.put("/etc/cert", "one")
    run(host, file(), watch=["/etc/cert"])
    host.put("/etc/cert", "two")
    known = json.loads(host.text(f"{STATE}/d/state.json"))
    host.put(f"{STATE}/d/state.json", json.dumps({name: known[name] for name in known if name != "telling"}))
    with pytest.raises(ConfigTreeError, match="d: it is not known how it is told"):
        reread("d", host, STATE)
    pending = {"format": 1, "kept": [], "writes": {}, "folders": [], "restart": False, "daemon_reload": False}
    host.put(f"{STATE}/d/pending.json", json.dumps(pending))
    with pytest.raises(ConfigTreeError, match="d: an earlier run was interrupted"):
        reread("d", host, STATE)


def test_a_link_is_replaced_and_its_target_left_alone_and_put_back_on_failure(host: FakeHost) -> None:
    host.put("/etc/d/real", "theirs\n")
    host.tree["/etc/d/d.conf"] = Inode("symlink", 0o777, content=b"real")
    host.programs = failing(PROBE)
    before = host.snapshot()
    with pytest.raises(ConfigTreeError):
        run(host, file())
    assert host.snapshot() == before
    host.programs = failing()
    run(host, file())
    assert host.tree["/etc/d/d.conf"].kind == "file"
    assert host.text("/etc/d/real") == "theirs\n"


def test_a_path_below_a_linked_folder_is_refused(host: FakeHost) -> None:
    host.tree["/etc/l"] = Inode("symlink", 0o777, content=b"d")
    with pytest.raises(ConfigTreeError, match=r"files\[0\] \(/etc/l/x\): /etc/l is a symbolic link .* below /etc/d"):
        run(host, file("/etc/l/x"))


def test_a_file_where_a_folder_is_and_the_other_way_round_are_refused(host: FakeHost) -> None:
    with pytest.raises(ConfigTreeError, match="is a directory on the host, not a file"):
        run(host, file("/etc/d"))
    with pytest.raises(ConfigTreeError, match="is a file on the host, not a directory"):
        run(host, {"path": "/etc/d/d.conf", "state": "directory"})
    with pytest.raises(ConfigTreeError, match=r"/etc/d/d\.conf is not a folder"):
        run(host, file("/etc/d/d.conf/x"))


def test_a_new_folder_below_the_root_is_refused(host: FakeHost) -> None:
    with pytest.raises(ConfigTreeError, match="/srv does not exist"):
        run(host, file("/srv/d/x"))


def test_a_missing_owner_is_an_error_and_in_check_mode_a_warning(host: FakeHost) -> None:
    with pytest.raises(ConfigTreeError, match=r"files\[0\] \(/etc/d/d.conf\): the user nobody2 does not exist"):
        run(host, file(owner="nobody2"))
    result = run(host, file(owner="nobody2", group="nogroup2"), check_mode=True)
    assert result.changed
    assert result.warnings == (
        "/etc/d/d.conf: the user nobody2 does not exist on the host yet",
        "/etc/d/d.conf: the group nogroup2 does not exist on the host yet",
    )


def test_on_a_host_where_nothing_is_deployed_a_failed_check_is_a_warning_in_check_mode(host: FakeHost) -> None:
    host.programs = failing(CHECK, output="no daemon here")
    result = run(host, file(), check_mode=True)
    assert "no daemon here" in result.warnings[0]
    host.programs = failing()
    run(host, file())
    host.programs = failing(CHECK, output="misspelt")
    with pytest.raises(ConfigTreeError, match="misspelt"):
        run(host, file(content="x"), check_mode=True)


def test_check_mode_predicts_and_leaves_everything_alone(host: FakeHost) -> None:
    run(host, file(), file("/etc/d/b"))
    before = dict(host.tree)
    files = [file(content="newer\n"), file("/etc/new/x")]
    predicted = run(host, *files, check_mode=True)
    assert host.tree == before
    assert predicted == run(host, *files)


def test_owner_group_and_mode_alone_are_a_change(host: FakeHost) -> None:
    run(host, file())
    result = run(host, file(mode="0600", owner="vmail"))
    assert result.files == ({"path": "/etc/d/d.conf", "action": "attributes"},)
    assert result.diff == (
        "--- before: /etc/d/d.conf (file, root:root, 0644)\n+++ after: /etc/d/d.conf (file, vmail:root, 0600)\n",
    )
    assert (host.tree["/etc/d/d.conf"].mode, host.tree["/etc/d/d.conf"].uid) == (0o600, 5000)


def test_the_diff_shows_public_files_and_hides_secret_ones(host: FakeHost) -> None:
    host.put("/etc/d/s", "hunter1\n")
    result = run(host, file(), {"path": "/etc/d/s"}, secrets='{"/etc/d/s": "hunter2\\n"}')
    shown = "".join(result.diff)
    assert "-old\n+new\n" in shown
    assert "hunter" not in shown
    assert "+(secret: the content is not shown)" in shown


@pytest.mark.parametrize("was_ours", [True, False])
def test_what_was_secret_stays_hidden_when_it_becomes_public_or_goes(host: FakeHost, was_ours: bool) -> None:
    secrets = {"secrets": '{"/etc/d/s": "hunter1\\n"}'} if was_ours else {}
    if was_ours:
        run(host, {"path": "/etc/d/s"}, **secrets)
    else:
        host.put("/etc/d/s", "hunter1\n", mode=0o600)
    for files in ([file("/etc/d/s")], []):
        assert "hunter" not in "".join(run(host, *files).diff)


def test_secrets_are_masked_in_what_daemons_say(host: FakeHost) -> None:
    host.programs = failing(CHECK, output="bad: hunter2")
    with pytest.raises(ConfigTreeError) as error:
        run(host, file(), {"path": "/etc/d/s"}, secrets='{"/etc/d/s": "password=hunter2\\n"}')
    assert "hunter2" not in str(error.value)


def test_the_journal_of_the_units_is_part_of_the_error(host: FakeHost) -> None:
    def answer(argv: Sequence[str]) -> Outcome:
        if argv[0] == "journalctl":
            assert "--unit=d.service" in argv
            return Outcome(tuple(argv), 0, "/etc/d/d.conf line 1: what the daemon logged")
        return Outcome(tuple(argv), 1 if argv[0] == "systemctl" else 0, "Job failed")

    host.programs = answer
    with pytest.raises(ConfigTreeError, match="what the daemon logged"):
        run(host, file(), reload=["systemctl", "reload", "d.service"], restart=[])


def test_a_state_folder_that_is_not_roots_is_not_trusted(host: FakeHost) -> None:
    run(host, file())
    host.tree[STATE].uid = 5000
    with pytest.raises(ConfigTreeError, match="not trusted"):
        run(host, file())


@pytest.mark.parametrize("damage", ["{", '{"format": 99}'])
def test_a_damaged_memory_is_an_error(host: FakeHost, damage: str) -> None:
    run(host, file())
    host.tree[f"{STATE}/d/state.json"] = replace(host.tree[f"{STATE}/d/state.json"], content=damage.encode())
    with pytest.raises(ConfigTreeError, match=r"state\.json"):
        run(host, file())


def test_without_programs_files_are_still_written_and_remembered(host: FakeHost) -> None:
    bare: dict[str, Any] = {"reload": [], "restart": [], "probe": [], "check": []}
    assert run(host, file(), file("/etc/d/b"), **bare).changed
    assert host.ran == []
    assert run(host, file(), **bare).files == ({"path": "/etc/d/b", "action": "removed"},)


def test_marks_of_unchanged_files_are_remembered_without_a_change(host: FakeHost) -> None:
    run(host, file(), file("/etc/d/b"))
    assert not run(host, file(), file("/etc/d/b", restart=True)).changed
    run(host, file())
    assert RESTART in host.ran
