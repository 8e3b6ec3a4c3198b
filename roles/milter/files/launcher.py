# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the command line of the milter from where the role installed it."""

import sys

sys.path.insert(0, "/usr/local/lib/postoffice")

from postoffice_milter.__main__ import main

sys.exit(main())
