#!/bin/sh
# Drops a message, which comes on standard input, into the spool of what is to be learned: learn spam|ham USER
# In one step, so that nobody sees half of it, and quickly, because a mail program waits for it.
set -eu
umask 027
read -r name </proc/sys/kernel/random/uuid
{ printf '%s %s\n' "$1" "$2"; cat; } >"@SPOOL@/tmp/$name"
mv "@SPOOL@/tmp/$name" "@SPOOL@/new/$name"
