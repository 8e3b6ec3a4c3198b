# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Pythons of this machine."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

VERSION = "import sys; print('.'.join(map(str, sys.version_info[:2])))"


def _candidates(version: str) -> Iterator[Path]:
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield Path(folder, f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))


@functools.cache
def interpreter(version: str) -> Path | None:
    """A Python of that version, for example `3.13`, that works; None when there is none."""
    for path in _candidates(version):
        # What lies in PATH may be a shim for a version that is not chosen.
        if path.exists():
            answer = subprocess.run([path, "-c", VERSION], capture_output=True, text=True, check=False)
            if answer.stdout.strip() == version:
                return path
    return None
