# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's milter: what it asks of a message while the sender still listens.

The modules without pymilter are pure and may be read in this order: :mod:`verdict` (what a check answers),
:mod:`addresses` (what an address is), :mod:`lookup` (what the directory says), :mod:`senders` and :mod:`quota`
(the checks), :mod:`session` (the order of things). :mod:`service` is the glue to libmilter and systemd.
"""
