# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.postoffice.mail.plugins.module_utils.config_tree.namespace import Cover, plan_covers


def test_a_folder_inside_another_needs_no_cover_of_its_own() -> None:
    assert plan_covers(["/etc/postfix", "/etc", "/usr/lib"], ["/"]) == [Cover("/etc", ()), Cover("/usr/lib", ())]


def test_folders_alike_in_name_only_are_apart() -> None:
    assert plan_covers(["/etc/a", "/etc/ab"], ["/"]) == [Cover("/etc/a", ()), Cover("/etc/ab", ())]


def test_what_is_mounted_below_a_cover_is_shown_again() -> None:
    covers = plan_covers(["/etc"], ["/", "/etc/hosts", "/etc/resolv.conf", "/proc"])
    assert covers == [Cover("/etc", ("/etc/hosts", "/etc/resolv.conf"))]


def test_a_folder_on_a_file_system_of_its_own_is_covered_after_the_outer_one() -> None:
    covers = plan_covers(["/etc/postfix/maps", "/etc"], ["/", "/etc/postfix"])
    assert covers == [Cover("/etc", ("/etc/postfix",)), Cover("/etc/postfix/maps", ())]
