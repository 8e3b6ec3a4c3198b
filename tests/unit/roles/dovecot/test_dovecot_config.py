# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import os
import shlex
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import dovecot_config
import pytest
from dovecot_config import Block, ProblemError, parse_configuration

PRINTED = """\
# 2.4.1-4 (7d8c0e5759): /etc/dovecot/dovecot.conf
mail_plugins {
  quota = yes
  fts = no
}
protocols = imap lmtp
mail_path = ~/Maildir
empty =
service auth {
  user = dovecot
  unix_listener postoffice/auth {
    group = postfix
    mode = 0660
  }
}
namespace inbox {
  mailbox "Sent Messages" {
    special_use = "\\\\Sent"
  }
}
"""


def test_settings_and_blocks_are_read_as_printed() -> None:
    configuration = parse_configuration(PRINTED)
    assert configuration.words("mail_plugins") == ["quota"]
    assert configuration.words("protocols") == ["imap", "lmtp"]
    assert configuration.values["empty"] == ""
    assert configuration.blocks["service auth"].blocks["unix_listener postoffice/auth"].values["mode"] == "0660"
    assert (("service auth",), "user", "dovecot") in list(configuration.walk())


def test_a_line_that_is_no_setting_is_a_problem() -> None:
    with pytest.raises(ProblemError, match="unexpected line: Something odd"):
        parse_configuration("mail_debug = no\nSomething odd\n")


def test_later_settings_win_and_blocks_are_merged() -> None:
    configuration = parse_configuration("a = 1\nservice imap {\n  user = root\n  protocol = imap\n}\n")
    configuration.update(parse_configuration("a = 2\nservice imap {\n  user = vmail\n}\n"))
    assert configuration.values == {"a": "2"}
    assert configuration.blocks["service imap"].values == {"user": "vmail", "protocol": "imap"}


def test_users_and_groups_must_exist() -> None:
    configuration = parse_configuration(
        "mail_uid = root\nmail_gid = no-such-group\nservice auth {\n  user = no-such-user\n"
        "  extra_groups = root another-group\n}\nservice x {\n  user = $SET:default_internal_user\n  group = 0\n}\n"
    )
    assert list(dovecot_config.check_accounts(configuration)) == [
        "mail_gid = no-such-group: there is no such group",
        "service auth / user = no-such-user: there is no such user",
        "service auth / extra_groups = another-group: there is no such group",
    ]


def test_files_must_exist_unless_they_depend_on_the_user(tmp_path: Path) -> None:
    there = tmp_path / "there.pem"
    there.touch()
    configuration = parse_configuration(
        f"ssl_cert = <{there}\nssl_key = <{tmp_path}/gone.key\nssl_server_dh_file = {tmp_path}/gone.pem\n"
        "mail_path = ~/Maildir\nsieve_script domain {\n  path = /etc/sieve/%{user | domain}.sieve\n"
        "  bin_path = /var/lib/dovecot/sieve/domains\n}\npassdb {\n  args = /nowhere/users\n}\n"
    )
    assert [text.partition(" =")[0] for text in dovecot_config.check_files(configuration)] == [
        "ssl_key",
        "ssl_server_dh_file",
        "passdb / args",
    ]


def test_programs_of_served_protocols_must_be_there(tmp_path: Path) -> None:
    program = tmp_path / "imap"
    program.touch(mode=0o755)
    configuration = parse_configuration(
        "service imap {\n  executable = imap\n  protocol = imap\n}\n"
        "service pop3 {\n  executable = pop3\n  protocol = pop3\n}\n"
        "service warn {\n  executable = script -p /no/where 80\n}\n"
    )
    assert list(dovecot_config.check_programs(configuration, ["imap"], str(tmp_path))) == [
        "service warn / executable = script -p /no/where 80: /no/where is not there or cannot be run"
    ]


def test_plugins_must_be_there_globally_and_per_protocol(tmp_path: Path) -> None:
    (tmp_path / "lib10_quota_plugin.so").touch()
    configuration = parse_configuration(
        "mail_plugins = quota qouta\nprotocol imap {\n  mail_plugins {\n    quota = yes\n    imap_qouta = yes\n  }\n}\n"
    )
    assert list(dovecot_config.check_plugins(configuration, str(tmp_path))) == [
        f"mail_plugins: there is no plugin qouta in {tmp_path}",
        f"protocol imap mail_plugins: there is no plugin imap_qouta in {tmp_path}",
    ]


def test_plugin_settings_that_nobody_knows_are_found(tmp_path: Path) -> None:
    (tmp_path / "lib10_quota_plugin.so").write_bytes(b"\0%s_rule\0%s_warning\0")
    (tmp_path / "lib90_sieve_plugin.so").write_bytes(b"\0sieve_before\0")
    configuration = parse_configuration(
        "plugin {\n  quota_rule2 = x\n  quota_warning = x\n  sieve_before3 = x\n  sieve_befor = x\n  quota_rul = x\n}\n"
    )
    problems = list(dovecot_config.check_plugin_settings(configuration, [str(tmp_path)]))
    assert [text.partition(":")[0] for text in problems] == ["plugin / sieve_befor", "plugin / quota_rul"]


def test_settings_that_are_put_together_from_parts_are_known(tmp_path: Path) -> None:
    (tmp_path / "lib95_imap_sieve_plugin.so").write_bytes(b"\0imapsieve_mailbox\0")
    (tmp_path / "lib90_sieve_extprograms_plugin.so").write_bytes(b"\0sieve_%s_bin_dir\0")
    good = ("imapsieve_mailbox1_name", "imapsieve_mailbox12_causes", "sieve_pipe_bin_dir")
    bad = ("imapsieve_mailbox1_nmae", "imapsieve_mailbox_name", "sieve_pip_bin_dir", "sieve_pipe_bin_dri")
    configuration = parse_configuration("plugin {\n" + "".join(f"  {name} = x\n" for name in good + bad) + "}\n")
    problems = list(dovecot_config.check_plugin_settings(configuration, [str(tmp_path)]))
    assert [text.partition(":")[0] for text in problems] == [f"plugin / {name}" for name in bad]


def make_certificate(folder: Path, name: str) -> tuple[str, str]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    request = shlex.split("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x")
    subprocess.run([*request, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return str(certificate), str(key)


def test_certificate_and_key_must_belong_together(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "one")
    _unused, other = make_certificate(tmp_path, "other")
    assert list(dovecot_config.check_certificate(certificate, key)) == []
    assert "MISMATCH" in next(dovecot_config.check_certificate(certificate, other))
    assert "no such file" in next(dovecot_config.check_certificate(certificate, str(tmp_path / "gone.key")))


def test_the_directory_must_answer_the_queries(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE dovecot_user (user TEXT)")
    assert list(dovecot_config.check_directory(str(path), ["SELECT user FROM dovecot_user"])) == []
    assert "no such column" in next(dovecot_config.check_directory(str(path), ["SELECT home FROM dovecot_user"]))
    assert "no such file" in next(dovecot_config.check_directory(str(tmp_path / "gone"), []))


def listener_configuration(address: str, port: int) -> Block:
    return parse_configuration(
        f"listen = {address}\nservice imap-login {{\n  protocol = imap\n"
        f"  inet_listener imap {{\n    port = {port}\n  }}\n}}\n"
    )


def test_a_port_in_use_and_an_address_of_others_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dovecot_config, "MASTER_PID", tmp_path / "master.pid")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        configuration = listener_configuration("127.0.0.1", port)
        assert "in use" in next(dovecot_config.check_listeners(configuration, ["imap"]))
        assert list(dovecot_config.check_listeners(configuration, ["pop3"])) == []
        # The running daemon may keep what it has.
        (tmp_path / "master.pid").write_text(f"{os.getpid()}\n")
        assert list(dovecot_config.check_listeners(configuration, ["imap"])) == []
        elsewhere = listener_configuration("192.0.2.77", port)
        assert "192.0.2.77" in next(dovecot_config.check_listeners(elsewhere, ["imap"]))


SIEVEC = """\
#!/bin/sh
echo "$3" >> {folder}/asked
compile() {{
  if grep -q bad "$1"; then echo "$(basename "$1" .sieve): line 1: error: bad" >&2; exit 89; fi
  echo "a warning" >&2
  cp "$1" "$2"
}}
if [ -d "$3" ]; then for script in "$3"/*.sieve; do compile "$script" "${{script%.sieve}}.svbin"; done
else compile "$3" "$4"; fi
"""


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Folders of scripts, and a sievec that refuses scripts with the word `bad` and notes what it is asked for."""
    for name in ("scripts/site", "scripts/mailboxes", "bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "dovecot.conf").write_text("protocols = imap\n")
    (tmp_path / "bin/sievec").write_text(SIEVEC.format(folder=tmp_path))
    (tmp_path / "bin/dovecot").write_text("#!/bin/sh\necho 2.4.1\n")
    for program in (tmp_path / "bin").iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(dovecot_config, "SCRIPTS", tmp_path / "scripts")
    monkeypatch.setattr(dovecot_config, "COMPILED", tmp_path / "compiled")
    monkeypatch.setattr(dovecot_config, "CONFIGURATION", tmp_path / "dovecot.conf")
    return tmp_path


def asked(folder: Path) -> list[str]:
    """What sievec was asked for since the last time."""
    path = folder / "asked"
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    path.unlink()
    return [line.removeprefix(f"{folder}/scripts/") for line in lines]


def test_only_what_changed_is_compiled(compiler: Path) -> None:
    script = compiler / "scripts/site/01.sieve"
    script.write_text("keep;")
    (compiler / "scripts/site/02.sieve").write_text("keep;")
    assert list(dovecot_config.compile_in_place()) == []
    assert (compiler / "compiled/site/01.svbin").read_text() == "keep;"
    assert asked(compiler) == ["site/01.sieve", "site/02.sieve"]
    assert list(dovecot_config.compile_in_place()) == []
    assert asked(compiler) == []
    # An older file with other content, as after an old tree was put back.
    script.write_text("stop;")
    os.utime(script, (0, 0))
    assert list(dovecot_config.compile_in_place()) == []
    assert (compiler / "compiled/site/01.svbin").read_text() == "stop;"
    assert asked(compiler) == ["site/01.sieve"]
    (compiler / "dovecot.conf").write_text("protocols = lmtp\n")
    assert list(dovecot_config.compile_in_place()) == []
    assert asked(compiler) == ["site/01.sieve", "site/02.sieve"]


def test_scripts_that_teach_count_while_the_configuration_names_them(compiler: Path) -> None:
    """When nobody learns any more they are there until after the reload, and do not compile."""
    folder = compiler / "scripts/learning"
    folder.mkdir()
    (folder / "ham.sieve").write_text("bad")
    assert list(dovecot_config.compile_in_place()) == []
    assert asked(compiler) == []
    (compiler / "dovecot.conf").write_text(f"path = {dovecot_config.LEARNING}/ham.sieve\n")
    assert len(list(dovecot_config.compile_in_place())) == 1


def test_many_are_compiled_at_once_and_few_of_many_are_not(compiler: Path) -> None:
    for number in range(30):
        (compiler / f"scripts/mailboxes/{number}@example.org.sieve").write_text("keep;")
    assert list(dovecot_config.compile_in_place()) == []
    assert asked(compiler) == ["mailboxes"]
    assert len(list((compiler / "compiled/mailboxes").glob("*.svbin"))) == 30
    (compiler / "scripts/mailboxes/7@example.org.sieve").write_text("stop;")
    assert list(dovecot_config.compile_in_place()) == []
    assert asked(compiler) == ["mailboxes/7@example.org.sieve"]
    assert list((compiler / "scripts/mailboxes").glob("*.svbin")) == []


def test_what_is_left_of_scripts_that_are_gone_is_removed(compiler: Path) -> None:
    script = compiler / "scripts/site/01.sieve"
    script.write_text("keep;")
    list(dovecot_config.compile_in_place())
    script.unlink()
    assert list(dovecot_config.compile_in_place()) == []
    assert list((compiler / "compiled/site").iterdir()) == []


def test_an_error_names_the_script_and_leaves_other_folders(compiler: Path) -> None:
    (compiler / "scripts/site/01.sieve").write_text("keep;")
    (compiler / "scripts/mailboxes/alice@example.org.sieve").write_text("bad;")
    expected = f"Sieve script in {compiler}/scripts/mailboxes:\nalice@example.org: line 1: error: bad"
    assert list(dovecot_config.check_scripts()) == [expected]
    assert not (compiler / "compiled").exists()
    assert list(dovecot_config.compile_in_place()) == [expected]
    assert (compiler / "compiled/site/01.svbin").exists()
    assert not (compiler / "compiled/mailboxes/alice@example.org.svbin").exists()
    assert list(dovecot_config.compile_in_place()) == [expected]


@pytest.fixture
def greeter() -> Iterator[tuple[str, list[bytes]]]:
    """A listener at whose port each connection gets the next of the greetings."""
    greetings: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    stream, _unused = server.accept()
                except OSError:
                    return
                with stream:
                    stream.sendall(greetings.pop(0))

        threading.Thread(target=serve, daemon=True).start()
        yield str(server.getsockname()[1]), greetings
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("greeting", "expected", "said"),
    [
        (b"* OK [CAPABILITY IMAP4rev1] ready\r\n", "* OK", ""),
        (b'"IMPLEMENTATION" "x"\r\nOK "ready"\r\n', "OK", ""),
        (b"* BYE too many connections\r\n", "* OK", "too many"),
        (b"action=DEFER_IF_PERMIT Temporary internal error\n\n", "action=DUNNO", "internal error"),
        (b"", "220", "closes the connection"),
    ],
)
def test_the_probe_waits_for_the_greeting(
    greeter: tuple[str, list[bytes]], greeting: bytes, expected: str, said: str
) -> None:
    port, greetings = greeter
    greetings.append(greeting)
    listener = {"name": "x", "address": "127.0.0.1", "port": port, "expect": expected}
    problems = list(dovecot_config.probe({"listeners": [listener]}))
    assert (problems == []) if not said else (said in problems[0])


def test_the_probe_reports_what_nobody_listens_on(tmp_path: Path) -> None:
    listener = {"name": "lmtp", "socket": str(tmp_path / "lmtp"), "expect": "220"}
    (problem,) = dovecot_config.probe({"listeners": [listener]})
    assert problem.startswith(f"lmtp on {tmp_path}/lmtp: ")
