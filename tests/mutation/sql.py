# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every small way to break an SQL statement.

It works on tokens, not on a grammar: a token knows the group, parentheses or CASE ... END, that it stands in; within a
group a few keywords bound what belongs together. What comes out may be no SQL at all; that is for SQLite to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

TOKEN = re.compile(
    r"(?P<space>\s+|--[^\n]*)"
    r"|(?P<string>'(?:[^']|'')*')"
    r"|(?P<number>\d+)"
    r"|(?P<word>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)"
    r"|(?P<operator>\|\||<>|<=|>=|[-+*/=<>(),])"
)
SHOWN = 100
BOUNDS = frozenset(
    {"SELECT", "DISTINCT", "FROM", "WHERE", "ON", "WHEN", "THEN", "ELSE", "LEFT", "JOIN", "UNION", "ALL"}
    | {"AS", "WITH", "SET", "VALUES", ","}
)
CONSTRAINTS = frozenset({"CHECK", "CONSTRAINT", "FOREIGN", "PRIMARY", "UNIQUE"})
OPPOSITES = {
    "=": ("<>",),
    "<>": ("=",),
    "<": (">=", "<="),
    ">": ("<=", ">="),
    "<=": (">", "<"),
    ">=": ("<", ">"),
    "+": ("-",),
    "-": ("+",),
    "IN": ("NOT IN",),
    "BETWEEN": ("NOT BETWEEN",),
    "IS": ("IS NOT",),
    "IS NOT": ("IS",),
    "NOT": ("",),
    "DISTINCT": ("",),
    "LEFT JOIN": ("JOIN",),
    "TEXT": ("INTEGER",),
    "INTEGER": ("TEXT",),
    "STRICT": (None,),
    "ON DELETE CASCADE": ("",),
}


@dataclass(frozen=True)
class Token:
    """One word, literal or sign; `group` is the number of the group it stands in."""

    text: str
    kind: str
    start: int
    end: int
    group: int

    @property
    def word(self) -> str:
        """As keywords are written; a literal is no keyword."""
        return self.text.upper() if self.kind in ("word", "operator") else ""


@dataclass(frozen=True)
class Group:
    """What stands between parentheses or in CASE ... END, what is nested in it reduced to its first and last token."""

    before: tuple[str, ...]
    members: list[Token] = field(default_factory=list)


@dataclass(frozen=True)
class Mutant:
    """A statement that was changed in one place: where, and from what to what."""

    name: str
    line: int
    change: str
    sql: str

    def __str__(self) -> str:
        return f"{self.name}, line {self.line}: {self.change}"


class Statement:
    """A statement, and what may be broken in it."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.tokens: list[Token] = []
        self.groups: list[Group] = [Group(())]
        self._read()

    @property
    def name(self) -> str:
        """As `VIEW postfix_alias`."""
        words = [token.text for token in self.tokens[:4] if token.kind == "word"]
        return " ".join(words[1:3])

    def mutants(self) -> Iterator[Mutant]:
        """Each of them once."""
        seen = {self.sql}
        for start, end, instead in self._changes():
            sql = self.sql[:start] + instead + self.sql[end:]
            if sql not in seen:
                seen.add(sql)
                before, after = (" ".join(text.split()) for text in (self.sql[start:end], instead))
                change = f"{shortened(before)} -> {shortened(after)}" if after else f"without {shortened(before)}"
                yield Mutant(self.name, self.sql.strip().count("\n", 0, start) + 1, change, sql)

    def _read(self) -> None:
        position, open_groups = 0, [0]
        while position < len(self.sql):
            found = TOKEN.match(self.sql, position)
            if found is None:
                raise ValueError(f"not understood: {self.sql[position : position + 20]!r}")
            kind, text = str(found.lastgroup), found.group()
            word = text.upper() if kind != "string" else ""
            if kind != "space":
                if word in (")", "END"):
                    open_groups.pop()
                token = Token(text, kind, *found.span(), open_groups[-1])
                self.tokens.append(token)
                members = self.groups[token.group].members
                members.append(token)
                if word in ("(", "CASE"):
                    self.groups.append(Group(tuple(each.word for each in members[-3:])))
                    open_groups.append(len(self.groups) - 1)
            position = found.end()

    def _changes(self) -> Iterator[tuple[int, int, str]]:
        """From where to where, and what stands there instead."""
        yield from self._words()
        for group in self.groups:
            if group.before[-1:] == ("CASE",):
                yield from self._results(group)
            yield from self._branches(group)
            for segment in self._segments(group):
                yield from self._conditions(group, *segment)
                yield from self._selected(group, *segment)
            if group.before[-2:-1] in (("IN",), ("KEY",), ("UNIQUE",)):
                yield from self._elements(group)
        yield from self._columns()

    # Words, and literals

    def _words(self) -> Iterator[tuple[int, int, str]]:
        for index, token in enumerate(self.tokens):
            if token.kind == "string" and not self._unread(token):
                yield token.start, token.end, f"{token.text[:-1]}?'"
            elif token.kind == "number" and not self._unread(token):
                yield token.start, token.end, str(int(token.text) + 1)
                yield token.start, token.end, str(int(token.text) - 1)
            yield from self._opposites(index, token)
            joined = "||" in {each.text for each in self.tokens[max(0, index - 1) : index + 2]}
            if token.kind == "word" and joined and self.tokens[index + 1].text != "(":
                yield token.start, token.end, "''"

    def _opposites(self, index: int, token: Token) -> Iterator[tuple[int, int, str]]:
        for phrase, replacements in OPPOSITES.items():
            words = phrase.split()
            found = self.tokens[index : index + len(words)]
            if [each.word for each in found] != words or self._longer(index, words):
                continue
            if words == ["NOT"] and self._follows(index, "NULL", "IN", "BETWEEN"):
                continue
            for instead in replacements:
                if instead is None:
                    yield self._without_option(index, index)
                else:
                    yield token.start, found[-1].end, instead

    def _longer(self, index: int, words: list[str]) -> bool:
        """Whether they are part of a longer phrase."""
        return words == ["IS"] and self._follows(index, "NOT")

    def _follows(self, index: int, *words: str) -> bool:
        return index + 1 < len(self.tokens) and self.tokens[index + 1].word in words

    def _unread(self, token: Token) -> bool:
        """Whether it is selected where only the existence of a row counts."""
        group = self.groups[token.group]
        return group.before[-2:-1] == ("EXISTS",) and token in group.members[:2]

    # Conditions

    def _segments(self, group: Group) -> Iterator[tuple[str, list[Token]]]:
        """What the keywords of a group bound, each with the keyword before it."""
        before, members = "", list[Token]()
        for token in group.members:
            if token.word in BOUNDS and not (token.word == "ON" and self._follows(self.tokens.index(token), "DELETE")):
                yield before, members
                before, members = token.word, []
            else:
                members.append(token)
        yield before, members

    def _conditions(self, group: Group, before: str, members: list[Token]) -> Iterator[tuple[int, int, str]]:
        alternatives = split(members, "OR")
        simple = before == "WHEN" and group.members[0].word != "WHEN"
        whole = before in ("WHERE", "ON", "WHEN") and not simple
        for alternative in alternatives:
            operands = split(alternative, "AND")
            if len(operands) > 1 or (len(alternatives) == 1 and whole):
                for operand in operands:
                    yield from self._without(operand, "1")
            if len(alternatives) > 1:
                yield from self._without(alternative, "0")

    def _without(self, operand: Sequence[Token], neutral: str) -> Iterator[tuple[int, int, str]]:
        if operand:
            start, end = operand[0].start, operand[-1].end
            yield start, end, neutral
            if not any(token.word in OPPOSITES for token in operand):
                yield start, end, f"NOT ({self.sql[start:end]})"

    # SELECT, UNION, CASE, IN

    def _selected(self, group: Group, before: str, members: list[Token]) -> Iterator[tuple[int, int, str]]:
        if not members or group.before[-2:-1] == ("EXISTS",) or not self._in_select(group, members[0]):
            return
        if len(members) > 1 or (members[0].kind == "word" and before in ("SELECT", "DISTINCT", ",")):
            yield members[0].start, members[-1].end, "NULL"

    def _in_select(self, group: Group, token: Token) -> bool:
        """Whether the token stands between SELECT and FROM."""
        clause = ""
        for each in group.members:
            if each is token:
                return clause == "SELECT"
            if each.word in ("SELECT", "FROM", "WHERE", "ON"):
                clause = each.word
        return False

    def _branches(self, group: Group) -> Iterator[tuple[int, int, str]]:
        selects = [token for token in group.members if token.word == "SELECT"]
        unions = [token for token in group.members if token.word == "UNION"]
        if not unions:
            return
        start, end = group.members[0].start, group.members[-1].end
        yield start, end, re.sub(r"UNION(?! ALL)", "UNION ALL", self.sql[start:end])
        for index, select in enumerate(selects):
            if index < len(unions):
                yield select.start, selects[index + 1].start, ""
            else:
                yield unions[index - 1].start, end, ""

    def _results(self, group: Group) -> Iterator[tuple[int, int, str]]:
        """Neighbouring results of a CASE exchanged."""
        results = [members for before, members in self._segments(group) if before in ("THEN", "ELSE")]
        for one, other in pairwise(results):
            first, between, second = (
                self.sql[one[0].start : one[-1].end],
                self.sql[one[-1].end : other[0].start],
                self.sql[other[0].start : other[-1].end],
            )
            yield one[0].start, other[-1].end, f"{second}{between}{first}"

    def _elements(self, group: Group) -> Iterator[tuple[int, int, str]]:
        """A list without one of its elements."""
        elements = [members for _before, members in self._segments(group)]
        if len(elements) > 1 and group.members[0].word != "SELECT":
            for index in range(len(elements)):
                yield self._item(elements, index)

    @staticmethod
    def _item(items: Sequence[Sequence[Token]], index: int) -> tuple[int, int, str]:
        """A list without an item and its comma."""
        if index == 0:
            return items[0][0].start, items[1][0].start, ""
        return items[index - 1][-1].end, items[index][-1].end, ""

    # Columns and constraints of a table

    def _columns(self) -> Iterator[tuple[int, int, str]]:
        yield self.tokens[0].start, self.tokens[-1].end, "SELECT 1"
        if [token.word for token in self.tokens[:2]] != ["CREATE", "TABLE"]:
            return
        items = list(split(self.groups[1].members, ","))
        for index, item in enumerate(items):
            if item[0].word in CONSTRAINTS:
                start, end, instead = self._item(items, index)
                yield from self._clause(start, end, instead, item[0].word)
            else:
                yield from self._column(item)

    def _column(self, item: Sequence[Token]) -> Iterator[tuple[int, int, str]]:
        words = [token.word for token in item]
        for index, word in enumerate(words):
            if words[index : index + 2] in (["NOT", "NULL"], ["PRIMARY", "KEY"]):
                yield from self._clause(item[index].start, item[index + 1].end, "", word)
            elif word == "CHECK":
                yield item[index].start, item[index + 2].end, ""
            elif word == "UNIQUE":
                yield item[index].start, item[index].end, ""
            elif word == "DEFAULT":
                yield item[index].start, item[index + 1].end, ""
            elif word == "REFERENCES":
                yield item[index].start, item[-1].end, ""

    def _clause(self, start: int, end: int, instead: str, word: str) -> Iterator[tuple[int, int, str]]:
        """A table WITHOUT ROWID, which says how rows are stored and not which, must have a primary key."""
        options = [token for token in self.tokens if token.word == "WITHOUT"]
        if word == "PRIMARY" and options:
            index = self.tokens.index(options[0])
            option = self._without_option(index, index + 1)
            last = self.sql[end : option[0]] + option[2] + self.sql[option[1] :]
            yield start, len(self.sql), instead + last
        else:
            yield start, end, instead

    def _without_option(self, first: int, last: int) -> tuple[int, int, str]:
        """Without a table's option and its comma."""
        if self.tokens[first - 1].text == ",":
            return self.tokens[first - 1].start, self.tokens[last].end, ""
        if last + 1 < len(self.tokens):
            return self.tokens[first].start, self.tokens[last + 1].end, ""
        return self.tokens[first].start, self.tokens[last].end, ""


def shortened(text: str) -> str:
    """So much of a text that one recognises it."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 20]} ... {text[-15:]}"


def split(members: Sequence[Token], word: str) -> list[list[Token]]:
    """The parts between a word; the AND of BETWEEN ... AND divides nothing."""
    parts: list[list[Token]] = [[]]
    between = False
    for token in members:
        if token.word == word and not (between and word == "AND"):
            parts.append([])
            continue
        between = token.word == "BETWEEN" or (between and token.word != "AND")
        parts[-1].append(token)
    return parts
