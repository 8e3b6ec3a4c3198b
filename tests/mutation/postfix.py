# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes what restricts people and strangers out of a running Postfix, one thing at a time: do the tests notice?

What there is to take out is read from the host: every parameter in main.cf and option in master.cf whose name says that
it restricts something. POSTOFFICE_HOST names the description of the host, as for tests/e2e; its configuration is put
back at the end, and at the beginning when the last attempt was interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest

from ansible_collections.postoffice.mail.tests.mutation.forked import OPTIONS, start
from ansible_collections.postoffice.mail.tests.mutation.report import (
    CHECKOUT,
    EQUIVALENT,
    FOLDER,
    KILLED,
    SURVIVED,
    Fate,
    Report,
)

SAVED = "/run/postoffice-mutation"
FILES = ("/etc/postfix/main.cf", "/etc/postfix/master.cf")
TESTS = "tests/e2e"
SECONDS = 600
BASELINE = 1800
SERVED = 10.0

RESTRICTS = re.compile(
    r"(?:smtpd|submission|smarthost|smtp_sasl|smtp_tls|tls|milter|disable|strict|body|header|mime_header|cleanup|postscreen)_"
    r"|\w+_(?:checks|restrictions|login_maps|recipient_maps)$"
    r"|(?:always_add_missing_headers|cleanup_service_name|local_transport|message_reject_characters|message_size_limit"
    r"|mydestination|mynetworks|show_user_unknown_table_name|smtputf8_enable)$"
)
# What a name like that stands for as well, and no test of restrictions is about.
NO_RESTRICTION = re.compile(
    r"smtpd_banner$|\w+_loglevel$|\w+_cache_(?:database|map)$|\w+_(?:path|type|chain_files|CAfile)$"
)
LISTS = re.compile(r"\w+_(?:restrictions|milters|checks|maps|options|keywords|filter)$")
WORD = re.compile(r"\{[^}]*\}|[^\s,]+")
PAIRS = re.compile(r"check_\w+_access|check_policy_service|permit_dnswl_client")
WEAKER = {
    "yes": ("no",),
    "no": ("yes",),
    "dane": ("may",),
    "encrypt": ("may",),
    "may": ("none",),
    "high": ("medium",),
    "tempfail": ("accept",),
    "reject": ("no", "normalize"),
    "enforce": ("ignore",),
    ">=TLSv1.2": (">=TLSv1",),
}

# Which tests notice: those whose name matches come first, then the rest of the files; the first line whose expression
# matches the mutant counts.
FILTERS = (
    (r"^without unix:/run/opendkim", "found_good|others_wrote|passes_elsewhere|key_of_their_own", ("dkim",)),
    (r"^without unix:/run/opendmarc", "forgery", ("dmarc",)),
    (r"^without unix:/run/clamav", "a_virus", ("viruses",)),
    (r"^without unix:/run/postoffice-milter", "spam|forged_from", ("spam", "senders", "limits")),
    (r"^without (?:check_policy_service .*/postgrey/|permit_dnswl)", "first_try|allow_list", ("greylisting",)),
)
TOPICS = (
    (r"10029|srs", "forward|keeps_its_sender", ("forwarding",)),
    (r"^smtp_tls_(security|policy)", "contradicts|not_kept|overridden", ("outgoing",)),
    (r"^postscreen_", "blocklist|allow_list|before_being|own_network|operator|strangers", ("postscreen",)),
    (r"^smtp_", "passed_on", ("relay", "smarthost")),
    (r"smarthost", "smarthost", ("smarthost",)),
    (r"milter_default", "milter_is_down", ("milter",)),
    (r"milter", "forged_from|milter_is_down|signed|users_are_not_judged", ("senders", "milter", "dkim", "dmarc")),
    (r"smtputf8", "beyond_ascii", ("receiving", "submission")),
    (r"465.*wrappermode", "modern_tls", ("tls", "submission")),
    (r"missing_headers", "without_from", ("privacy", "senders")),
    (
        r"cleanup_service|header_checks",
        "betray|own_mail|attached|others_wrote|signed_by|survives",
        ("privacy", "senders", "smuggling", "receiving", "dkim"),
    ),
    (r"etrn", "queue_run", ("smuggling", "receiving")),
    (r"helo", "helo|name_cannot|call_itself", ("receiving", "submission")),
    (
        r"newline|pipelining|cr_lf|body_checks|reject_char|ehlo",
        "return|one_end|ahead|queue_run|not_offered",
        ("smuggling",),
    ),
    (r"vrfy", "who_exists", ("receiving",)),
    (r"tls_(auth|received)", "cleartext|encrypt", ("submission", "receiving")),
    (r"(587|465).*tls", "without_encryption|cleartext|old_tls|weak_ciphers", ("submission", "tls")),
    (r"tls_", "chooses|old_tls|weak|encrypt", ("tls", "submission", "receiving")),
    (
        r"client_restrictions|sasl",
        "only_way_in|without_a_password|port_25|between_two|right_password",
        ("submission", "receiving"),
    ),
    (
        r"sender|login",
        "forged_envelope|no_sender|no_answer_could|second_message",
        ("senders", "submission", "receiving"),
    ),
    (
        r"587|465|submission",
        "has_left|no_address|beyond_ascii|at_once|without_a_password|between|to_the_world|travel",
        ("submission", "senders", "greylisting"),
    ),
    (r"relay|recipient", "told_why|own_users|beyond_ascii|strangers|unknown", ("receiving", "relay", "addresses")),
    (r"", "unknown_recipient|no_addresses|limit", ("receiving",)),
)
# Slow, and about other things.
UNRELATED = re.compile(r"every_password|counts_to|20_mb|as_a_hash|case_does|who_may_not|refused_alike")

# What no test can see over the network, and why: mutants whose description begins like that.
UNSEEN = {
    "local_recipient_maps: ": "local_transport refuses the same addresses",
    "local_transport: not set": "local_recipient_maps lists names that virtual_alias_maps have led elsewhere before",
    "postscreen_greet_wait: not set": "Postfix's own time is longer",
    "smtp_sasl_tls_security_options: without": "a smarthost that one has a password for is not asked anonymously",
    "smtpd_recipient_restrictions: without reject_unlisted": "asked last in any case; here, before policy services are",
    "submission_recipient_restrictions: without reject_unlisted": "the same",
    "smtpd_tls_auth_only: ": "encryption is demanded on 587, which implies it, and nobody logs in on 25",
    "smarthost/unix/smtp_tls_security_level: ": "the policy demands encryption as well",
    "smarthost-tls/unix/smtp_tls_security_level: ": "the same",
    "465/inet/smtpd_tls_security_level: ": "the wrapper demands encryption, with the mandatory protocols and ciphers",
    "587/inet/milter_macro_daemon_name: ": "for milters of others; ours looks at the login",
    "465/inet/milter_macro_daemon_name: ": "the same",
    "cleanup-bounce/unix/header_checks: ": "nothing that the host says of a message has such a header",
    "cleanup-srs/unix/message_size_limit: ": "for a message just below the limit, a header longer the second time",
    "127.0.0.1:10029/inet/message_size_limit: ": "the same",
    "127.0.0.1:10029/inet/mynetworks: ": "only programs of the host reach it",
    "127.0.0.1:10029/inet/smtpd_client_restrictions: not": "the same",
    "127.0.0.1:10029/inet/smtpd_client_restrictions: without reject": "the same",
    "127.0.0.1:10029/inet/smtpd_relay_restrictions: without reject": "the same",
    "127.0.0.1:10029/inet/smtpd_helo_restrictions: ": "what is on its second way was judged on its first",
    "127.0.0.1:10029/inet/smtpd_milters: ": "the same",
    "127.0.0.1:10029/inet/smtpd_recipient_restrictions: ": "the same",
    "127.0.0.1:10029/inet/smtpd_sender_restrictions: ": "the same",
    "127.0.0.1:10029/inet/smtpd_tls_security_level: ": "it is spoken to without TLS, whatever it offers",
    "srs/unix/smtp_tls_": "it only talks to the host itself, which offers no TLS there",
}


@dataclass(frozen=True)
class Mutant:
    """A change of the configuration, and the postconf command that makes it."""

    where: str
    change: str
    command: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where}: {self.change}"


# Which there are


def weaker(name: str, value: str, usual: str | None) -> Iterator[tuple[str, str | None]]:
    """Each change of a parameter, in words, and its new value (None: not set, which leaves the usual one)."""
    seen = {value, usual}
    if value != usual:
        yield f"not set, {value or 'empty'} before", None
    for change, new in [*shorter(name, value), *less(name, value)]:
        if new not in seen:
            seen.add(new)
            yield change, new


def shorter(name: str, value: str) -> Iterator[tuple[str, str]]:
    """A list without one of its elements."""
    if LISTS.match(name):
        elements = split(value)
        for index, element in enumerate(elements):
            yield f"without {element}", ", ".join([*elements[:index], *elements[index + 1 :]])


def less(name: str, value: str) -> Iterator[tuple[str, str]]:
    """A switch thrown, a level lowered."""
    if not LISTS.match(name):
        for new in WEAKER.get(value, ()):
            yield f"{new}, {value} before", new


def split(value: str) -> list[str]:
    """The elements of a list; a check is one element together with its table or service, a list in braces one word."""
    elements: list[str] = []
    for word in WORD.findall(value):
        if elements and PAIRS.fullmatch(elements[-1]):
            elements[-1] += f" {word}"
        else:
            elements.append(word)
    return elements


def of_main(settings: Mapping[str, str], usual: Mapping[str, str]) -> Iterator[Mutant]:
    """`settings` and `usual`, the values that Postfix has without them, as postconf says them."""
    for name, value in settings.items():
        if RESTRICTS.match(name) and not NO_RESTRICTION.match(name):
            for change, new in weaker(name, value, usual.get(name)):
                command = ("-X", name) if new is None else ("-e", f"{name}={new}")
                yield Mutant(name, change, command)


def of_services(options: Mapping[str, str], otherwise: Mapping[str, str]) -> Iterator[Mutant]:
    """`options` by service, type and name, as in 465/inet/smtpd_milters; `otherwise` what holds without them."""
    for where, value in options.items():
        name = where.rpartition("/")[2]
        if RESTRICTS.match(name) and not NO_RESTRICTION.match(name):
            usual = otherwise.get(name)
            the_same = otherwise.get(value.removeprefix("$"), value) == usual
            for change, new in weaker(name, value, value if the_same else usual):
                yield Mutant(where, change, ("-PX", where) if new is None else ("-P", f"{where}={new}"))


# On the host


class Host:
    """Root's shell on the host, and its Postfix."""

    def __init__(self, description: Path) -> None:
        described = json.loads(description.read_text(encoding="utf-8"))
        socket = f"{tempfile.gettempdir()}/postoffice-mutation-%C"
        sharing = ("-oControlMaster=auto", f"-oControlPath={socket}", "-oControlPersist=60")
        program, *arguments = shlex.split(described["ssh"])
        self.login = (program, *sharing, *arguments)
        instance = "postfix@-.service"
        running = self.output("sh", "-c", f"systemctl is-active {instance} || true") == "active"
        self.unit = instance if running else "postfix.service"

    def output(self, *argv: str) -> str:
        """What a program says there; its failure ends this one."""
        done = subprocess.run([*self.login, shlex.join(argv)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{shlex.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def settings(self, *options: str) -> dict[str, str]:
        """Parameters or options of services, as postconf tells them."""
        lines = self.output("postconf", *options).splitlines()
        return {name.strip(): value.strip() for name, _equals, value in (line.partition("=") for line in lines)}

    def save(self) -> None:
        """Keep the configuration; what an interrupted attempt kept is put back first."""
        kept = f"test -d {SAVED} && cp -a {SAVED}/*.cf /etc/postfix/"
        self.output("sh", "-c", f"{kept} || mkdir -m 0700 {SAVED}")
        self.output("cp", "-a", *FILES, f"{SAVED}/")

    def settle(self) -> None:
        """Let the configuration be older than two seconds: until then each process waits for it to change again."""
        self.output("touch", "--date=3 seconds ago", *FILES)

    def restore(self) -> None:
        self.output("sh", "-c", f"cp -a {SAVED}/*.cf /etc/postfix/")

    def serve(self) -> str:
        """Start Postfix anew with the configuration that is there; what is wrong when it does not serve in time."""
        self.output("systemctl", "reset-failed", self.unit)
        self.output("systemctl", "restart", self.unit)
        greeting = "exec 3<>/dev/tcp/127.0.0.1/{}; read -r -t 3 line <&3; [[ $line == 220* ]]"
        end = time.monotonic() + SERVED
        for port in (25, 587):
            while True:
                with contextlib.suppress(OSError):
                    self.output("bash", "-c", greeting.format(port))
                    break
                if time.monotonic() > end:
                    return f"port {port} does not greet"
                time.sleep(0.2)
        return ""


# One after the other


def unseen(mutant: Mutant) -> str:
    """Why no test can see it, empty when one should."""
    return next((reason for beginning, reason in UNSEEN.items() if str(mutant).startswith(beginning)), "")


def relevant(items: Sequence[pytest.Item], mutant: Mutant, likely_only: bool) -> list[pytest.Item]:
    """The tests that may notice, the likeliest first."""
    by_change = (likely for expression, *likely in FILTERS if re.search(expression, mutant.change))
    by_name = (likely for expression, *likely in TOPICS if re.search(expression, mutant.where))
    names, files = next(chain(by_change, by_name))
    first = [item for item in items if re.search(str(names), item.name)]
    rest = [item for item in items if item.path.stem.removeprefix("test_") in files and item not in first]
    return [item for item in (*first, *([] if likely_only else rest)) if not UNRELATED.search(item.name)]


class Mutations:
    """A pytest plugin: in place of running the tests once, it runs them over each mutant."""

    def __init__(self, host: Host, chosen: Sequence[Mutant], likely_only: bool) -> None:
        self.host = host
        self.likely_only = likely_only
        self.chosen = chosen
        self.report = Report("postfix", len(chosen))
        self.holds = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        try:
            if failed := self.unmutated(session.items):
                print(f"postfix: nothing is broken yet, and this fails: {failed}", flush=True)
                return True
            for number, mutant in enumerate(self.chosen):
                if reason := unseen(mutant):
                    self.report.add(Fate(str(mutant), EQUIVALENT, reason, 0.0))
                else:
                    self.report.add(self.fate(mutant, relevant(session.items, mutant, self.likely_only), number))
        finally:
            self.host.restore()
            self.host.output("rm", "-r", SAVED)
            self.host.serve()
            self.holds = self.report.close() and len(self.report.fates) == len(self.chosen)
        return True

    def unmutated(self, items: Sequence[pytest.Item]) -> str:
        """Which of the tests that are to notice fails already, and would seem to notice everything."""
        wanted = {
            item.nodeid
            for mutant in self.chosen
            if not unseen(mutant)
            for item in relevant(items, mutant, self.likely_only)
        }
        self.host.settle()
        log = FOLDER / "logs" / "postfix-unmutated.log"
        return self.host.serve() or start([item for item in items if item.nodeid in wanted], log).failure(BASELINE)

    def fate(self, mutant: Mutant, items: Sequence[pytest.Item], number: int) -> Fate:
        begin = time.monotonic()
        self.host.output("postconf", *mutant.command)
        self.host.settle()
        failed = self.host.serve() or start(items, FOLDER / "logs" / f"postfix-{number}.log").failure(SECONDS)
        self.host.restore()
        return Fate(str(mutant), KILLED if failed else SURVIVED, failed, time.monotonic() - begin)


def main(arguments: Sequence[str]) -> bool:
    parser = argparse.ArgumentParser(prog="postfix", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose description matches this expression")
    parser.add_argument("--list", action="store_true", help="say which there are")
    parser.add_argument("--likely", action="store_true", help="run only the tests that are likely to notice")
    options = parser.parse_args(arguments)
    if not os.environ.get("POSTOFFICE_HOST"):
        sys.exit("POSTOFFICE_HOST must name the description of a deployed host, such as build/full.json")
    host = Host(Path(os.environ["POSTOFFICE_HOST"]))
    host.save()
    usual, settings = host.settings("-d"), host.settings("-n")
    mutants = [*of_main(settings, usual), *of_services(host.settings("-P"), {**usual, **settings})]
    chosen = [mutant for mutant in mutants if re.search(options.only, str(mutant))]
    if options.list:
        print("\n".join(map(str, chosen)))
        return True
    (FOLDER / "logs").mkdir(parents=True, exist_ok=True)
    mutations = Mutations(host, chosen, options.likely)
    pytest.main([*OPTIONS, f"--rootdir={CHECKOUT}", str(CHECKOUT / TESTS)], plugins=[mutations])
    return mutations.holds
