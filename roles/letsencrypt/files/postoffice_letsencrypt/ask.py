# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user without rights does: certbot, once for each certificate that is to be asked for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from .memory import ISSUED, OUTCOME, PLAN, ROOT, SPOOL, write
from .settings import HTTP, Settings

SECONDS = 900.0  # for one certificate: a record in the DNS takes its time to be known
LONGEST_ERROR = 600
UNKNOWN_ACCOUNT = "accountDoesNotExist"


def ask(settings: Settings) -> None:
    """Ask for what the plan names, and write down what came of it."""
    ISSUED.mkdir(mode=0o700, exist_ok=True)
    outcome: dict[str, str] = {}
    for name in json.loads((ROOT / PLAN).read_text(encoding="utf-8")):
        for old in ISSUED.glob(f"{name}.*"):
            old.unlink()
        outcome[name] = ask_for(name, settings)
        write(OUTCOME, json.dumps(outcome))
    write(OUTCOME, json.dumps(outcome))


def ask_for(name: str, settings: Settings) -> str:
    """Why there is no certificate; empty when there is."""
    error = run(command(name, settings), settings)
    if error and is_forgotten():
        # The authority has forgotten us. It is told again who we are.
        shutil.rmtree(SPOOL / "config" / "accounts", ignore_errors=True)
        error = run(command(name, settings), settings)
    return error


def is_forgotten() -> bool:
    """Whether the authority did not know us in the last run; only certbot's log, of that run, tells (RFC 8555, 6.7)."""
    try:
        return UNKNOWN_ACCOUNT in (SPOOL / "logs" / "letsencrypt.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def command(name: str, settings: Settings) -> list[str]:
    """certbot(1) with everything that it would otherwise ask about."""
    argv = ["certbot", "certonly", "--non-interactive", "--agree-tos", "--server", settings.server]
    argv += ["--email", settings.email, "--no-eff-email"] if settings.email else ["--register-unsafely-without-email"]
    argv += [
        "--config-dir",
        str(SPOOL / "config"),
        "--work-dir",
        str(SPOOL / "work"),
        "--logs-dir",
        str(SPOOL / "logs"),
    ]
    argv += ["--csr", str(ROOT / "requests" / f"{name}.pem")]
    argv += ["--fullchain-path", str(ISSUED / f"{name}.pem")]
    argv += ["--cert-path", str(ISSUED / f"{name}.leaf"), "--chain-path", str(ISSUED / f"{name}.others")]
    if settings.challenge == HTTP:
        argv += ["--preferred-challenges", "http"]
        argv += ["--webroot", "--webroot-path", settings.webroot] if settings.webroot else ["--standalone"]
    return [*argv, *settings.options]


def run(argv: list[str], settings: Settings) -> str:
    """What went wrong, in the words of those who said it; empty when nothing did."""
    environment = {**os.environ, "HOME": str(SPOOL), "LC_ALL": "C.UTF-8"}
    if settings.authority:
        environment["REQUESTS_CA_BUNDLE"] = settings.authority
    try:
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"certbot did not come to an end within {SECONDS:.0f} seconds"
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
    return complaint(f"{done.stdout}\n{done.stderr}") if done.returncode else ""


def complaint(output: str) -> str:
    """What matters of certbot's words: what the authority says of each name, else the error itself."""
    details = re.findall(r"Domain:\s*(\S+)\s+Type:\s*\S+\s+Detail:\s*(.+)", output)
    if details:
        said = "; ".join(f"{domain}: {detail.strip()}" for domain, detail in details)
    else:
        noise = (
            r"Saving debug log|Ask for help|Requesting a certificate|An unexpected error|Account registered|\s*$|- - -"
        )
        said = " ".join(line.strip() for line in output.splitlines() if not re.match(noise, line))
    return said[:LONGEST_ERROR] or "certbot says nothing"


def issued(name: str) -> Path:
    """Where a certificate lies that has come and is not in its place yet."""
    return ISSUED / f"{name}.pem"
