# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
from pathlib import Path

ROLE = Path(__file__).resolve().parents[4] / "roles" / "autoconfig"
sys.path.insert(0, str(ROLE / "files"))
