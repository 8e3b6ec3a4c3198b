# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory of domains, mailboxes and aliases.

Nothing here imports Ansible: the modules, the services on the host and the administration page all use this
package.  ``parse`` reads what a user declared, ``planning`` compares it with what is stored, ``store`` holds it in
SQLite, ``publishing`` writes the copy that Postfix reads, ``reconcile`` ties them together.
"""

from __future__ import annotations
