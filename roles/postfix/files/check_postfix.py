# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what is wrong with the configuration of Postfix before Postfix does.

`postfix check` is content with misspelt restrictions, unknown map types, missing tables and bad values: the daemons
die over them later, one by one. This program says nothing and exits 0 when everything is in order; otherwise it prints
one finding per line, as FILE:LINE: NAME: WHAT, and exits 1.

With --before-installation it is content with what is not on the host yet: Postfix itself, certificates, databases.
"""

from __future__ import annotations

import argparse
import difflib
import re
import ssl
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CONFIGURATION = Path("/etc/postfix")
POSTCONF = "/usr/sbin/postconf"

RESTRICTION_LIST = re.compile(r"_restrictions$")
# Overlapping: compilers store a text that ends another only once.
RESTRICTION_NAME = re.compile(rb"(?=((?:permit|reject|check|defer|warn|sleep)[a-z0-9_]*)\0)")
# Functions of smtpd that are named like restrictions; their names are in the program as well.
FUNCTIONS = frozenset(
    {
        "check", "check_access", "check_addr", "check_addr_access", "check_address_map", "check_domain_access",
        "check_mail_access", "check_namadr_access", "check_queue", "check_recipient_maps", "check_rewrite",
        "check_server_access", "check_table_result", "checks", "defer_code", "permit_actions", "permit_dnswl_addr",
        "permit_dnswl_domain", "permit_mx_primary", "reject_code", "reject_footer", "reject_footer_maps",
        "reject_invalid_hostaddr", "reject_maps_rbl", "reject_non_fqdn_address", "reject_rbl_addr",
        "reject_rbl_domain", "reject_reason", "reject_reply", "reject_tempfail_action", "reject_unknown_address",
        "reject_unknown_mailhost", "reject_unknown_reverse_name", "reject_unverified_address", "reject_warning",
        "rejected", "sleep_time", "warn",
    }
)  # fmt: skip
NEEDS_TABLE = re.compile(r"^check_\w+_access$")
NEEDS_ARGUMENT = re.compile(r"^(check_policy_service|(reject|permit)_(rbl|rhsbl|dnswl|rhswl)_\w+|sleep)$")

TABLE_PARAMETER = re.compile(
    r"(_maps?|_checks|_domains|_clients|_users|_networks|_exclusions|_filter|_database|^mydestination|^mynetworks"
    r"|^postscreen_access_list)$"
)
# Daemons create these when they first need them.
CACHE_PARAMETER = re.compile(r"_cache_(database|map)$|^address_verify_map$")
NO_TABLE = re.compile(r"_command_filter$|^smtpd_sasl_mechanism_filter$")
TABLE = re.compile(r"^!?(proxy:)?([a-z0-9-]+):(.+)$", re.DOTALL)
# These keep their rows in the configuration itself, or ask a server that may be away.
TABLES_WITHOUT_FILE = frozenset({"inline", "static", "fail", "internal", "environ", "memcache", "tcp", "unix"})
NESTED_TABLES = frozenset({"pipemap", "unionmap", "randmap"})
# Values are words although the default looks like a switch.
WORDS = frozenset(
    {"compatibility_level", "smtpd_forbid_bare_newline", "postscreen_forbid_bare_newline", "smtp_address_verify_target"}
)

CHOICES = {
    re.compile(r"^smtpd_tls_security_level$"): {"none", "may", "encrypt"},
    re.compile(r"^(smtp|lmtp)_tls_security_level$"): {
        "none", "may", "encrypt", "dane", "dane-only", "fingerprint", "verify", "secure",
    },
    re.compile(r"_tls_(mandatory_)?ciphers$"): {"export", "low", "medium", "high", "null"},
    re.compile(r"^milter_default_action$"): {"accept", "reject", "tempfail", "quarantine", "shutdown"},
    re.compile(r"^postscreen_\w+_action$"): {"ignore", "enforce", "drop"},
    re.compile(r"^smtpd_forbid_bare_newline$"): {"no", "yes", "note", "normalize", "reject"},
}  # fmt: skip

# What postscreen does, and with whom.
POSTSCREEN_TIME = re.compile(r"^postscreen_\w+_(ttl|timeout|interval|time|wait)$")
POSTSCREEN_ACCESS = frozenset({"permit_mynetworks", "permit", "reject"})
# Services that postscreen hands clients and questions to.
POSTSCREEN_SERVICES = (("pass", "smtpd"), ("unix", "dnsblog"), ("unix", "tlsproxy"))
DNS_LIST = re.compile(r"^(?P<zone>[\w.-]+)(?P<filter>=[0-9.;\[\]]+)?(\*(?P<weight>-?\d+))?$", re.ASCII)
LIST_RESTRICTION = re.compile(r"^(reject|permit)_(rbl|rhsbl|dnswl|rhswl)_\w+$")
# DNS lists that were given up. They answer nobody any more, or say that everybody is listed.
GIVEN_UP = frozenset(
    {
        "ahbl.org", "blackholes.easynet.nl", "bl.emailbasura.org", "blacklist.spambag.org", "blars.org", "blitzed.org",
        "dsbl.org", "dnsbl.manitu.net", "five-ten-sg.com", "no-more-funn.moensted.dk", "njabl.org", "orbs.org",
        "orbz.org", "ordb.org", "osirusoft.com", "relays.visi.com", "rfc-ignorant.org", "sorbs.net",
        "spamcannibal.org", "spamsources.fabel.dk", "swl.spamhaus.org",
    }
)  # fmt: skip

TRANSPORT_PARAMETER = re.compile(r"^(default|virtual|relay|local|mailbox|fallback|error|retry)_transport$")
SERVICE_PARAMETER = re.compile(
    r"^(cleanup|bounce|defer|error|flush|pickup|queue|rewrite|showq|trace|verify|tlsmgr)_service_name$"
)


@dataclass(frozen=True)
class Setting:
    """One parameter as Postfix understands it, and where it comes from."""

    name: str
    value: str
    place: str


@dataclass
class Findings:
    lines: list[str] = field(default_factory=list)
    # What Postfix's programs said; each of them says it again about the same main.cf.
    heard: set[str] = field(default_factory=set)

    def hear(self, lines: Iterable[str]) -> list[str]:
        """Return what is new among the complaints of a program, without the program's name."""
        texts = [re.sub(r"^(\S*post\w+(/\S+)?: )*((warning|fatal|error): )?", "", line) for line in lines]
        new = [text for text in dict.fromkeys(texts) if text not in self.heard]
        self.heard.update(new)
        return new

    def add(self, place: str, name: str, what: str) -> None:
        line = f"{place}: {name}: {what}" if name else f"{place}: {what}"
        if line not in self.lines:
            self.lines.append(line)


@dataclass(frozen=True)
class Run:
    status: int
    output: str
    errors: list[str]


def run(*arguments: str, user: str | None = None) -> Run:
    """Run a program of Postfix, as the given user with only its own group, or as the caller."""
    identity: dict[str, object] = {"user": user, "group": user, "extra_groups": []} if user else {}
    done = subprocess.run(  # type: ignore[call-overload]
        arguments,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
        **identity,
    )
    return Run(done.returncode, done.stdout, [line.strip() for line in done.stderr.splitlines() if line.strip()])


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each logical line; a line that begins with a blank continues the one before."""
    number, parts = 0, list[str]()
    for index, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t" and parts:
            parts.append(line.strip())
            continue
        if parts:
            yield number, " ".join(parts)
        number, parts = index, [line.strip()]
    if parts:
        yield number, " ".join(parts)


def split_list(value: str) -> list[str]:
    """Split a list of Postfix at blanks and commas; what is in braces stays together, without the braces."""
    items, item, depth = list[str](), "", 0
    for character in value:
        depth += (character == "{") - (character == "}")
        if depth == 0 and (character in ", \t\n"):
            if item:
                items.append(item)
            item = ""
        else:
            item += character
    if item:
        items.append(item)
    return [entry[1:-1].strip() if entry.startswith("{") and entry.endswith("}") else entry for entry in items]


class Places:
    """Where in main.cf and master.cf something is written."""

    def __init__(self, main: str, master: str) -> None:
        self.main = {line.partition("=")[0].strip(): number for number, line in logical_lines(main)}
        self.master = list(logical_lines(master))
        self.overrides = {
            name: number
            for number, line in enumerate(master.splitlines(), start=1)
            for name in re.findall(r"-o\s*\{?\s*([^=\s]+)\s*=", line)
        }

    def of_parameter(self, name: str) -> str:
        if name not in self.main and name in self.overrides:
            return f"master.cf:{self.overrides[name]}"
        return f"main.cf:{self.main[name]}" if name in self.main else "main.cf"

    def of_service(self, service: str) -> str:
        name, kind = service.split("/")[:2]
        numbers = [number for number, line in self.master if line.split()[:2] == [name, kind]]
        return f"master.cf:{numbers[0]}" if numbers else "master.cf"


def read_settings(places: Places) -> tuple[list[Setting], list[str]]:
    """Return what main.cf and master.cf set, values expanded, and the complaints of postconf."""
    complaints: list[str] = []
    settings: list[Setting] = []
    for option in ("-nx", "-Px"):
        answer = run(POSTCONF, option)
        complaints += answer.errors
        if answer.status and not answer.errors:
            complaints.append(f"postconf {option} ended with status {answer.status}")
        for line in answer.output.splitlines():
            name, _equals, value = line.partition(" = ") if " = " in line else line.partition(" =")
            if option == "-Px":
                service, _slash, name = name.rpartition("/")
                settings.append(Setting(name, value.strip(), places.of_service(service)))
            else:
                settings.append(Setting(name, value.strip(), places.of_parameter(name)))
    return settings, complaints


def nearest(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f" (did you mean {matches[0]}?)" if matches else ""


def check_complaints(complaints: list[str], places: Places, parameters: Iterable[str], findings: Findings) -> None:
    """Whatever postconf says is a finding; unused parameters get a place and a guess at what was meant."""
    for text in findings.hear(complaints):
        unused = re.search(r"unused parameter: ([^=\s]+)=", text)
        line = re.search(r"(main|master)\.cf[,:] line (\d+): (.*)", text)
        if unused:
            findings.add(
                places.of_parameter(unused[1]), unused[1], f"no such parameter{nearest(unused[1], parameters)}"
            )
        elif line:
            findings.add(f"{line[1]}.cf:{line[2]}", "", line[3])
        else:
            findings.add("postconf", "", text.replace(f"{CONFIGURATION}/", ""))


def known_restrictions(program: bytes) -> frozenset[str]:
    """Return the restrictions that this smtpd knows: their names are in the program."""
    return frozenset(name.decode() for name in RESTRICTION_NAME.findall(program)) - FUNCTIONS


def check_restrictions(setting: Setting, known: frozenset[str], classes: frozenset[str], findings: Findings) -> None:
    """Every item of a restriction list is a restriction, or the argument of the one before."""
    items = split_list(setting.value)
    index = 0
    while index < len(items):
        item = items[index]
        index += 1
        if TABLE.match(item):
            continue
        if re.fullmatch(r"[45]\d\d( .*)?|OK|DUNNO", item) or item in classes:
            continue
        if item.split()[0] in known and " " in item:
            continue
        if item not in known:
            findings.add(setting.place, setting.name, f"{item} is no restriction{nearest(item, known | classes)}")
            continue
        if NEEDS_TABLE.match(item) or NEEDS_ARGUMENT.match(item):
            argument = items[index] if index < len(items) else ""
            if not argument or argument in known:
                findings.add(setting.place, setting.name, f"{item} lacks its argument")
                continue
            index += 1
            if NEEDS_TABLE.match(item) and not TABLE.match(argument):
                findings.add(setting.place, setting.name, f"{item} wants a table (type:name), not {argument}")
            if LIST_RESTRICTION.match(item):
                check_list_is_kept(setting, argument.partition("=")[0], findings)
        elif item in ("permit", "reject", "defer") and index < len(items) and not setting.value.rstrip().endswith(item):
            findings.add(setting.place, setting.name, f"nothing after {item} is ever looked at")


def check_list_is_kept(setting: Setting, zone: str, findings: Findings) -> None:
    """A DNS list that is asked is one that somebody still keeps."""
    name = zone.lower().rstrip(".")
    if any(name == gone or name.endswith(f".{gone}") for gone in GIVEN_UP):
        findings.add(
            setting.place, setting.name, f"{zone} was given up; it answers nobody, or that everybody is listed"
        )


def check_dns_lists(setting: Setting, findings: Findings) -> None:
    """Every list of postscreen is kept, and it is said which of its answers count."""
    for entry in split_list(setting.value):
        found = DNS_LIST.match(entry)
        if not found:
            findings.add(setting.place, setting.name, f"{entry} is not zone=filter*weight")
            continue
        if not found["filter"]:
            findings.add(
                setting.place,
                setting.name,
                f"{entry} lacks a filter such as {found['zone']}=127.0.0.[2..11]: what the list answers when it refuses"
                " to answer would count as well",
            )
        check_list_is_kept(setting, found["zone"], findings)


def check_postscreen(setting: Setting, findings: Findings) -> None:
    """What postscreen would end over, or ignore, when it reads it."""
    if setting.name == "postscreen_dnsbl_sites":
        check_dns_lists(setting, findings)
    if setting.name == "postscreen_access_list":
        for item in split_list(setting.value):
            if item not in POSTSCREEN_ACCESS and not TABLE.match(item):
                findings.add(
                    setting.place, setting.name, f"{item} is neither a table (type:name) nor permit_mynetworks"
                )
    if POSTSCREEN_TIME.match(setting.name) and not re.fullmatch(r"\d+[smhdw]?|\$.*", setting.value):
        findings.add(setting.place, setting.name, f"{setting.value or 'nothing'} is not a time such as 6s or 1d")


def tables_in(setting: Setting) -> Iterator[tuple[bool, str, str]]:
    """Yield the tables that a setting names: whether through proxymap, type, name."""
    restrictions = bool(RESTRICTION_LIST.search(setting.name))
    if NO_TABLE.search(setting.name) or not (restrictions or TABLE_PARAMETER.search(setting.name)):
        return
    before = ""
    for item in split_list(setting.value):
        table = TABLE.match(item)
        if table and not (restrictions and before == "check_policy_service"):
            yield bool(table[1]), table[2], table[3]
        before = item


def check_table(setting: Setting, proxied: bool, kind: str, name: str, host: Host, findings: Findings) -> None:
    """The type exists, and a query is answered, by the user who will ask it."""
    if kind in NESTED_TABLES:
        for item in split_list(name.strip("{} ")):
            inner = TABLE.match(item)
            if inner:
                check_table(setting, bool(inner[1]), inner[2], inner[3], host, findings)
        return
    if kind not in host.table_types:
        findings.add(
            setting.place, setting.name, f"{kind}:{name}: no such type of table{nearest(kind, host.table_types)}"
        )
        return
    if kind in TABLES_WITHOUT_FILE or CACHE_PARAMETER.search(setting.name):
        return
    if proxied and f"proxy:{kind}:{name}" not in host.proxied:
        findings.add(
            setting.place, setting.name, f"proxy:{kind}:{name} is not in proxy_read_maps, so proxymap refuses it"
        )
        return
    if not host.is_there(data_file(kind, name)):
        return
    key = (proxied, kind, name)
    if key not in host.answers:
        answer = run(
            "/usr/sbin/postmap",
            "-q",
            "probe@postoffice.invalid",
            f"{kind}:{name}",
            user=host.user if proxied or kind == "socketmap" else None,
        )
        failed = answer.status not in (0, 1) and not answer.errors
        host.answers[key] = findings.hear(answer.errors) + ([f"status {answer.status}"] if failed else [])
    for text in host.answers[key]:
        findings.add(setting.place, setting.name, text if name in text else f"{kind}:{name}: {text}")


def data_file(kind: str, name: str) -> Path | None:
    """Return the file that may be missing before installation: table, socket, or database that a definition names."""
    if kind == "socketmap":
        family, _colon, rest = name.partition(":")
        return Path(rest.rpartition(":")[0]) if family == "unix" else None
    path = Path(name)
    if kind != "sqlite" or not path.is_file():
        return path if path.is_absolute() else None
    found = re.search(r"^dbpath\s*=\s*(\S+)", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return Path(found[1]) if found else None


@dataclass
class Host:
    """What this host knows and has."""

    defaults: dict[str, str]
    table_types: frozenset[str]
    user: str
    proxied: frozenset[str]
    before_installation: bool
    answers: dict[tuple[bool, str, str], list[str]] = field(default_factory=dict)

    def is_there(self, path: Path | None) -> bool:
        """Tell whether to look at a file: always, except that before installation it may be missing."""
        return not (self.before_installation and path is not None and not path.exists())


def check_value(setting: Setting, default: str, findings: Findings) -> None:
    """Hold a value against the kind of the parameter, which its default shows."""
    value = setting.value
    for pattern, choices in CHOICES.items():
        if pattern.search(setting.name) and value and value not in choices:
            findings.add(setting.place, setting.name, f"{value} is none of {', '.join(sorted(choices))}")
    if setting.name in WORDS or "$" in value:
        return
    if default in ("yes", "no") and value not in ("yes", "no"):
        findings.add(setting.place, setting.name, f"{value or 'nothing'} is neither yes nor no")
    elif re.fullmatch(r"\d+", default) and not re.fullmatch(r"-?\d+|", value):
        findings.add(setting.place, setting.name, f"{value} is not a number")
    elif re.fullmatch(r"\d+[smhdw]", default) and not re.fullmatch(r"\d+[smhdw]?", value):
        findings.add(setting.place, setting.name, f"{value or 'nothing'} is not a time such as 30s, 4h or 5d")


def check_certificates(settings: list[Setting], host: Host, findings: Findings) -> None:
    """Certificates and keys can be read, and belong together."""
    for setting in settings:
        files = [Path(item) for item in split_list(setting.value) if item.startswith("/")]
        if re.search(r"_(CAfile|CApath)$", setting.name):
            for file in files:
                if host.is_there(file) and not file.exists():
                    findings.add(setting.place, setting.name, f"{file} does not exist")
        elif setting.name == "smtpd_tls_chain_files" and all(host.is_there(file) for file in files):
            check_pair(setting, files[1:2] + files[2:], files[0], findings) if len(files) > 1 else None
        elif setting.name == "tls_server_sni_maps":
            check_name_certificates(setting, host, findings)
        elif setting.name.endswith("_cert_file") and files and host.is_there(files[0]):
            key_name = setting.name.replace("_cert_file", "_key_file")
            keys = [Path(other.value) for other in settings if other.name == key_name and other.value.startswith("/")]
            check_pair(setting, files, keys[0] if keys else files[0], findings)


def check_name_certificates(setting: Setting, host: Host, findings: Findings) -> None:
    """Each line of a table for names that clients ask for has a key, and certificates that belong to it."""
    for table in split_list(setting.value):
        path = Path(table.partition(":")[2])
        if not path.is_absolute() or not path.is_file():
            continue  # what cannot be opened is found when the tables are asked
        for line in path.read_text(encoding="utf-8").splitlines():
            name, *files = re.split(r"[\s,]+", line.strip())
            if name and not name.startswith("#") and all(host.is_there(Path(file)) for file in files):
                check_pair(setting, [Path(file) for file in files[1:]], Path(files[0]), findings)


def check_pair(setting: Setting, certificates: list[Path], key: Path, findings: Findings) -> None:
    for file in [key, *certificates]:
        if not file.is_file():
            findings.add(setting.place, setting.name, f"{file} does not exist")
            return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificates[0], key)
    except ssl.SSLError as error:
        what = (
            "certificate and key do not belong together"
            if error.reason == "KEY_VALUES_MISMATCH"
            else f"cannot be read: {error.reason or error}"
        )
        findings.add(setting.place, setting.name, f"{certificates[0]}, {key}: {what}")
    except OSError as error:
        findings.add(setting.place, setting.name, f"{certificates[0]}, {key}: {error.strerror}")


def check_services(places: Places, settings: list[Setting], programs: Path, findings: Findings) -> None:
    """Every service runs a program that exists, once; every transport and service that is named is there."""
    answer = run(POSTCONF, "-M")
    if answer.status:
        return
    names: dict[str, set[str]] = {}
    required: list[tuple[str, str, str]] = []
    for line in answer.output.splitlines():
        if line[:1] in (" ", "\t"):
            continue
        fields = line.split()
        place = places.of_service(f"{fields[0]}/{fields[1]}")
        names.setdefault(fields[1], set()).add(fields[0])
        if not (programs / fields[7]).is_file():
            findings.add(place, fields[0], f"{fields[7]} is no program of Postfix")
        for kind, wanted in POSTSCREEN_SERVICES if fields[7] == "postscreen" else ():
            required.append((place, kind, wanted))
    for place, kind, wanted in required:
        if wanted not in names.get(kind, set()):
            findings.add(place, "postscreen", f"lacks its service {wanted}, type {kind}")
    declared = [tuple(line.split()[:2]) for _number, line in places.master]
    for service in sorted({entry for entry in declared if declared.count(entry) > 1}):
        findings.add(places.of_service("/".join(service)), service[0], "is there twice")
    for setting in settings:
        wanted = setting.value.partition(":")[0] if TRANSPORT_PARAMETER.match(setting.name) else ""
        if SERVICE_PARAMETER.match(setting.name):
            wanted = setting.value
        if wanted and wanted not in names.get("unix", set()):
            findings.add(
                setting.place,
                setting.name,
                f"{wanted} is no service in master.cf{nearest(wanted, names.get('unix', ()))}",
            )


def check_sasl(settings: list[Setting], findings: Findings) -> None:
    known = {option: run(POSTCONF, option).output.split() for option in ("-a", "-A")}
    for setting in settings:
        option = {"smtpd_sasl_type": "-a", "smtp_sasl_type": "-A", "lmtp_sasl_type": "-A"}.get(setting.name)
        if option and setting.value not in known[option]:
            findings.add(setting.place, setting.name, f"{setting.value} is none of {', '.join(known[option])}")


def check(before_installation: bool) -> Findings:
    """Look at the configuration below /etc/postfix and return what is wrong with it."""
    findings = Findings()
    if before_installation and not Path(POSTCONF).exists():
        return findings
    places = Places(
        (CONFIGURATION / "main.cf").read_text(encoding="utf-8", errors="replace"),
        (CONFIGURATION / "master.cf").read_text(encoding="utf-8", errors="replace"),
    )
    defaults = {}
    for line in run(POSTCONF, "-d").output.splitlines():
        name, _unused, value = line.partition(" =")
        defaults[name] = value.strip()
    settings, complaints = read_settings(places)
    values = {setting.name: setting.value for setting in settings if setting.place.startswith("main.cf")}
    check_complaints(complaints, places, defaults, findings)

    types = run(POSTCONF, "-m")
    check_complaints(types.errors, places, defaults, findings)
    if not types.output:
        return findings

    programs = Path(values.get("daemon_directory", defaults.get("daemon_directory", "/usr/lib/postfix/sbin")))
    restrictions = known_restrictions((programs / "smtpd").read_bytes())
    classes = frozenset(split_list(values.get("smtpd_restriction_classes", "")))
    host = Host(
        defaults=defaults,
        table_types=frozenset(types.output.split()),
        user=values.get("mail_owner", "postfix"),
        proxied=frozenset(split_list(values.get("proxy_read_maps", ""))),
        before_installation=before_installation,
    )
    for setting in settings:
        if RESTRICTION_LIST.search(setting.name) or setting.name in classes:
            check_restrictions(setting, restrictions, classes, findings)
        for proxied, kind, name in tables_in(setting):
            check_table(setting, proxied, kind, name, host, findings)
        check_value(setting, defaults.get(setting.name, ""), findings)
        check_postscreen(setting, findings)
    check_certificates(settings, host, findings)
    check_services(places, settings, programs, findings)
    check_sasl(settings, findings)

    answer = run("/usr/sbin/postfix", "check")
    for text in findings.hear(answer.errors + answer.output.splitlines()):
        # Debian's brings the files of the chroot up to date, and says so.
        if not text.startswith("updating /etc/"):
            findings.add("postfix check", "", text)
    if answer.status and not findings.lines:
        findings.add("postfix check", "", f"ended with status {answer.status}")
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the configuration of Postfix.")
    parser.add_argument("--before-installation", action="store_true", help="what is not on the host yet may be missing")
    findings = check(parser.parse_args().before_installation)
    for line in findings.lines:
        print(line)
    return 1 if findings.lines else 0


if __name__ == "__main__":
    sys.exit(main())
