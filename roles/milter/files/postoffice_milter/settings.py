# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings file: JSON, every key known, every value of its type."""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

PATH = Path("/etc/postoffice/milter.json")
LIMIT = "limit_"


class SettingsError(Exception):
    """The settings cannot be used; the message names file and key."""


@dataclass(frozen=True)
class Settings:
    """What the service needs to know; an empty path switches off what it is for.

    Of a body, ``spam_scan_limit`` octets are scanned; from ``spam_refused_from`` points on mail is refused, 0: never.
    With ``spam_per_mailbox`` spamd is told in which mailbox a message will end, when that is one.
    ``drain`` is how many seconds running sessions may take to end after a successor took over the socket, ``stop``
    the same after a plain stop, when new sessions are refused meanwhile. What users send is counted in ``usage``; the
    limits are those of everybody who has no other, 0 for none.
    """

    socket: str
    directory: str
    socket_group: str = ""
    expressions: str = ""
    quota_status: str = ""
    recipient_delimiter: str = "+"
    check_senders: bool = True
    check_names: bool = True
    quota_timeout: int = 10
    spamd: str = ""
    spam_timeout: int = 120
    spam_scan_limit: int = 512 * 1024
    spam_refused_from: float = 15.0
    spam_pass_on_failure: bool = False
    spam_per_mailbox: bool = False
    usage: str = ""
    limit_messages_per_hour: int = 0
    limit_messages_per_day: int = 0
    limit_recipients_per_hour: int = 0
    limit_recipients_per_day: int = 0
    limit_new_recipients_per_day: int = 0
    drain: int = 300
    stop: int = 10

    @property
    def check_spam(self) -> bool:
        """Whether mail of strangers is scored."""
        return bool(self.spamd)

    @property
    def limits(self) -> dict[str, int]:
        """How much everybody may send at most, by name of the limit."""
        return {name.removeprefix(LIMIT): most for name, most in vars(self).items() if name.startswith(LIMIT)}

    @property
    def check_quota(self) -> bool:
        """Whether recipients are held against their quota."""
        return bool(self.quota_status)


def parse(text: str, origin: str) -> Settings:
    """Read settings from JSON ``text``; raises :class:`SettingsError`."""
    try:
        values: Any = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{origin}: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{origin}: an object is needed")
    known = {field.name: field for field in fields(Settings)}
    for key, value in values.items():
        if key not in known:
            raise SettingsError(f"{origin}: unknown setting {key}")
        if known[key].type == "float" and isinstance(value, int) and not isinstance(value, bool):
            values[key] = value = float(value)
        if type(value).__name__ != known[key].type:
            raise SettingsError(f"{origin}: {key} must be {known[key].type}, not {type(value).__name__}")
        least = 0 if key.startswith(LIMIT) else 1
        if isinstance(value, int) and not isinstance(value, bool) and value < least:
            raise SettingsError(f"{origin}: {key} must be {least} or more")
        if isinstance(value, float) and not 0 <= value < math.inf:
            raise SettingsError(f"{origin}: {key} must be 0 or more")
    for name, field in known.items():
        if field.default is MISSING and not values.get(name):
            raise SettingsError(f"{origin}: {name} is missing")
    settings = Settings(**values)
    for name in ("socket", "directory", "expressions", "quota_status", "spamd", "usage"):
        path = getattr(settings, name)
        if path and not path.startswith("/"):
            raise SettingsError(f"{origin}: {name} must be an absolute path, not {path}")
    return settings


def load(path: Path = PATH) -> Settings:
    """Read the settings file; raises :class:`SettingsError`."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
