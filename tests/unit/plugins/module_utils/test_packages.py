"""What dpkg and apt print is read into versions that roles can compare."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.packages import (
    InstallationError,
    Run,
    install,
    parse_apt_cache_policy,
    parse_dpkg_query,
    preseed,
    read_packages,
    upstream_version,
)

POLICY = """postfix-sqlite:
  Installed: (none)
  Candidate: 3.10.13-0+deb13u1
  Version table:
     3.10.13-0+deb13u1 500
spamd:
  Installed: (none)
  Candidate: (none)
  Version table:
"""


@pytest.mark.parametrize(
    ("version", "upstream"),
    [
        ("1:2.4.1+dfsg1-6+deb13u6", "2.4.1"),
        ("1:2.3.19.1+dfsg1-2.1", "2.3.19.1"),
        ("3.7.11-0+deb12u1", "3.7.11"),
        ("1.0~rc2-1", "1.0"),
        ("20230311", "20230311"),
    ],
)
def test_epoch_and_revision_are_cut_off(version: str, upstream: str) -> None:
    assert upstream_version(version) == upstream


def test_removed_packages_whose_configuration_stays_are_not_installed() -> None:
    output = "postfix\tinstalled\t3.10.13-0+deb13u1\nexim4\tconfig-files\t4.98-1\n"
    assert parse_dpkg_query(output) == {"postfix": "3.10.13"}


def test_packages_without_a_candidate_have_no_version() -> None:
    assert parse_apt_cache_policy(POLICY) == {"postfix-sqlite": "3.10.13"}


def host(installed: str, policy: str = "") -> tuple[Run, list[list[str]]]:
    calls: list[list[str]] = []

    def run(argv: list[str]) -> tuple[int, str]:
        calls.append(argv)
        return (0, installed) if argv[0] == "dpkg-query" else (0, policy)

    return run, calls


def test_apt_is_asked_for_missing_packages_only() -> None:
    run, calls = host("postfix\tinstalled\t3.10.13-0+deb13u1\n", POLICY)
    packages = read_packages(["postfix", "postfix-sqlite", "spamd", "postfix"], run)
    assert packages.missing == ["postfix-sqlite", "spamd"]
    assert packages.unknown == ["spamd"]
    assert packages.versions == {"postfix": "3.10.13", "postfix-sqlite": "3.10.13", "spamd": ""}
    assert calls[1] == ["apt-cache", "policy", "postfix-sqlite", "spamd"]


def test_nothing_wanted_asks_nobody() -> None:
    run, calls = host("")
    assert read_packages([], run).missing == []
    assert calls == []


def test_an_installed_alternative_is_enough() -> None:
    run, calls = host("chrony\tinstalled\t4.3-2\n")
    packages = read_packages(["systemd-timesyncd | chrony|ntpsec"], run)
    assert packages.missing == []
    assert packages.versions["chrony"] == "4.3"
    assert len(calls) == 1


def test_the_first_alternative_that_can_be_had_is_installed() -> None:
    run, _calls = host("", POLICY)
    packages = read_packages(["spamd | postfix-sqlite", "spamd | nosuch"], run)
    assert packages.missing == ["postfix-sqlite", "spamd"]
    assert packages.unknown == ["spamd"]


def apt_get(*answers: tuple[int, str]) -> tuple[Run, list[str]]:
    """A host whose `apt-get install` ends like this, time after time."""
    ends = iter(answers)
    calls: list[str] = []

    def run(argv: list[str]) -> tuple[int, str]:
        calls.append(" ".join(argv))
        return next(ends) if "install" in argv else (0, "")

    return run, calls


STALE = (
    100,
    "Err:1 http://deb.example.org postfix\n  404  Not Found\nE: Unable to fetch some archives, maybe update",
)
INTERRUPTED = (100, "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.")


def test_stale_lists_are_read_again_and_an_interrupted_dpkg_is_finished() -> None:
    run, calls = apt_get(INTERRUPTED, STALE, (0, ""))
    install(["postfix", "dovecot-core"], run)
    assert [call.split()[0:3] for call in calls[1::2]] == [
        ["dpkg", "--configure", "--pending"],
        ["apt-get", "--quiet", "update"],
    ]
    assert all(call.endswith("install postfix dovecot-core") for call in calls[0::2])


def test_a_remedy_is_tried_once_and_the_error_names_the_packages_and_the_reason() -> None:
    run, calls = apt_get(STALE, STALE)
    with pytest.raises(InstallationError, match=r"(?s)postfix, dovecot-core:.*404  Not Found"):
        install(["postfix", "dovecot-core"], run)
    assert len(calls) == 3


def test_an_error_far_above_the_end_is_told_too() -> None:
    run, _calls = apt_get((100, "E: no space left\n" + "Setting up something\n" * 50))
    with pytest.raises(InstallationError, match="no space left"):
        install(["postfix"], run)


ANSWER = "postfix postfix/main_mailer_type select No configuration"
LOCKED = (1, 'debconf: DbDriver "config": /var/cache/debconf/config.dat is locked by another process')


def debconf(*answers: tuple[int, str]) -> tuple[Callable[[str], tuple[int, str]], list[str]]:
    ends, heard = iter(answers), list[str]()

    def say(text: str) -> tuple[int, str]:
        heard.append(text)
        return next(ends)

    return say, heard


def test_debconf_hears_the_answers_for_what_is_installed_and_no_others() -> None:
    say, heard = debconf((0, ""))
    preseed([ANSWER, "postfix-mysql postfix/x string y"], ["dovecot-core", "postfix"], say)
    assert heard == [f"{ANSWER}\n"]
    preseed([ANSWER], ["dovecot-core"], say)
    assert len(heard) == 1


def test_debconf_is_waited_for_while_another_installation_asks_its_questions() -> None:
    say, heard = debconf(LOCKED, LOCKED, (0, ""))
    waits: list[float] = []
    preseed([ANSWER], ["postfix"], say, waits.append)
    assert len(heard) == 3
    assert len(waits) == 2


@pytest.mark.parametrize("answer", [LOCKED, (1, "error: Cannot find a question for postfix/nosuch")])
def test_an_answer_that_debconf_does_not_take_is_an_error(answer: tuple[int, str]) -> None:
    say, _heard = debconf(*[answer] * 1000)
    with pytest.raises(InstallationError, match=r"(?s)postfix:.*" + answer[1][-10:]):
        preseed([ANSWER], ["postfix"], say, lambda _seconds: None)
