# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs `ansible-test sanity` over a copy of this checkout, and makes sure that it looked.

ansible-test wants the collection in a folder named after it, finds files through git where there is a repository
around, and passes over what that ignores: in a folder of the checkout itself it tests nothing and reports success.
So it gets a plain copy outside any repository, and before its verdict counts, it must object to a file that is wrong.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
COPY = Path(tempfile.gettempdir()) / f"postoffice-{hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]}-sanity"
COLLECTION = COPY / "ansible_collections" / "postoffice" / "mail"
HOME = CHECKOUT / "build" / "ansible-test"
PIP = CHECKOUT / "build" / "uv" / "bin" / "pip"
VENV_BIN = Path(sys.executable).parent
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

# ansible-test fetches a script that installs pip into its virtual environments. Python brings a pip along.
GET_PIP = """\
import subprocess, sys
subprocess.check_call([sys.executable, "-m", "ensurepip"])  # in a process of its own: it turns pip's settings off
packages = [word for word in sys.argv[1:] if not word.startswith("--no-")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *packages]))
"""
CANARY = "plugins/module_utils/canary.py"


def files() -> list[str]:
    """The files of the checkout: those under version control, and new ones that are not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
        text=True,
    )
    return sorted(name for name in set(listing.stdout.split("\0")) if name and (CHECKOUT / name).is_file())


def copy() -> int:
    """Makes a fresh copy; returns how many Python files of ours ansible-test should find in it."""
    COPY.mkdir(mode=0o700, exist_ok=True)
    if COPY.stat().st_uid != os.getuid():
        sys.exit(f"sanity: {COPY} belongs to somebody else")
    shutil.rmtree(COLLECTION, ignore_errors=True)
    names = files()
    for name in names:
        target = COLLECTION / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, target)
    return sum(name.startswith("plugins/") and name.endswith(".py") for name in names)


def pip_settings(listing: str) -> dict[str, str]:
    """The settings in the output of `pip config list`; those of the environment win."""
    lines = [line.partition("=") for line in listing.splitlines() if re.match(r"(global|install|:env:)\.", line)]
    ordered = sorted(lines, key=lambda parts: parts[0].startswith(":env:"))
    return {
        name.rpartition(".")[2]: value.strip("'")
        for name, separator, value in ordered
        if separator and not name.endswith("config-file")
    }


def prepare_home() -> None:
    """Gives ansible-test a home with this machine's settings of pip, and the stand-in where it caches downloads."""
    listing = subprocess.run([str(PIP), "config", "list"], capture_output=True, check=True, text=True).stdout
    config = HOME / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.touch(mode=0o600)
    settings = "".join(f"{name} = {value}\n" for name, value in pip_settings(listing).items())
    config.write_text(f"[global]\n{settings}", encoding="utf-8")
    probe = "import ansible_test._internal.python_requirements as source; print(source.__file__)"
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=True, text=True).stdout.strip()
    versions = set(re.findall(r"pip='([0-9.]+)'", Path(found).read_text(encoding="utf-8")))
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in versions:
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(GET_PIP, encoding="ascii")


def ansible_test(*arguments: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(HOME), "PATH": f"{VENV_BIN}:{os.environ['PATH']}"}
    for name in ("ANSIBLE_HOME", "ANSIBLE_CONFIG", "ANSIBLE_COLLECTIONS_PATH", "PYTHONPATH"):
        environment.pop(name, None)
    return subprocess.run(
        [str(VENV_BIN / "ansible-test"), *arguments],
        cwd=COLLECTION,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        check=False,
        text=True,
    )


def assert_that_it_looks() -> None:
    """A file that breaks a rule must be found; otherwise silence means nothing."""
    canary = COLLECTION / CANARY
    canary.write_bytes(b"# line ends of another world\r\n")
    done = ansible_test("sanity", "--test", "line-endings", quiet=True)
    canary.unlink()
    if done.returncode == 0 or CANARY not in done.stdout:
        sys.exit(f"sanity: ansible-test did not object to {CANARY}; it does not see the files:\n{done.stdout}")


def main() -> None:
    if list((CHECKOUT / "tests" / "sanity").glob("ignore-*.txt")):
        sys.exit("sanity: tests/sanity/ignore-*.txt: nothing is ignored here; mend what is reported")
    expected = copy()
    if not expected:
        sys.exit("sanity: no Python files below plugins/ were copied")
    prepare_home()
    assert_that_it_looks()
    done = ansible_test("sanity", "--venv", "--python", PYTHON, "--color", "no")
    if done.returncode == 0:
        print(f"ansible-test sanity: {expected} Python files of plugins and everything else, nothing to object")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
