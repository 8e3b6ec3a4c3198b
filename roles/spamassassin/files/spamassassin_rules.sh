#!/bin/sh
# Rules that SpamAssassin does not take are put away again: a spamd that starts next would read them.
#
#     spamassassin-rules keep    before an update
#     spamassassin-rules judge   after it
#
# As the user to whom the rules belong: who may write them may also be who wants this to write elsewhere.
set -eu

rules=/var/lib/spamassassin
kept=$rules/postoffice-kept

# The folders of rules, each named after a version of SpamAssassin, that are in a folder.
versions() {
    find "$1" -mindepth 1 -maxdepth 1 -type d -name '[0-9]*'
}

case "$1" in
keep)
    rm -rf "$kept"
    mkdir -m 0700 "$kept"
    versions "$rules" | while read -r folder; do cp -a "$folder" "$kept/"; done
    ;;
judge)
    [ -d "$kept" ] || exit 0
    if ! said=$(spamassassin --lint --prefspath=/dev/null 2>&1); then
        echo "The rules of before are used again; of the new ones SpamAssassin says: $said" >&2
        versions "$rules" | while read -r folder; do rm -rf "$folder"; done
        versions "$kept" | while read -r folder; do cp -a "$folder" "$rules/"; done
    fi
    rm -rf "$kept"
    ;;
esac
