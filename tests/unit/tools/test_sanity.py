# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How pip's settings reach the environments of ansible-test."""

from __future__ import annotations

from ansible_collections.postoffice.mail.tools.sanity import pip_settings


def test_settings_of_the_environment_win() -> None:
    listing = ":env:.index-url='https://environment.example/simple'\nglobal.index-url='https://file.example/simple'\n"
    assert pip_settings(listing) == {"index-url": "https://environment.example/simple"}


def test_a_path_to_another_configuration_is_no_setting() -> None:
    assert pip_settings(":env:.config-file='/etc/other.conf'\nglobal.timeout='60'\n") == {"timeout": "60"}


def test_settings_of_other_commands_are_left_out() -> None:
    assert pip_settings("wheel.no-binary='x'\nglobal.cert='/etc/ssl/ca.pem'\n") == {"cert": "/etc/ssl/ca.pem"}
