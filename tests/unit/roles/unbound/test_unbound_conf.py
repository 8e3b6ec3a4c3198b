# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables become in unbound.conf(5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).resolve().parents[4] / "roles" / "unbound"
ANCHOR = ". DS 12345 13 2 ABCD"
ROOT_KEY = "  auto-trust-anchor-file: /var/lib/unbound/root.key"


def render(template: str, variables: dict[str, Any]) -> list[str]:
    """The lines of a template of the role, rendered with its defaults and the given variables."""
    loader = DataLoader()
    known: dict[str, Any] = {}
    for room in ("defaults", "vars"):
        known |= loader.load_from_file(str(ROLE / room / "main.yml"), trusted_as_template=True)
    text = (ROLE / "templates" / template).read_text(encoding="utf-8")
    overrides = {"trim_blocks": True, "lstrip_blocks": True}
    rendered = Templar(loader, known | variables).template(
        trust_as_template(text.removeprefix("#jinja2: lstrip_blocks: True\n")), convert_data=False, overrides=overrides
    )
    return str(rendered).splitlines()


def conf(**variables: Any) -> list[str]:
    return render("etc/unbound/unbound.conf.j2", variables)


def clause(lines: list[str], kind: str, name: str) -> list[str]:
    """The settings of the clause of that kind and name."""
    start = lines.index(f"{kind}:")
    while lines[start + 1] != f'  name: "{name}"':
        start = lines.index(f"{kind}:", start + 1)
    end = next((number for number in range(start, len(lines)) if not lines[number]), len(lines))
    return [line.strip() for line in lines[start + 2 : end]]


def test_by_itself_it_serves_the_host_and_validates_from_the_root_of_the_world() -> None:
    lines = conf()
    assert "  interface: 127.0.0.1" in lines
    assert "  root-hints: /usr/share/dns/root.hints" in lines
    assert ROOT_KEY in lines
    assert '  module-config: "validator iterator"' in lines
    assert "  msg-cache-size: 8388608" in lines
    assert not any("zone:" in line for line in lines)


def test_every_line_of_the_server_clause_is_one_setting() -> None:
    lines = conf(unbound_settings={"verbosity": 2})
    server = lines[lines.index("server:") + 1 : lines.index("remote-control:") - 2]
    assert all(line.startswith("  ") and (line.lstrip().startswith("#") or ": " in line) for line in server if line)
    assert server.count("  verbosity: 2") == 1


@pytest.mark.parametrize("variables", [{"unbound_trust_anchors": [ANCHOR]}, {"unbound_insecure_domains": ["."]}])
def test_another_anchor_of_the_root_or_none_replaces_that_of_the_world(variables: dict[str, Any]) -> None:
    assert ROOT_KEY not in conf(**variables)


def test_an_anchor_of_another_zone_is_one_more() -> None:
    lines = conf(unbound_trust_anchors=["corp.example. DS 1 13 2 AB"])
    assert ROOT_KEY in lines
    assert '  trust-anchor: "corp.example. DS 1 13 2 AB"' in lines


def test_zones_are_asked_for_where_they_are() -> None:
    lines = conf(
        unbound_stub_zones={"10.in-addr.arpa": ["10.0.0.1"]},
        unbound_forward_zones={"corp.example.": ["10.0.0.2@5353", "fd00::2"]},
    )
    assert clause(lines, "stub-zone", "10.in-addr.arpa") == ["stub-addr: 10.0.0.1"]
    assert clause(lines, "forward-zone", "corp.example.") == ["forward-addr: 10.0.0.2@5353", "forward-addr: fd00::2"]
    # else unbound would answer itself that there are no such names
    assert '  local-zone: "10.in-addr.arpa." transparent' in lines
    assert '  local-zone: "corp.example." transparent' in lines


def test_a_name_behind_an_address_means_tls() -> None:
    lines = conf(unbound_forward_zones={".": ["192.0.2.1@853#dns.example"], "plain.example": ["192.0.2.2"]})
    assert clause(lines, "forward-zone", ".") == [
        "forward-tls-upstream: yes",
        "forward-addr: 192.0.2.1@853#dns.example",
    ]
    assert clause(lines, "forward-zone", "plain.example") == ["forward-addr: 192.0.2.2"]
    assert "  tls-cert-bundle: /etc/ssl/certs/ca-certificates.crt" in lines
    assert not any("local-zone" in line and '"."' in line for line in lines)


def test_settings_win() -> None:
    lines = conf(unbound_settings={"num-threads": 2, "prefetch": False, "private-address": ["10.0.0.0/8", "fd00::/8"]})
    assert "  num-threads: 2" in lines
    assert "  num-threads: 1" not in lines
    assert "  prefetch: no" in lines
    assert "  private-address: 10.0.0.0/8" in lines
    assert "  private-address: fd00::/8" in lines


def test_a_root_of_one_s_own_has_its_servers_in_the_hints() -> None:
    servers = {"ns.example": ["192.0.2.1", "2001:db8::1"]}
    assert "  root-hints: /etc/unbound/root.hints" in conf(unbound_root_servers=servers)
    assert render("etc/unbound/root.hints.j2", {"unbound_root_servers": servers})[1:] == [
        ". 3600000 NS ns.example.",
        "ns.example. 3600000 A 192.0.2.1",
        "ns.example. 3600000 AAAA 2001:db8::1",
    ]


def test_stale_answers_can_be_turned_off() -> None:
    assert "  serve-expired: yes" in conf()
    assert "  serve-expired: no" in conf(unbound_serve_expired=0)
