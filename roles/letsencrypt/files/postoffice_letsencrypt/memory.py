# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What root remembers between two runs, and what it lays out for the user who asks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from .decide import Known
from .settings import Settings

ROOT = Path("/var/lib/postoffice/letsencrypt")  # root's, and nothing in it is a secret
SPOOL = Path("/var/lib/postoffice-letsencrypt")  # the user's
ISSUED = SPOOL / "issued"
OUTCOME = SPOOL / "outcome.json"
PLAN = "plan.json"
UNIT = "postoffice-letsencrypt.service"
_MEMORY = "memory.json"


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file whole: beside its place, flushed, renamed."""
    new = path.with_name(f".{path.name}.letsencrypt")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def make_folder(path: Path) -> None:
    """A folder that everybody may enter, whatever the mask; those above it as well, when they are not there."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir()
    path.chmod(0o755)


def recall(root: Path = ROOT) -> dict[str, Known]:
    """By the certificate's name. Without a memory, or with a damaged one, nothing has ever failed."""
    try:
        raw = json.loads((root / _MEMORY).read_text(encoding="utf-8"))
        return {name: Known(**{**each, "failed_names": tuple(each["failed_names"])}) for name, each in raw.items()}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def remember(known: Mapping[str, Known], settings: Settings, root: Path = ROOT) -> None:
    """Certificates that nobody wants any more are forgotten."""
    wanted = {each.name for each in settings.certificates}
    make_folder(root)
    write(root / _MEMORY, json.dumps({name: asdict(known[name]) for name in sorted(known) if name in wanted}, indent=1))
