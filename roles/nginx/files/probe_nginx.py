# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Usage: probe-nginx NAME [ADDRESS]. Asks a running nginx on ports 80 and 443, as somebody who wants NAME.

Exits 0 when both answer in HTTP, whatever they answer; trust in the certificate is not the question.
"""

from __future__ import annotations

import http.client
import ssl
import sys

SECONDS = 5.0


def ask(connection: http.client.HTTPConnection, name: str) -> None:
    """Raises OSError or HTTPException when there is no answer in HTTP."""
    try:
        connection.request("HEAD", "/", headers={"Host": name, "Connection": "close"})
        status = connection.getresponse().status
    finally:
        connection.close()
    if status >= 500:
        raise http.client.HTTPException(f"answers with status {status}")


def main(arguments: list[str]) -> int:
    name, address = arguments[0], (arguments[1] if len(arguments) > 1 else "127.0.0.1")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for connection in (
        http.client.HTTPConnection(address, 80, timeout=SECONDS),
        http.client.HTTPSConnection(address, 443, timeout=SECONDS, context=context),
    ):
        try:
            ask(connection, name)
        except (OSError, http.client.HTTPException) as error:
            sys.stderr.write(f"port {connection.port}: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
