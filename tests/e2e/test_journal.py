"""What the host said in its journal: nothing that its operator would have to explain."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from mailtest.deployment import Deployment, Shell

pytestmark = pytest.mark.last

WARNING = 4  # syslog priority
COMPLAINT = re.compile(r"(?:^|\s)(?:warning|error|fatal|panic): ", re.IGNORECASE)


@dataclass(frozen=True)
class Expected:
    """A line that may be there, and why."""

    program: str
    pattern: str
    reason: str


DELIBERATE = "the tests do so on purpose"
EXPECTED = [
    Expected("sshd(-session)?", "Unable to open env file: /etc/default/locale", "the bare image has no locale"),
    Expected("dbus-daemon", 'Unknown username "systemd-timesync"', "Debian installs the policy before the user"),
    Expected("dbus-daemon", "Failed to set fd limit", "the machine may not raise limits"),
    Expected(
        "postfix/cleanup", "file system clock is [1-9] seconds ahead|resetting file time stamps", "a slow machine"
    ),
    Expected("systemd-sysv-generator", ".*", "Debian's clamav-milter has an init script; the role brings a unit"),
    Expected("postfix/sendmail", "fatal: open /etc/postfix/main.cf", "clamav-base calls newaliases once installed"),
    Expected("freshclam", "WARNING: DNS Update Info disabled", "a private mirror is asked by HTTP"),
    Expected("freshclam", "WARNING: Clamd was NOT notified", "while it fetches what clamd waits for"),
    Expected("clamav-milter", "ERROR: (Failed to initiate streaming|Timed out|No reply from clamd)", DELIBERATE),
    Expected("clamav-milter", "WARNING: No clamd server appears to be available", DELIBERATE),
    Expected("systemd", r"clamav-(daemon|milter)\.service: (Main process exited, code=killed|Failed with)", DELIBERATE),
    Expected("systemd", "Failed to start clamav-daemon.service", DELIBERATE),
    Expected("dovecot", "master: Warning: SIGHUP received - reloading configuration", "how a reload is logged"),
    Expected("dovecot", r"master: Warning: Killed with signal 15 \(by pid=\d+ uid=0 ", "how a restart is logged"),
    Expected("dovecot", "FTS Xapian: Can not open RO index .*NotFound", "a search in a folder not yet indexed"),
    Expected(
        "systemd",
        r"unbound\.service: (Main process exited, code=killed, status=9/KILL|Failed with .*'signal')",
        DELIBERATE,
    ),
    Expected(
        "systemd",
        r"open(dkim|dmarc)\.service: (Main process exited, code=killed, status=9/KILL|Failed with .*'signal')",
        DELIBERATE,
    ),
    Expected("nginx", r"\[error\] .* client intended to send too large body: 100000 bytes", DELIBERATE),
    Expected("postfix/smtpd", r"warning: hostname mx\.bogus\.example does not resolve to address", DELIBERATE),
    Expected("opendkim", r"key retrieval failed \(s=s1, d=bogus\.example\)", DELIBERATE),
    Expected(
        "postfix/bounce",
        r"warning: .*(delay template|bounce\(5\) manual)",
        DELIBERATE,
    ),
    Expected("opendmarc", "multi-valued From field detected", DELIBERATE),
    Expected("postfix/smtpd", r"\.dnswl\.example: RBL lookup error: .*try again", DELIBERATE),
    Expected(
        "postfix/dnsblog",
        r"lookup error for DNS query \S+\.(dns[bw]l\.example|dq\.spamhaus\.net): .*try again",
        DELIBERATE,
    ),
    Expected(
        "systemd",
        r"(postgrey|fail2ban)\.service: (Main process exited, code=killed, status=9|Failed with result 'signal')",
        DELIBERATE,
    ),
    Expected(
        "postfix/smtpd", "connect to /run/postgrey/postgrey.sock: No such file|problem talking to server", DELIBERATE
    ),
    Expected("postfix/.*smtpd", "SASL (PLAIN|LOGIN) authentication failed", DELIBERATE),
    Expected("postfix/.*smtpd", "non-SMTP command from", DELIBERATE),
    Expected("postfix/.*smtpd", "connect to Milter service .*: (Connection refused|No such file)", DELIBERATE),
    Expected("postoffice-milter", "refused, login <(hasty|chatty|sociable)@.*: 45[02] .*Sending limit", DELIBERATE),
    Expected("postoffice-milter", "message deferred: spamd, .*(No such file|timed out|refused|no answer)", DELIBERATE),
    Expected(
        "systemd",
        r"spamd\.service: (Main process exited, code=killed, status=9|Failed with result 'signal')",
        DELIBERATE,
    ),
    Expected(
        "systemd",
        r"spamassassin-maintenance\.service: (Main process exited|Failed with)|Failed to start spamassassin-maint",
        DELIBERATE,
    ),
    Expected("(sh|runuser)", "POSTOFFICE_NEW_RULE", DELIBERATE),
    Expected("spamd", "info: prefork: sysread_with_timeout select error: Interrupted", "how a reload is logged"),
    Expected("postoffice-learning", "learning waits: .*No such file", DELIBERATE),
    Expected("systemd", r"(postoffice-learning\.service: Failed with|Failed to start postoffice-learning)", DELIBERATE),
    Expected(
        "postfix/submissions?/smtpd", "TLS library problem: .*(unsupported protocol|no shared cipher)", DELIBERATE
    ),
    Expected(
        "postfix/srs/cleanup",
        "(connect to|read) TCP map (reply from )?127.0.0.1:10001|tcp:127.0.0.1:10001 lookup error|"
        "sender_canonical_maps map lookup problem",
        DELIBERATE,
    ),
    Expected("postfix/srs/smtp", "said: 451 4.3.0 Error: queue file write error", DELIBERATE),
    Expected("postfix/smtp", "(policy socketmap server|policy|policy table) (temporary|lookup) error", DELIBERATE),
    Expected("postfix/smtp", "TLS policy lookup for sts-ok.example/.*: client TLS configuration problem", DELIBERATE),
    Expected(
        "systemd",
        r"(postfix-mta-sts-resolver|postoffice-tls-policy|postsrsd)\.service: (Main process exited, code=killed, "
        r"status=9/KILL|Failed with result 'signal')",
        DELIBERATE,
    ),
    Expected("postfix/(smtpd|cleanup)", "queue file size limit exceeded|mail_stream_cleanup: close error", DELIBERATE),
]


def explained(program: str, message: str) -> bool:
    return any(re.fullmatch(each.program, program) and re.search(each.pattern, message) for each in EXPECTED)


def journal(host: Shell) -> Iterator[dict[str, object]]:
    for line in host.output("journalctl", "--boot", "--output=json", "--no-pager", "--all").splitlines():
        entry = json.loads(line)
        # Containers see the log of the machine's kernel, into which programs of other containers write as well.
        if entry.get("_TRANSPORT") != "kernel":
            yield entry


def test_the_journal_holds_no_unexplained_warning_or_error(host: Shell) -> None:
    unexplained = []
    programs = set()
    for entry in journal(host):
        message = entry.get("MESSAGE")
        text = bytes(message).decode("utf-8", "replace") if isinstance(message, list) else str(message)
        program = str(entry.get("SYSLOG_IDENTIFIER", entry.get("_COMM", "")))
        programs.add(program)
        grave = int(str(entry.get("PRIORITY", 6))) <= WARNING or COMPLAINT.search(text)
        if grave and not explained(program, text):
            unexplained.append(f"{program}: {text}")
    assert {"dovecot", "postfix/smtpd", "postfix/cleanup"} <= programs, "the journal tells of the mail of these tests"
    assert not unexplained, "\n".join(unexplained)


def test_no_unit_has_failed(host: Shell) -> None:
    assert host.output("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""


def test_no_password_was_written_down(host: Shell, deployment: Deployment) -> None:
    """Neither in the journal, which Ansible writes to as well, nor in a log file."""
    everything = host.output("journalctl", "--boot", "--output=cat", "--no-pager", "--all")
    logged = host.run(
        "find", "/var/log", "-type", "f", "-not", "-path", "*/journal/*", "-size", "-20M", "-exec", "cat", "{}", "+"
    )
    secrets = {person.password for person in deployment.people.values() if len(person.password) > 7}
    assert secrets
    found = [secret[:3] + "..." for secret in secrets if secret in everything or secret in logged.stdout]
    assert found == []
    assert not re.search(r"\{(ARGON2|BLF-CRYPT|SHA512-CRYPT|SSHA)", everything), "no hash either"


def test_nothing_is_left_in_the_queue(host: Shell) -> None:
    assert host.output("postqueue", "-j") == ""
