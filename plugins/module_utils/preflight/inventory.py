# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables held against the argument specs of all roles at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Options = Mapping[str, Mapping[str, Any]]
# Checks values against options and returns messages, as ansible-core's ArgumentSpecValidator does.
Validate = Callable[[Options, Mapping[str, Any]], list[str]]


def options_of(spec: Mapping[str, Any]) -> Options:
    """The options of a role's entry point `main`, from the text of its meta/argument_specs.yml."""
    options: Options = spec.get("argument_specs", {}).get("main", {}).get("options", {})
    return options


def misspelt(names: Iterable[str], specs: Mapping[str, Options], ignored: Iterable[str] = ()) -> list[str]:
    """A line for each of `names` that has a role's prefix but is no option of any role."""
    known = {option for options in specs.values() for option in options}
    prefixes = tuple({f"{role}_" for role in specs} | {f"{option.partition('_')[0]}_" for option in known})
    unknown = sorted(name for name in set(names) - known - set(ignored) if name.startswith(prefixes))
    return [f"{name}: no such variable{suggestion(name, known)}" for name in unknown]


def suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    return f"; did you mean {close[0]}?" if close else ""


def invalid(specs: Mapping[str, Options], values: Mapping[str, Any], validate: Validate) -> list[str]:
    """A line for each of `values` that the specs refuse. The value of a `no_log` option is never quoted."""
    errors = []
    for options in specs.values():
        for name, option in options.items():
            given = {name: values[name]} if name in values else {}
            messages = validate({name: option}, given)
            if messages and option.get("no_log") and given:
                messages = [f"not a valid {option.get('type', 'str')} (the value is not shown: it is secret)"]
            errors += [f"{name}: {message}" for message in messages]
    return errors
