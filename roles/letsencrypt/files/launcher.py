# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the command line of the certificates from where the role installed it."""

import sys

sys.path.insert(0, "/usr/local/lib/postoffice")

from postoffice_letsencrypt.__main__ import main

sys.exit(main())
