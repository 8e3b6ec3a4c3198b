# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets galaxy-importer judge the collection as it would be published: built from a clean clone.

galaxy-importer reports success over warnings and over documentation that it could not read, so what it prints counts:
every line that is not a known step of its work.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
IMPORTER = CHECKOUT / "build" / "importer" / "bin"
DONE = "Importer processing completed successfully"
STEPS = re.compile(
    r"Importing with galaxy-importer [0-9.]+|Getting doc strings via ansible-doc|Finding content inside collection|"
    r"Loading \w+ [\w.]+|Linting collection via ansible-lint [0-9.]+\.\.\.|\.\.\.ansible-lint run complete|"
    rf"Collection loading complete|{DONE}"
)


def complaints(output: str) -> list[str]:
    """What the importer says beside the steps of its work; also that it did not come to its end."""
    lines = [line for line in output.splitlines() if line.strip()]
    found = [line for line in lines if not STEPS.fullmatch(line.strip())]
    return found if DONE in lines else [*found, "the importer did not come to its end"]


def run(argv: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a program prints; its failure ends this program."""
    done = subprocess.run(
        argv, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, argv))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def archive(folder: Path) -> Path:
    """The collection's archive, built below `folder` from what is committed."""
    clone = folder / "clone"
    run(["git", "clone", "--quiet", CHECKOUT, clone], folder)
    run(["ansible-galaxy", "collection", "build", "--output-path", folder], clone)
    return next(folder.glob("*.tar.gz"))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="postoffice-importer-") as name:
        folder = Path(name)
        # The importer calls its own ansible-doc and ansible-lint, and writes its result where it stands.
        settings = {
            "PATH": f"{IMPORTER}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": str(folder / "none"),
        }
        environment = {**os.environ, **settings, "HOME": name}
        output = run([IMPORTER / "python", "-m", "galaxy_importer.main", archive(folder)], folder, environment)
    print(output, end="")
    found = complaints(output)
    if found:
        sys.exit("\n".join(["galaxy-importer complains:", *found]))


if __name__ == "__main__":
    main()
