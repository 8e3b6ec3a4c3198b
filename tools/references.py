# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generates docs/reference from the modules' documentation, the roles' argument specs and the library's own tables.

With --check nothing is written; it fails when what is there is not what would be generated.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from antsibull_docs_parser import dom
from antsibull_docs_parser.parser import Context, parse

from ansible_collections.postoffice.mail.plugins.module_utils.directory import fields

CHECKOUT = Path(__file__).resolve().parent.parent
REFERENCE = CHECKOUT / "docs" / "reference"
COLLECTION = "postoffice.mail"
KINDS = {"module": "Modules", "filter": "Filters", "lookup": "Lookups"}

Text = str | Sequence[str]
Option = Mapping[str, Any]


def part_to_markdown(part: dom.AnyPart) -> str:
    """One piece of Ansible's markup as Markdown."""
    match part:
        case dom.TextPart(text=text):
            return text
        case dom.BoldPart(text=text):
            return f"**{text}**"
        case dom.ItalicPart(text=text):
            return f"*{text}*"
        case dom.LinkPart(text=text, url=url):
            return f"[{text}]({url})"
        case dom.URLPart(url=url):
            return f"<{url}>"
        case dom.RSTRefPart(text=text):
            return text
        case dom.ModulePart(fqcn=fqcn):
            return f"`{fqcn}`"
        case dom.PluginPart(plugin=plugin):
            return f"`{plugin.fqcn}`"
        case dom.CodePart(text=text):
            return f"`{text}`"
        case dom.OptionNamePart(name=name, value=value) | dom.ReturnValuePart(name=name, value=value):
            return f"`{name}={value}`" if value is not None else f"`{name}`"
        case dom.OptionValuePart(value=value):
            return f"`{value}`"
        case dom.EnvVariablePart(name=name):
            return f"`{name}`"
        case dom.HorizontalLinePart():
            return "\n\n---\n\n"
        case _:
            raise ValueError(f"cannot write {part} as Markdown")


def markdown(text: Text) -> str:
    """A description, one paragraph for each of its entries."""
    paragraphs = parse(text, Context(), errors="exception")
    return "\n\n".join("".join(part_to_markdown(part) for part in paragraph).strip() for paragraph in paragraphs)


def value_text(value: Any) -> str:
    return f"`{value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)}`"


def traits(option: Option) -> str:
    """Type, whether it must be given, and its default."""
    kind = option.get("type", "str")
    words = [f"{kind} of {option['elements']}" if option.get("elements") else kind]
    if option.get("required"):
        words.append("required")
    if "default" in option:
        words.append(f"default {value_text(option['default'])}")
    if option.get("choices"):
        words.append("one of " + ", ".join(value_text(choice) for choice in option["choices"]))
    if option.get("no_log"):
        words.append("never logged")
    return ", ".join(words)


def entries(options: Mapping[str, Option], prefix: str = "") -> Iterator[str]:
    """A paragraph for each option, those inside it after it."""
    for name, option in options.items():
        yield f"### `{prefix}{name}`\n\n*{traits(option)}*\n\n{markdown(option.get('description', []))}"
        for inner in ("options", "suboptions"):
            yield from entries(option.get(inner) or {}, f"{prefix}{name}.")


def returned(values: Mapping[str, Option], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        traits_ = f"*{value.get('type', 'str')}*, returned {markdown(str(value.get('returned', 'always')))}"
        yield f"### `{prefix}{name}`\n\n{traits_}\n\n{markdown(value.get('description', []))}"
        yield from returned(value.get("contains") or {}, f"{prefix}{name}.")


def page(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def plugin_page(name: str, kind: str, documented: Mapping[str, Any]) -> str:
    doc = documented["doc"]
    parts = [f"# {COLLECTION}.{name}", f"*{kind.capitalize()}: {markdown(doc['short_description'])}*"]
    parts.append(markdown(doc["description"]))
    if doc.get("requirements"):
        parts += ["## Requirements", "\n".join(f"- {markdown(each)}" for each in doc["requirements"])]
    if doc.get("options"):
        parts += ["## Options", *entries(doc["options"])]
    if doc.get("attributes"):
        parts += ["## Attributes", "| Attribute | Support | |\n|---|---|---|\n" + "\n".join(
            f"| {attribute} | {said.get('support', '')} | {' '.join(markdown(said.get('description', '')).split())} |"
            for attribute, said in doc["attributes"].items()
        )]  # fmt: skip
    if doc.get("notes"):
        parts += ["## Notes", "\n".join(f"- {markdown(note)}" for note in doc["notes"])]
    if documented.get("examples"):
        parts += ["## Examples", f"```yaml\n{documented['examples'].strip()}\n```"]
    if documented.get("return"):
        parts += ["## Returns", *returned(documented["return"])]
    return page(parts)


def plugins(kind: str) -> dict[str, Mapping[str, Any]]:
    """The documentation of all plugins of a kind, by short name."""
    command = ["ansible-doc", "--type", kind, "--json"]
    listing = subprocess.run([*command, "--list", COLLECTION], check=True, capture_output=True, text=True).stdout
    names = sorted(json.loads(listing))
    if not names:
        return {}
    documented = subprocess.run([*command, *names], check=True, capture_output=True, text=True).stdout
    return {name.rpartition(".")[2]: said for name, said in json.loads(documented).items()}


def role_page(name: str, spec: Mapping[str, Any], order: Sequence[str]) -> str:
    """Variables in the order of the defaults file, those that must be set first, those for playbooks last."""
    options = spec.get("options") or {}
    ordered = {key: options[key] for key in sorted(options, key=lambda key: order.index(key) if key in order else -1)}
    own = {key: option for key, option in ordered.items() if "_wired_" not in key}
    wired = {key: option for key, option in ordered.items() if "_wired_" in key}
    parts = [f"# Role {COLLECTION}.{name}", f"*{markdown(spec['short_description'])}*"]
    parts += [
        markdown(spec.get("description", [])),
        f"How it works and how to use it: [README](../../../roles/{name}/README.md).",
    ]
    if own:
        parts += ["## Variables", *entries(own)]
    if wired:
        parts += ["## What a playbook connects", "Set by `playbooks/site.yml`, empty when the role is used alone."]
        parts += entries(wired)
    return page(parts)


def roles() -> dict[str, str]:
    pages = {}
    for path in sorted((CHECKOUT / "roles").glob("*/meta/argument_specs.yml")):
        role = path.parent.parent
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]
        defaults = role / "defaults" / "main.yml"
        order = re.findall(r"^(\w+):", defaults.read_text(encoding="utf-8"), re.MULTILINE) if defaults.exists() else []
        pages[role.name] = role_page(role.name, spec, order)
    return pages


def generate() -> dict[str, str]:
    """All pages, by their path below docs/reference."""
    pages = {"mail_domains.md": page(["# What `mail_domains` may say", fields.reference()])}
    index = ["# Reference", "Generated from the code by `make docs`.", "- [`mail_domains`](mail_domains.md)"]
    for kind, title in KINDS.items():
        documented = plugins(kind)
        pages |= {f"{kind}s/{name}.md": plugin_page(name, kind, said) for name, said in documented.items()}
        lines = [
            f"- [`{COLLECTION}.{name}`]({kind}s/{name}.md): {markdown(said['doc']['short_description'])}"
            for name, said in documented.items()
        ]
        index += [f"## {title}", "\n".join(lines)] if lines else []
    role_pages = roles()
    pages |= {f"roles/{name}.md": text for name, text in role_pages.items()}
    index += ["## Roles", "\n".join(f"- [`{COLLECTION}.{name}`](roles/{name}.md)" for name in role_pages)]
    return pages | {"README.md": page(index)}


def stale(pages: Mapping[str, str]) -> list[str]:
    """Which files differ from what is generated, lack or are left over."""
    there = {str(path.relative_to(REFERENCE)): path.read_text(encoding="utf-8") for path in REFERENCE.rglob("*.md")}
    return sorted(name for name in pages.keys() | there.keys() if pages.get(name) != there.get(name))


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate docs/reference.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something is out of date")
    arguments = parser.parse_args()
    pages = generate()
    changed = stale(pages)
    if arguments.check:
        if changed:
            sys.exit(
                "out of date, `make docs` writes them again:\n"
                + "\n".join(f"docs/reference/{name}" for name in changed)
            )
        print(f"docs/reference: {len(pages)} pages are up to date")
        return
    for name in changed:
        path = REFERENCE / name
        if name in pages:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages[name], encoding="utf-8")
        else:
            path.unlink()
        print(f"docs/reference/{name}")


if __name__ == "__main__":
    main()
