# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""galaxy-importer ends well over warnings; what it prints is what counts."""

from __future__ import annotations

import pytest

from ansible_collections.postoffice.mail.tools.importer import DONE, complaints

FINE = f"""Importing with galaxy-importer 0.4.44
Getting doc strings via ansible-doc
Finding content inside collection
Loading module config_tree
Loading module_utils config_tree.diff
Linting collection via ansible-lint 26.10.1...
...ansible-lint run complete
Collection loading complete
{DONE}
"""


def test_the_steps_of_its_work_are_no_complaint() -> None:
    assert complaints(FINE) == []


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: No changelog found.",
        'ERROR: Error running ansible-doc: cmd="ansible-doc" returncode="1"',
        "roles/postfix/tasks/main.yml:3: name[missing]: All tasks should be named.",
    ],
)
def test_every_other_line_is_a_complaint(line: str) -> None:
    assert complaints(FINE.replace("Collection loading complete", f"{line}\nCollection loading complete")) == [line]


def test_an_import_that_ends_early_is_a_complaint() -> None:
    assert complaints(FINE.replace(DONE, "")) == ["the importer did not come to its end"]
