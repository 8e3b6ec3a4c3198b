# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
from pathlib import Path

ROLE = Path(__file__).resolve().parents[4] / "roles" / "learning"
sys.path.insert(0, str(ROLE / "files"))
