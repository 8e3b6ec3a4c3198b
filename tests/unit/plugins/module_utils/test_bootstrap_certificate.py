"""A host makes itself a certificate when it needs one, and only then; with the real openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from ansible_collections.postoffice.mail.plugins.module_utils.bootstrap_certificate import (
    make,
    reason_to_make,
    request,
)

NAMES = ["mail.example.org", "imap.example.org"]


def run(argv: list[str]) -> tuple[int, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout or done.stderr


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "tls/fullchain.pem", tmp_path / "tls/privkey.pem"


def test_it_is_made_once(paths: tuple[Path, Path]) -> None:
    assert reason_to_make(*paths, NAMES, run) == "there is none"
    make(*paths, NAMES, run)
    assert reason_to_make(*paths, NAMES, run) == ""
    assert reason_to_make(*paths, list(reversed(NAMES)), run) == ""


def test_a_daemon_can_load_it_and_only_root_can_read_the_key(paths: tuple[Path, Path]) -> None:
    make(*paths, NAMES, run)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*paths)
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o644, 0o600]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["fullchain.pem", "privkey.pem"]


def test_what_a_killed_run_left_is_removed(paths: tuple[Path, Path]) -> None:
    left = paths[1].with_name(".privkey.pem.new") / "key"
    left.parent.mkdir(parents=True)
    left.write_text("half a key")
    make(*paths, NAMES, run)
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["fullchain.pem", "privkey.pem"]


def test_other_names_need_another(paths: tuple[Path, Path]) -> None:
    make(*paths, NAMES, run)
    assert reason_to_make(*paths, NAMES[:1], run) == "its names differ"


def test_another_key_needs_another(paths: tuple[Path, Path], tmp_path: Path) -> None:
    make(*paths, NAMES, run)
    make(tmp_path / "other.pem", paths[1], NAMES, run)
    assert reason_to_make(*paths, NAMES, run) == "the key does not belong to it"
    paths[1].unlink()
    assert reason_to_make(*paths, NAMES, run) == "the key does not belong to it"


def test_a_certificate_of_the_operators_is_never_touched(paths: tuple[Path, Path]) -> None:
    make(*paths, NAMES, run)
    arguments = request(*paths, ["other.example.org"])
    arguments[arguments.index("-subj") + 1] = "/CN=other.example.org"
    assert run(arguments)[0] == 0
    assert reason_to_make(*paths, NAMES, run) == ""


def test_garbage_is_not_overwritten(paths: tuple[Path, Path]) -> None:
    make(*paths, NAMES, run)
    paths[0].write_text("garbage")
    with pytest.raises(OSError, match="no certificate"):
        reason_to_make(*paths, NAMES, run)


def test_one_that_ends_soon_needs_another(paths: tuple[Path, Path]) -> None:
    make(*paths, NAMES, run)
    arguments = request(*paths, NAMES)
    arguments[arguments.index("-days") + 1] = "29"
    assert run(arguments)[0] == 0
    assert reason_to_make(*paths, NAMES, run) == "it ends in less than 30 days"


def test_a_long_name_does_not_have_to_fit_the_common_name(paths: tuple[Path, Path]) -> None:
    names = [f"{'m' * 60}.example.org"]
    make(*paths, names, run)
    assert reason_to_make(*paths, names, run) == ""


def test_what_openssl_refuses_is_said_and_nothing_is_left(paths: tuple[Path, Path]) -> None:
    with pytest.raises(OSError, match="openssl could not make a certificate"):
        make(*paths, ["a,b=c"], run)
    assert list(paths[0].parent.iterdir()) == []
