"""TLS contexts of the clients that the tests play."""

from __future__ import annotations

import socket
import ssl
import warnings


def any_certificate() -> ssl.SSLContext:
    """A modern client that does not ask who signed the certificate: test hosts sign their own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def only(version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0") -> ssl.SSLContext:
    """A client that speaks one version of TLS and, below 1.3, offers these ciphers, weak ones included."""
    context = any_certificate()
    context.set_ciphers(ciphers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = version
        context.maximum_version = version
    return context


ENDED = "the server ended the connection"


def refusal(connection: socket.socket, context: ssl.SSLContext) -> str | None:
    """Shake hands; how the server refused (its alert, or ENDED), or None when it agreed.

    A handshake that the client itself cannot begin is an error of the test and is raised.
    """
    try:
        with context.wrap_socket(connection, server_hostname="mail.example.org"):
            return None
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError):
        return ENDED
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            return error.reason
        raise
