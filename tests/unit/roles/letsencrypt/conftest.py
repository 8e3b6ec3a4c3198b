# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[4]
# The program, and the library of config_tree by the name that it has on a host.
sys.path[:0] = [str(CHECKOUT / "roles" / "letsencrypt" / "files"), str(CHECKOUT / "build" / "typing")]
