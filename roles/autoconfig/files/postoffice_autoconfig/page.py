# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page for people. Nothing is read or written here."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from .answers import login
from .settings import Service, Settings

STYLE = """
:root { color-scheme: light dark; --line: #8886; --accent: #2b5fab; }
body { font: 1.05rem/1.55 system-ui, sans-serif; max-width: 42rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .45rem .6rem .45rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; } th { font-weight: 600; white-space: nowrap; }
code { font: .95em ui-monospace, monospace; overflow-wrap: anywhere; }
form { display: flex; flex-wrap: wrap; gap: .5rem; margin: .8rem 0; }
input, button, a.button { font: inherit; padding: .55rem .8rem; border: 1px solid var(--line); border-radius: .4rem; }
input { flex: 1 1 16rem; min-width: 0; } button, a.button { background: var(--accent); color: #fff; border: 0;
  text-decoration: none; display: inline-block; } footer { margin-top: 3rem; opacity: .75; font-size: .9rem; }
"""


def page(settings: Settings, domain: str) -> bytes:
    """How to set up a program or a phone, for the people of a domain."""
    title = f"Mail for {domain}" if not settings.title else f"{settings.title}: mail for {domain}"
    example = f"you@{domain}"
    same = settings.domains[domain] == domain
    whom = "your whole address" if same else f"<code>you@{escape(settings.domains[domain])}</code>, your address there"
    webmail = (
        f'<p><a class="button" href={quoteattr(settings.webmail)}>Read your mail here, in the browser</a></p>'
        if settings.webmail
        else ""
    )
    contact = (
        f"<footer>Something does not work? Write to <code>{escape(settings.contact)}</code>.</footer>"
        if settings.contact
        else ""
    )
    kind = "IMAP" if any(service.protocol == "imap" for service in settings.incoming) else "POP"
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<p>Your address and your password are all you need. Most programs find out the rest by themselves.</p>
{webmail}
<h2>iPhone, iPad, Mac</h2>
<p>Type your address. You are given a file that sets up the account; open it, and allow it in the settings under
&ldquo;Profile downloaded&rdquo;. Your device then asks for your password.</p>
<form action="/apple.mobileconfig" method="get"><input type="email" name="email" required autocomplete="email"
placeholder={quoteattr(example)} aria-label="Your address"><button>Set up this device</button></form>
<h2>Thunderbird, also on Android</h2>
<p>Choose to add an account that you have already, type your name, your address and your password, and continue:
it finds the server.</p>
<h2>Outlook</h2>
<p>Add an account and type your address. If it asks for the kind of account, choose {kind}.</p>
<h2>Any other program</h2>
<table>
{"".join(_row(settings, service, "Incoming mail") for service in settings.incoming if service.implicit)}
{"".join(_row(settings, service, "Outgoing mail") for service in settings.outgoing)}
<tr><th>User name</th><td>{whom}, such as <code>{escape(login(settings, "you", domain))}</code></td></tr>
<tr><th>Password</th><td>that of your mailbox, for both; never without encryption</td></tr>
</table>
{contact}
</body></html>
""".encode()


def _row(settings: Settings, service: Service, what: str) -> str:
    how = "TLS (also called SSL)" if service.implicit else "STARTTLS"
    return (
        f"<tr><th>{what}, {service.protocol.upper()}</th>"
        f"<td><code>{escape(settings.hostname)}</code>, port {service.port}, {how}</td></tr>\n"
    )
