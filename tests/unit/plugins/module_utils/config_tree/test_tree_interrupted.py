# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that dies before any of its operations, and the next one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
from fake_host import STATE, FakeHost, Inode, PowerLoss
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.errors import ConfigTreeError
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.host import Outcome
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.request import Request, parse_request
from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.run import apply

PATHS = ("/etc/d/a", "/etc/d/b", "/etc/d/sub/c", "/etc/new/deep/d", "/etc/systemd/system/d.service.d/x.conf")

Entry = dict[str, Any]
ENTRIES = st.fixed_dictionaries(
    {"content": st.sampled_from(["1\n", "2\n", "3\n"]), "mode": st.sampled_from(["0644", "0600"])},
    optional={"last": st.booleans(), "restart": st.booleans()},
)
TREES = st.dictionaries(st.sampled_from(PATHS), ENTRIES).map(
    lambda tree: [{"path": path, **entry} for path, entry in tree.items()]
)
FOUND = st.dictionaries(st.sampled_from((*PATHS, "/etc/d/theirs")), st.sampled_from(["1\n", "their own\n", "link"]))


def request(files: Sequence[Entry]) -> Request:
    programs = {"check": [["check"]], "reload": ["reload"], "restart": ["restart"], "probe": ["probe"]}
    return parse_request({"name": "d", "files": json.dumps(files), "probe_timeout": 1, **programs})


def booted(found: dict[str, str]) -> FakeHost:
    host = FakeHost()
    for path, content in found.items():
        host.put(path, content)
        if content == "link":
            host.tree[path] = Inode("symlink", 0o777, content=b"/etc/passwd")
    return host


def die(host: FakeHost, files: Sequence[Entry], after: int) -> None:
    """Run, and lose power before the given operation when it comes to that."""
    host.fails_after = host.operations + after
    with contextlib.suppress(PowerLoss):
        apply(request(files), host)
    host.fails_after = None


def assert_is(host: FakeHost, files: Sequence[Entry]) -> None:
    for entry in files:
        inode = host.tree[entry["path"]]
        assert (inode.kind, inode.content.decode()) == ("file", entry["content"])
        assert inode.mode == int(entry["mode"], 8)


def assert_tidy(host: FakeHost) -> None:
    assert not [path for path in host.tree if path.endswith(".config_tree")]
    assert {path for path in host.tree if path.startswith(f"{STATE}/d/")} <= {f"{STATE}/d/state.json"}


FIRST = [
    {"path": "/etc/d/a", "content": "1\n", "mode": "0644"},
    {"path": "/etc/d/b", "content": "1\n", "mode": "0644"},
    {"path": "/etc/old/e", "content": "1\n", "mode": "0644"},
]
SECOND = [
    {"path": "/etc/d/a", "content": "2\n", "mode": "0644", "last": True},
    {"path": "/etc/d/link", "content": "2\n", "mode": "0600"},
    {"path": "/etc/d/taken", "content": "2\n", "mode": "0600"},
    {"path": "/etc/d/sub/c", "content": "2\n", "mode": "0644"},
    {"path": PATHS[4], "content": "2\n", "mode": "0644", "restart": True},
]
THIRD = [
    {"path": "/etc/d/a", "content": "3\n", "mode": "0644"},
    {"path": "/etc/new/deep/d", "content": "3\n", "mode": "0644"},
]
MOMENTS = range(90)


def deployed() -> FakeHost:
    host = booted({"/etc/d/link": "link", "/etc/d/taken": "their own\n", "/etc/d/theirs": "their own\n"})
    apply(request(FIRST), host)
    return host


def refuse_all_but(host: FakeHost, good: dict[str, Inode]) -> None:
    """From now on the daemon answers with the given files only."""

    def answer(argv: Sequence[str]) -> Outcome:
        refuses = argv[0] == "probe" and host.snapshot() != good
        return Outcome(tuple(argv), int(refuses), "")

    host.programs = answer


def test_the_moments_cover_a_whole_run_and_its_way_back() -> None:
    host = deployed()
    refuse_all_but(host, host.snapshot())
    begin = host.operations
    with pytest.raises(ConfigTreeError, match="The old files are back"):
        apply(request(SECOND), host)
    assert host.operations - begin < MOMENTS.stop


@pytest.mark.parametrize("after", MOMENTS)
def test_what_the_interrupted_run_owed_is_not_forgotten(after: int) -> None:
    host = deployed()
    die(host, SECOND, after)
    pending = f"{STATE}/d/pending.json" in host.tree
    host.ran.clear()
    result = apply(request(SECOND), host)
    assert result.pending == pending
    if pending:
        assert ("restart",) in host.ran
        assert ("systemctl", "daemon-reload") in host.ran
    assert_is(host, SECOND)
    assert_tidy(host)


@pytest.mark.parametrize("again", [None, 22])
@pytest.mark.parametrize("after", MOMENTS)
def test_another_tree_can_follow_an_interrupted_one(after: int, again: int | None) -> None:
    host = deployed()
    die(host, SECOND, after)
    if again is not None:
        die(host, SECOND, again)
    left = {path: host.tree[path] for path in ("/etc/d/link", "/etc/d/taken")}
    apply(request(THIRD), host)
    assert_is(host, THIRD)
    assert_tidy(host)
    assert ("/etc/d/link" in host.tree) == (left["/etc/d/link"].kind == "symlink")
    assert ("/etc/d/taken" in host.tree) == (left["/etc/d/taken"].content == b"their own\n")
    for path in ("/etc/d/sub", PATHS[4], "/etc/d/b", "/etc/old"):
        assert path not in host.tree


@pytest.mark.parametrize("after", MOMENTS)
def test_what_was_there_before_two_bad_trees_comes_back(after: int) -> None:
    host = deployed()
    before = host.snapshot()
    refuse_all_but(host, before)
    for bad in (SECOND, THIRD):
        with contextlib.suppress(ConfigTreeError):
            die(host, bad, after)
        host.fails_after = None
    with contextlib.suppress(ConfigTreeError):
        apply(request(SECOND), host)
    assert host.snapshot() == before
    assert_tidy(host)


@settings(max_examples=100, deadline=None)
@given(FOUND, TREES, TREES, st.integers(0, 60))
def test_the_next_run_finishes_what_any_interruption_left(
    found: dict[str, str], first: list[Entry], second: list[Entry], after: int
) -> None:
    host = booted(found)
    apply(request(first), host)
    before = host.snapshot()
    die(host, second, after)
    left = host.snapshot()
    whole = {path: inode for path, inode in left.items() if not path.endswith(".config_tree")}
    wanted = {entry["path"]: entry for entry in second}
    for path, inode in whole.items():
        if path in wanted and inode != before.get(path):
            assert inode.content.decode() == wanted[path]["content"]
    pending = f"{STATE}/d/pending.json" in host.tree
    result = apply(request(second), host)
    assert result.pending == pending
    assert result.changed == (pending or left != host.snapshot())
    assert_is(host, second)
    assert_tidy(host)
    again = apply(request(second), host)
    assert not again.changed


@settings(max_examples=100, deadline=None)
@given(FOUND, TREES, TREES, st.integers(0, 60), st.integers(0, 40))
def test_a_bad_tree_never_survives_interruptions_and_what_was_there_before_comes_back(
    found: dict[str, str], first: list[Entry], bad: list[Entry], after: int, later: int
) -> None:
    host = booted(found)
    apply(request(first), host)
    before = host.snapshot()
    refuse_all_but(host, before)
    for moment in (after, later, 1000):
        with contextlib.suppress(ConfigTreeError):
            die(host, bad, moment)
        host.fails_after = None
    assert host.snapshot() == before
    assert_tidy(host)


@settings(max_examples=60, deadline=None)
@given(FOUND, TREES, TREES, TREES, st.integers(0, 60))
def test_what_was_never_listed_is_never_touched(
    found: dict[str, str], first: list[Entry], second: list[Entry], third: list[Entry], after: int
) -> None:
    host = booted(found)
    before = host.snapshot()
    apply(request(first), host)
    die(host, second, after)
    apply(request(third), host)
    listed = {entry["path"] for entry in (*first, *second, *third)}
    for path, inode in before.items():
        if path not in listed:
            assert host.tree[path] == inode
    assert_is(host, third)
    assert_tidy(host)
