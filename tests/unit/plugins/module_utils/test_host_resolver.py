"""A host asks its own resolver, and nobody undoes that behind its back."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.host_resolver import (
    HOOKS,
    KEPT,
    MARK,
    RESOLV_CONF,
    File,
    asking,
    is_mounted,
    restore,
    switch,
)

LOCAL = "127.0.0.1"
OURS = f"{MARK}\nnameserver {LOCAL}\noptions edns0 trust-ad\n"
DHCLIENT = "/etc/dhcp/dhclient-enter-hooks.d"
NOTHING = File(None)


def reader(**files: File) -> Callable[[str], File]:
    """What there is, by path; everything else is absent."""
    return lambda path: files.get(path, NOTHING)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", OURS),
        ("nameserver 192.0.2.1\nnameserver 192.0.2.2\n", OURS),
        ("# by dhclient\nnameserver 192.0.2.1\n; so\n", OURS),
        (
            "search corp.example\nnameserver 192.0.2.1\noptions ndots:2 edns0\n",
            f"{MARK}\nsearch corp.example\nnameserver {LOCAL}\noptions ndots:2 edns0 trust-ad\n",
        ),
        (OURS, OURS),
    ],
)
def test_only_the_own_resolver_is_asked_and_the_rest_stays(before: str, after: str) -> None:
    assert asking(before, LOCAL) == after


def test_a_switch_keeps_what_was_there() -> None:
    plan = switch(LOCAL, File("nameserver 192.0.2.1\n"), reader())
    assert plan.files[RESOLV_CONF] == OURS
    assert json.loads(plan.files[KEPT] or "") == {"text": "nameserver 192.0.2.1\n", "link": ""}


def test_a_link_is_replaced_and_comes_back() -> None:
    target = "../run/systemd/resolve/stub-resolv.conf"
    plan = switch(LOCAL, File("nameserver 127.0.0.53\nsearch .\n", target), reader())
    assert "nameserver 127.0.0.1\n" in (plan.files[RESOLV_CONF] or "")
    back = restore(File(plan.files[RESOLV_CONF]), reader(**{KEPT: File(plan.files[KEPT])}))
    assert back.link == target


def test_what_is_as_it_should_be_is_left_alone() -> None:
    assert switch(LOCAL, File(OURS), reader()).files == {}


def test_another_address_of_ours_does_not_overwrite_what_was_kept() -> None:
    assert switch("::1", File(OURS), reader()).files.keys() == {RESOLV_CONF}


@pytest.mark.parametrize("sign", HOOKS)
def test_who_would_write_the_file_is_told_not_to(sign: str) -> None:
    path, text = HOOKS[sign]
    plan = switch(LOCAL, File(OURS), reader(**{sign: File("")}))
    assert plan.files == {path: text}
    there = reader(**{sign: File(""), path: File(text)})
    assert switch(LOCAL, File(OURS), there).files == {}


def test_somebody_else_s_hook_is_not_touched_but_told() -> None:
    own = reader(**{"/etc/dhcpcd.conf": File(""), "/etc/dhcpcd.enter-hook": File("echo hello\n")})
    plan = switch(LOCAL, File(OURS), own)
    assert plan.files == {}
    assert len(plan.warnings) == 1
    assert "/etc/dhcpcd.enter-hook" in plan.warnings[0]


def test_everything_comes_back() -> None:
    before = File("nameserver 192.0.2.1\n")
    there = {DHCLIENT: File("")}
    done = {path: File(text) for path, text in switch(LOCAL, before, reader(**there)).files.items()}
    plan = restore(done[RESOLV_CONF], reader(**there, **done))
    assert plan.files == {RESOLV_CONF: before.text, KEPT: None, f"{DHCLIENT}/postoffice": None}
    assert plan.link == ""


def test_what_somebody_else_wrote_meanwhile_stays() -> None:
    assert restore(File("nameserver 192.0.2.9\n"), reader(**{KEPT: File("{}")})).files == {}


def test_without_what_was_kept_nothing_is_guessed() -> None:
    plan = restore(File(OURS), reader())
    assert plan.files == {}
    assert plan.warnings


def test_a_mounted_file_is_known_by_its_own_line() -> None:
    line = "841 838 0:45 /containers/x/resolv.conf {} rw,nosuid - tmpfs tmpfs rw"
    assert is_mounted(line.format(RESOLV_CONF), RESOLV_CONF)
    assert not is_mounted(line.format("/etc"), RESOLV_CONF)
