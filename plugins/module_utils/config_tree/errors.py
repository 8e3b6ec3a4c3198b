# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong in words for the operator."""

from __future__ import annotations


class ConfigTreeError(Exception):
    """A run that cannot go on; the message is complete and holds no secret."""
