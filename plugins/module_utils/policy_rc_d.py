# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps freshly installed daemons down until somebody has configured them, by Debian's policy-rc.d interface.

Debian starts a daemon while it installs its package, with a configuration that nobody asked for. The maintainers'
scripts ask /usr/sbin/policy-rc.d first (invoke-rc.d(8), deb-systemd-invoke(1p)). The one that is put there answers "no"
only as long as an installation holds its lock: left behind by a killed process or a power failure, it forbids nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = Path("/usr/sbin/policy-rc.d")
ALLOWED = Path("/run/postoffice-packages")  # units that may be started, one a line; locked during an installation

_MARK = "# Written by postoffice.mail.packages"
_SCRIPT = """\
#!/bin/sh
{mark} for the time of an installation. Can be removed.
if flock --nonblock {allowed} true || grep --quiet --fixed-strings --line-regexp -e "${{1%.service}}" {allowed}; then
  [ ! -x {original} ] || exec {original} "$@"
  exit 0
fi
exit 101
"""


@contextmanager
def only_starting(
    units: Callable[[], Iterable[str]], program: Path = PROGRAM, allowed: Path = ALLOWED
) -> Iterator[int]:
    """While it lasts, packages may start and stop these units only; they are asked for when no other installation runs.

    Yields the file descriptor of the lock, for the installing program to inherit: the answer is "no" until both have
    ended. A policy-rc.d of the host's own is asked as well, and back in its place afterwards.
    """
    original = program.with_name(f"{program.name}.postoffice")
    with allowed.open("a+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.writelines(f"{unit.removesuffix('.service')}\n" for unit in units())
        lock.flush()
        if program.is_symlink() or (program.exists() and _MARK not in program.read_text(errors="replace")):
            program.rename(original)
        _write(program, _SCRIPT.format(mark=_MARK, allowed=allowed, original=original))
        try:
            yield lock.fileno()
        finally:
            if original.is_symlink() or original.exists():
                original.rename(program)
            else:
                program.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o755)
    os.replace(new, path)
