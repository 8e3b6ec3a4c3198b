# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's milter: what it asks of a message while the sender still listens.

They may be read in this order: :mod:`verdict` (what a check answers), :mod:`addresses` (what an address is),
:mod:`lookup` (what the directory says), :mod:`senders`, :mod:`quota`, :mod:`spam` and :mod:`limits` (the checks),
:mod:`usage` (what users have sent), :mod:`session` (the order of things), :mod:`protocol` (packets), :mod:`dialogue`
(packets turned into a session's events), :mod:`server` (connections and threads), :mod:`service` (socket, systemd,
successors).

The protocol is spoken here rather than by libmilter with pymilter: those keep a Python thread state per session and use
it from whichever of libmilter's worker threads comes next, which Python 3.12 and newer do not bear. Valgrind shows
reads and writes of freed thread states within seconds, and the service died of them.
"""
