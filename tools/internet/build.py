# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the small internet on the host that this runs on, as root, and starts its servers.

Reads from standard input where the hosts are (see `read_lan`), writes to standard output what others need to know.
Keys and certificates are made once; everything else is written anew each time, and records that tests added are gone.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import secrets
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .world import (
    ACME,
    ACME_NUMBER,
    NAMESERVER,
    NAMESERVER_NUMBER,
    PARTIES,
    WEB_NUMBER,
    Keys,
    Lan,
    Party,
    Zone,
    delegate,
    numbers,
    zones,
)

STATE = Path("/var/lib/internet")
CA = STATE / "ca.pem"
CA_KEY = STATE / "ca.key"
JUDGE = "judge.example"
UPDATES = "updates"  # the key of those who may change the domains of the server under test
SIGNING, JUDGING = "inet:127.0.0.1:8891", "inet:127.0.0.1:8893"
JUDGES = ("opendkim", "opendmarc")  # always configured alike; they take seconds to stop
ISSUING = "acme"
UNITS = ("knot", "unbound", "nginx", "postfix", ISSUING)
DIRECTORY_PORT, MANAGEMENT_PORT = 14000, 15000


def run(*argv: str, stdin: bytes = b"") -> str:
    """The output of a program; its failure ends this one with what it said."""
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv[:4])}: {(done.stderr + done.stdout).decode(errors='replace')}")
    return done.stdout.decode()


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


# Addresses.


def device_of(address: str) -> dict[str, Any]:
    """The network device that has an address, with all of its addresses."""
    devices: list[dict[str, Any]] = json.loads(run("ip", "-json", "address"))
    return next(device for device in devices if any(each["local"] == address for each in device["addr_info"]))


def read_lan(given: Mapping[str, Any]) -> Lan:
    prefixes = {each["local"]: each["prefixlen"] for each in device_of(given["elsewhere"])["addr_info"]}

    def network(address: str) -> str:
        return f"{address}/{prefixes[address]}"

    return Lan(
        network=ipaddress.IPv4Network(network(given["elsewhere"]), strict=False),
        network6=ipaddress.IPv6Network(network(given["elsewhere6"]), strict=False),
        server=ipaddress.IPv4Address(given["server"]),
        server6=ipaddress.IPv6Address(given["server6"]),
        server_name=given["server_name"],
        own_domains=a_labels(given["own_domains"]),
        elsewhere=ipaddress.IPv4Address(given["elsewhere"]),
        elsewhere6=ipaddress.IPv6Address(given["elsewhere6"]),
    )


def a_labels(domains: Iterable[str]) -> tuple[str, ...]:
    """Domains as they are in the DNS (RFC 5890)."""
    return tuple(domain.encode("idna").decode() for domain in domains)


def add_addresses(lan: Lan) -> None:
    """The further addresses are deprecated ones: nobody uses them as a source without saying so."""
    device = device_of(str(lan.elsewhere))["ifname"]
    every = [NAMESERVER_NUMBER, WEB_NUMBER, ACME_NUMBER, *(number for party in PARTIES for number in numbers(party))]
    batch = [
        line
        for number in every
        for line in (
            f"address replace {lan.address(number)}/{lan.network.prefixlen} dev {device}",
            f"address replace {lan.address6(number)}/{lan.network6.prefixlen} dev {device} nodad preferred_lft 0",
        )
    ]
    run("ip", "-batch", "-", stdin="\n".join(batch).encode())


# Keys.


def certificate(name: str, trusted: bool) -> tuple[Path, Path]:
    """A certificate and its key, signed by the authority of this internet or by itself."""
    path, key = STATE / "tls" / f"{name}.pem", STATE / "tls" / f"{name}.key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        signer = ["-CA", str(CA), "-CAkey", str(CA_KEY)] if trusted else []
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "30",
            "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=CA:FALSE",
            *signer, "-keyout", str(key), "-out", str(path),
        )  # fmt: skip
    return path, key


def make_authority() -> None:
    if not CA.exists():
        STATE.mkdir(parents=True, exist_ok=True)
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "30",
            "-subj", "/CN=Authority of the small internet", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", str(CA_KEY), "-out", str(CA),
        )  # fmt: skip


def public_digest(path: Path) -> str:
    """SHA-256 of the public key of a certificate, for TLSA 3 1 1 (RFC 6698)."""
    public = run("openssl", "x509", "-in", str(path), "-pubkey", "-noout")
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"], input=public.encode(), capture_output=True, check=True
    )
    return hashlib.sha256(der.stdout).hexdigest()


def dkim_key(domain: str) -> str:
    """The public half of a domain's DKIM key, as its record has it."""
    path = STATE / "dkim" / f"{domain}.pem"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        run("openssl", "genrsa", "-out", str(path), "2048")
        run("chown", "opendkim:", str(path))
    public = run("openssl", "rsa", "-in", str(path), "-pubout").splitlines()
    return "".join(line for line in public if not line.startswith("-"))


def make_keys() -> Keys:
    make_authority()
    with ThreadPoolExecutor(4) as pool:
        certificates = pool.map(lambda party: certificate(party.mx, party.certificate == "ca"), PARTIES)
        pairs = dict(zip((party.mx for party in PARTIES), certificates, strict=True))
        dkim = {party.domain: pool.submit(dkim_key, party.domain) for party in PARTIES if party.dkim}
        tlsa = {name: pool.submit(public_digest, path) for name, (path, _key) in pairs.items()}
        for party in PARTIES:
            if party.mta_sts:
                pool.submit(certificate, f"mta-sts.{party.domain}", True).result()
        return Keys(
            {name: each.result() for name, each in tlsa.items()}, {n: each.result() for n, each in dkim.items()}
        )


# The DNS.


def update_secret() -> str:
    """The secret of the key with which zones are updated, in base64."""
    path = STATE / "updates.key"
    if not path.exists():
        STATE.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_text(base64.b64encode(secrets.token_bytes(32)).decode(), encoding="ascii")
    return path.read_text(encoding="ascii")


def knot_conf(lan: Lan, every: Sequence[Zone], secret: str) -> str:
    listen = ", ".join(f"{address}@53" for address in lan.both(NAMESERVER_NUMBER))
    blocks = [
        f"server:\n  rundir: /run/knot\n  user: knot:knot\n  listen: [ {listen} ]\n",
        "log:\n  - target: syslog\n    any: info\n",
        # Nobody else writes zones: what a test changes is not written to the file.
        "template:\n  - id: default\n    storage: /var/lib/knot/zones\n    zonefile-load: whole\n"
        "    zonefile-sync: -1\n    journal-content: none\n",
        f"key:\n  - id: {UPDATES}\n    algorithm: hmac-sha256\n    secret: {secret}\n",
        f"acl:\n  - id: updates\n    key: {UPDATES}\n    action: update\n",
        "policy:\n  - id: own\n    manual: on\n    single-type-signing: on\n",
        "zone:",
    ]
    for zone in every:
        signing = "    dnssec-signing: on\n    dnssec-policy: own\n" if zone.signed else ""
        updates = "    acl: updates\n" if zone.dynamic else ""
        blocks.append(f"  - domain: {zone.name}.\n    file: {zone.name or 'root'}.zone\n{signing}{updates}")
    return "\n".join(blocks)


def signer(zone: Zone) -> str:
    """The DS of a zone's key, which is made when there is none."""
    name = f"{zone.name}."
    asked = ("keymgr", "--config", "/etc/knot/knot.conf", name)
    if not run(*asked, "list"):
        run(*asked, "generate", "algorithm=ecdsap256sha256", "ksk=yes", "zsk=yes")
    records = (line.split() for line in run(*asked, "ds").splitlines())
    return next(" ".join(words[2:]) for words in records if words[4] == "2")


def configure_dns(lan: Lan, keys: Keys) -> str:
    """Write the zones and the servers' configuration; returns the trust anchor."""
    every = zones(lan, keys)
    write(Path("/etc/knot/knot.conf"), knot_conf(lan, every, update_secret()))
    signers = {zone.name: signer(zone) for zone in every if zone.signed}
    delegate(every, signers)
    folder = Path("/var/lib/knot/zones")
    for zone in every:
        write(folder / f"{zone.name or 'root'}.zone", zone.text())
    run("chown", "--recursive", "knot:knot", "/var/lib/knot")
    anchor = f". DS {signers['']}"
    write(Path("/etc/unbound/internet.hints"), hints(lan))
    write(
        Path("/etc/unbound/unbound.conf"),
        unbound_conf(lan, anchor, [z.name for z in every if z.name.endswith(".arpa")]),
    )
    write(Path("/etc/resolv.conf"), "nameserver 127.0.0.1\noptions edns0 trust-ad\n")
    return anchor


def hints(lan: Lan) -> str:
    address, address6 = lan.both(NAMESERVER_NUMBER)
    return f". 3600 NS {NAMESERVER}.\n{NAMESERVER}. 3600 A {address}\n{NAMESERVER}. 3600 AAAA {address6}\n"


def unbound_conf(lan: Lan, anchor: str, reverse: Iterable[str]) -> str:
    """The resolver of everybody else; the tests ask it, too."""
    lines = [
        "server:",
        "  interface: 127.0.0.1",
        f"  interface: {lan.elsewhere}",
        f"  access-control: {lan.network} allow",
        '  chroot: ""',
        "  root-hints: /etc/unbound/internet.hints",
        f'  trust-anchor: "{anchor}"',
        *(f"  local-zone: {name}. transparent" for name in reverse),
    ]
    return "\n".join(lines) + "\n"


# Mail.


def services(lan: Lan, party: Party) -> dict[str, str]:
    """The lines of master.cf with which a party receives on its addresses and sends from them, by name."""
    address, address6 = lan.both(party.number)
    certificate_path, key = STATE / "tls" / f"{party.mx}.pem", STATE / "tls" / f"{party.mx}.key"
    receiving = " ".join(
        f"-o {option}"
        for option in (
            f"syslog_name=postfix/{party.domain}",
            f"myhostname={party.mx}",
            f"smtpd_tls_chain_files={key},{certificate_path}",
            f"smtpd_milters={SIGNING},{JUDGING}",
        )
    )
    sending = f"-o smtp_bind_address={address} -o smtp_bind_address6={address6} -o smtp_helo_name={party.mx}"
    return {
        f"{address}:25/inet": f"{address}:25 inet n - n - - smtpd {receiving}",
        f"[{address6}]:25/inet": f"[{address6}]:25 inet n - n - - smtpd {receiving}",
        f"out-{party.domain}/unix": f"out-{party.domain} unix - - n - - smtp {sending}",
    }


def configure_mail(lan: Lan, relayed: Sequence[str]) -> None:
    ours = [domain for domain in lan.own_domains if domain not in relayed]
    senders = " ".join(f"{{@{party.domain}=out-{party.domain}:}}" for party in PARTIES)
    run(
        "postconf",
        f"inet_interfaces=127.0.0.1, [::1], {lan.elsewhere}, [{lan.elsewhere6}]",
        f"virtual_mailbox_domains={', '.join(f'!{domain}' for domain in ours)}, static:anybody",
        f"sender_dependent_default_transport_maps=inline:{{ {senders} }}",
        f"non_smtpd_milters={SIGNING}",
        "milter_default_action=tempfail",
    )
    wanted = {name: line for party in PARTIES for name, line in services(lan, party).items()}
    run("postconf", "-M", *(f"{name}={line}" for name, line in wanted.items()))


def configure_judges() -> None:
    """OpenDKIM signs what the parties send and, with OpenDMARC, judges what they get."""
    signers = [party.domain for party in PARTIES if party.dkim]
    keys = "".join(f"{domain} {domain}:s1:{STATE}/dkim/{domain}.pem\n" for domain in signers)
    write(Path("/etc/opendkim/keys"), keys)
    write(Path("/etc/opendkim/senders"), "".join(f"*@{domain} {domain}\n" for domain in signers))
    shared = f"Syslog yes\nAuthservID {JUDGE}\n"
    write(
        Path("/etc/opendkim.conf"),
        f"{shared}UserID opendkim\nSocket {milter(SIGNING)}\nPidFile /run/opendkim/opendkim.pid\nMode sv\n"
        "KeyTable file:/etc/opendkim/keys\nSigningTable refile:/etc/opendkim/senders\nInternalHosts 127.0.0.1,::1\n"
        "AlwaysAddARHeader yes\nNameservers 127.0.0.1\n",
    )
    write(
        Path("/etc/opendmarc.conf"),
        f"{shared}UserID opendmarc\nSocket {milter(JUDGING)}\nPidFile /run/opendmarc/opendmarc.pid\n"
        f"TrustedAuthservIDs {JUDGE}\nRejectFailures false\nSPFIgnoreResults true\nSPFSelfValidate true\n",
    )


def milter(socket: str) -> str:
    """A socket as milters write it, from how Postfix does."""
    kind, host, port = socket.split(":")
    return f"{kind}:{port}@{host}"


# The web.


def configure_web(lan: Lan) -> None:
    """Serves the policies of MTA-STS (RFC 8461)."""
    blocks = []
    listen = "".join(f"  listen {a}:443 ssl;\n" for a in (lan.address(WEB_NUMBER), f"[{lan.address6(WEB_NUMBER)}]"))
    for party in PARTIES:
        if party.mta_sts:
            name = f"mta-sts.{party.domain}"
            path, key = STATE / "tls" / f"{name}.pem", STATE / "tls" / f"{name}.key"
            root = Path("/srv/internet") / name
            policy = f"version: STSv1\r\nmode: enforce\r\nmx: {party.mx}\r\nmax_age: 86400\r\n"
            write(root / ".well-known/mta-sts.txt", policy)
            blocks.append(
                f"server {{\n{listen}  server_name {name};\n  ssl_certificate {path};\n  ssl_certificate_key {key};\n"
                f"  root {root};\n  types {{ text/plain txt; }}\n}}\n"
            )
    write(Path("/etc/nginx/conf.d/mta-sts.conf"), "\n".join(blocks))
    Path("/etc/nginx/sites-enabled/default").unlink(missing_ok=True)


# The authority that issues certificates.


def configure_acme(lan: Lan) -> None:
    """Let's Encrypt's own server for tests. It forgets everything when it is started again, its root included."""
    path, key = certificate(ACME, trusted=True)
    address = lan.address(ACME_NUMBER)
    settings = {
        "listenAddress": f"{address}:{DIRECTORY_PORT}",
        "managementListenAddress": f"{address}:{MANAGEMENT_PORT}",
        "certificate": str(path),
        "privateKey": str(key),
        "httpPort": 80,
        "tlsPort": 443,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
    }
    write(Path("/etc/pebble/pebble.json"), json.dumps({"pebble": settings}))
    write(
        Path(f"/etc/systemd/system/{ISSUING}.service"),
        "[Unit]\nDescription=Issues certificates\n\n[Service]\n"
        "ExecStart=/usr/bin/pebble -config /etc/pebble/pebble.json -dnsserver 127.0.0.1:53\n"
        # It would wait a while before it looks, refuse good nonces now and then, and believe what it has seen before.
        "Environment=PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 PEBBLE_AUTHZREUSE=0\n",
    )
    run("systemctl", "daemon-reload")


# Together.


def facts(lan: Lan, anchor: str, keys: Keys) -> dict[str, Any]:
    """What the server under test and the tests need to know."""
    nameserver = list(lan.both(NAMESERVER_NUMBER))
    return {
        "nameserver": {"name": NAMESERVER, "addresses": nameserver},
        "updates": {"key_name": UPDATES, "key_secret": update_secret()},
        "acme": {
            "directory": f"https://{ACME}:{DIRECTORY_PORT}/dir",
            "management": f"https://{ACME}:{MANAGEMENT_PORT}",
            "unit": f"{ISSUING}.service",
        },
        "resolver": str(lan.elsewhere),
        "trust_anchor": anchor,
        "reverse_zones": [zone.name for zone in zones(lan, NO_KEYS) if zone.name.endswith(".arpa")],
        "authority": CA.read_text(encoding="ascii"),
        "parties": {
            party.domain: {
                "mx": party.mx,
                "addresses": [str(lan.address(number)) for number in numbers(party)],
                "addresses6": [str(lan.address6(number)) for number in numbers(party)],
                "dkim": party.dkim,
                "public_digest": keys.tlsa[party.mx],
            }
            for party in PARTIES
        },
    }


class _Anything(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


NO_KEYS = Keys(_Anything(), _Anything())


def main() -> None:
    given = json.load(sys.stdin)
    lan = read_lan(given)
    add_addresses(lan)
    keys = make_keys()
    anchor = configure_dns(lan, keys)
    configure_judges()
    configure_web(lan)
    configure_acme(lan)
    configure_mail(lan, a_labels(given["relayed_domains"]))
    run("systemctl", "start", *JUDGES)
    run("systemctl", "restart", *UNITS)
    json.dump(facts(lan, anchor, keys), sys.stdout)


if __name__ == "__main__":
    main()
