# Copyright (c) The Post Office authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Usage: check-certificate CHAIN KEY. Exits with an error unless a daemon could serve them from now on."""

from __future__ import annotations

import ssl
import subprocess
import sys


def complaint(chain: str, key: str) -> str:
    """Why the pair cannot be served, or an empty string."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, password=lambda: refuse_passphrase(key))
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"{key}: the private key does not belong to the first certificate of {chain}"
        return f"{chain}, {key}: no PEM certificate chain with its private key ({error.reason or error})"
    except (OSError, ValueError) as error:
        return str(error)
    argv = ["openssl", "x509", "-in", chain, "-noout", "-checkend", "0"]
    if subprocess.run(argv, stdout=subprocess.DEVNULL, check=False).returncode:
        return f"{chain}: the certificate has ended"
    return ""


def refuse_passphrase(key: str) -> str:
    raise ValueError(f"{key}: the private key has a passphrase; a daemon cannot ask for it")


if __name__ == "__main__":
    sys.exit(complaint(*sys.argv[1:]) or 0)
