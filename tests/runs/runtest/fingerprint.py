# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that runs leave on a host, as a mapping from what it is to how it is, so that two hosts can be compared."""

from __future__ import annotations

import json

from .host import Host

# Differ between two hosts that are alike; each with the reason.
EXCLUDED = {
    "/etc/.updated": "the time of the last update of systemd",
    "/etc/adjtime": "the state of the hardware clock",
    "/etc/dovecot/private": "a certificate that Debian's package makes for itself",
    "/etc/group-": "backups that tools of Debian make, with the order of their calls",
    "/etc/gshadow-": "likewise",
    "/etc/ld.so.cache": "a cache, in the order of installation",
    "/etc/machine-id": "made at the first boot",
    "/etc/passwd-": "likewise a backup",
    "/etc/shadow-": "likewise a backup",
    "/etc/ssh": "keys of the host",
    "/etc/ssl/certs/ssl-cert-snakeoil.pem": "made when it is installed",
    "/etc/ssl/private/ssl-cert-snakeoil.key": "likewise",
    "/var/lib/postoffice/directory.sqlite3": "its pages; what is in it is compared table by table",
    "/var/lib/postoffice/published/lookup.sqlite3": "likewise",
}
# Of these the content differs (keys are random, tables carry an identifier of their own, compiled scripts times, the
# resolver and the clients of the test's network have addresses of their own), though not who may read them.
WITHOUT_CONTENT = (
    "/etc/aliases.db",
    "/etc/fail2ban/jail.d/",
    "/etc/postoffice/dkim/",
    "/etc/postfix/tables/postscreen_access.cidr",
    "/etc/postgrey/whitelist_clients.local",
    "/etc/postoffice/tls/",
    "/etc/postsrsd.secret",
    "/etc/unbound/unbound.conf",
    "/var/lib/dovecot/sieve/",
    "/var/lib/postoffice/resolv.conf.json",
)
# What is in them is not the runs' but the users'.
WITHOUT_INHABITANTS = ("/var/vmail",)
# Holds fingerprints of the certificate.
REMEMBERED_WATCH = "/var/lib/postoffice/config_tree/"
ROOTS = (
    "/etc",
    "/usr/local",
    "/usr/sbin/policy-rc.d",
    "/var/lib/postoffice",
    "/var/lib/dovecot/sieve",
    "/var/vmail",
    "/run/dovecot/postoffice",
    "/run/postgrey",
    "/run/postoffice-lookup",
    "/run/postoffice-milter",
    "/run/postoffice-spamd",
    "/var/lib/postoffice-learning",
    "/var/spool/postoffice-learning",
)
UNITS = (
    "clamav-daemon.service",
    "clamav-freshclam.service",
    "clamav-milter.service",
    "dovecot.service",
    "fail2ban.service",
    "nginx.service",
    "opendkim.service",
    "opendmarc.service",
    "postfix-mta-sts-resolver.service",
    "postfix.service",
    "postgrey.service",
    "postoffice-autoconfig.service",
    "postoffice-autoconfig.socket",
    "postoffice-bayes.timer",
    "postoffice-certificates.timer",
    "postoffice-fail2ban-check.timer",
    "postoffice-learning.path",
    "postoffice-letsencrypt.timer",
    "postoffice-lookup.service",
    "postoffice-lookup.socket",
    "postoffice-milter.service",
    "postoffice-publish.path",
    "postoffice-publish.service",
    "postoffice-tls-policy.service",
    "postsrsd.service",
    "spamassassin-maintenance.timer",
    "spamd.service",
    "systemd-timesyncd.service",
    "unbound.service",
)

PROGRAM = r"""
import grp, hashlib, json, os, pwd, sqlite3, stat, subprocess, sys

settings = json.loads(sys.argv[1])
found = {}

def name(lookup, number):
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)

def content(path, mode):
    if stat.S_ISLNK(mode):
        return os.readlink(path)
    if not stat.S_ISREG(mode) or path.startswith(tuple(settings["without_content"])):
        return ""
    data = open(path, "rb").read()
    if path.startswith(settings["remembered_watch"]) and path.endswith(".json"):
        remembered = json.loads(data)
        remembered["watch"] = sorted(remembered.get("watch") or {})
        data = json.dumps(remembered, sort_keys=True).encode()
    if path.endswith("/published/state.json"):
        # Beside the stamp, how often the directory was changed.
        return json.loads(data)["stamp"]
    if path in ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"):
        return accounts(path, data.decode())
    return hashlib.sha256(data).hexdigest()

def accounts(path, text):
    # Numbers are given in the order of installation; who there is and in which groups is what counts.
    rows = [line.split(":") for line in text.splitlines()]
    kept = {"passwd": (0, 4, 5, 6), "group": (0, 3), "shadow": (0, 1), "gshadow": (0, 1, 3)}[os.path.basename(path)]
    return sorted(":".join(row[column] for column in kept) for row in rows)

def look(path):
    if path in settings["excluded"]:
        return
    about = os.lstat(path)
    found[path] = [
        stat.filemode(about.st_mode), name(pwd.getpwuid, about.st_uid), name(grp.getgrgid, about.st_gid),
        content(path, about.st_mode),
    ]
    if stat.S_ISDIR(about.st_mode) and path not in settings["without_inhabitants"]:
        for each in sorted(os.listdir(path)):
            look(os.path.join(path, each))

for root in settings["roots"]:
    if os.path.lexists(root):
        look(root)

def tables(path, without):
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY name"
    for (table,) in database.execute(query).fetchall():
        rows = database.execute(f'SELECT * FROM "{table}"')
        columns = [column[0] for column in rows.description]
        kept = [
            [when(column, value) for column, value in zip(columns, row) if column not in without] for row in rows
        ]
        found[f"{path} {table}"] = sorted(kept, key=str)
    database.close()

def when(column, value):
    return value is not None if column == "removed_at" else value

# Hashes have salts.
for path in ("/var/lib/postoffice/directory.sqlite3", "/var/lib/postoffice/published/lookup.sqlite3"):
    if os.path.exists(path):
        tables(path, ("password",))

def output(*argv):
    return subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()

for unit in settings["units"]:
    found[f"unit {unit}"] = sorted(
        output("systemctl", "show", "--property=ActiveState,UnitFileState,NeedDaemonReload,Result", unit)
    )
found["failed units"] = output("systemctl", "list-units", "--failed", "--plain", "--no-legend")
found["half installed packages"] = output("dpkg", "--audit")
found["packages"] = output("dpkg-query", "--show", "--showformat", "${Package} ${Version} ${db:Status-Status}\n")
print(json.dumps(found))
"""


def fingerprint(host: Host) -> dict[str, object]:
    """What is on the host now."""
    settings = {
        "excluded": list(EXCLUDED),
        "without_content": list(WITHOUT_CONTENT),
        "without_inhabitants": list(WITHOUT_INHABITANTS),
        "remembered_watch": REMEMBERED_WATCH,
        "roots": list(ROOTS),
        "units": list(UNITS),
    }
    found: dict[str, object] = json.loads(host.python(PROGRAM, json.dumps(settings)))
    return found


def differences(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """In words, what is not the same."""
    return [
        f"{what}:\n  {one.get(what, 'absent')}\n  {other.get(what, 'absent')}"
        for what in sorted(one.keys() | other.keys())
        if one.get(what, "absent") != other.get(what, "absent")
    ]
