# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses in header fields, read so strictly that no mail program can read them as something else.

RFC 5322 allows comments, groups, quoted local parts, routes and white space nearly everywhere; programs disagree on
what they mean, and that disagreement is how a sender shows somebody else's address. Only what all of them read alike
is accepted: ``address`` and ``name <address>``, separated by commas.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import quopri
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

FIELD_LIMIT = 8192
IDEOGRAPHIC_FULL_STOP = "\u3002"

_ATEXT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~")
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_ENCODED_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=")
_BETWEEN_ENCODED_WORDS = re.compile(r"(?<=\?=)[ \t]+(?==\?)")
_ADDRESS_LIKE = re.compile(r"[^\s<>()\[\]\"',;:@]+@[^\s<>()\[\]\"',;:@]+")
_LETTERS = frozenset({"Ll", "Lu", "Lo", "Lm", "Mn", "Mc", "Nd"})
# Neither letters nor digits, and valid all the same (RFC 5892 section 2.6 and appendix A).
_IN_LABELS = frozenset("-\u00b7\u0375\u05f3\u05f4\u06fd\u06fe\u0f0b\u200c\u200d\u3007\u30fb")
_ROUTE = re.compile(r"\A@[^:]*:")
_QUOTED_LOCAL = re.compile(r'"((?:[^"\\]|\\.)*)"(@.*)')
_REASONS = {
    "(": "comments in parentheses are not accepted",
    ")": "comments in parentheses are not accepted",
    ":": "groups and routes are not accepted",
    ";": "groups are not accepted",
    "[": "address literals are not accepted",
    "]": "address literals are not accepted",
    "\\": "a backslash is accepted between quotation marks only",
}
_CHARSETS = frozenset(
    codecs.lookup(name).name
    for name in (
        *("ascii", "utf-8", "koi8-r", "koi8-u", "gb2312", "gbk", "gb18030", "big5", "euc-jp", "euc-kr"),
        *("iso-2022-jp", "iso-2022-kr", "shift_jis"),
        *(f"iso-8859-{number}" for number in range(1, 17) if number != 12),
        *(f"cp{number}" for number in (874, 932, 949, *range(1250, 1259))),
    )
)


class AddressError(ValueError):
    """The text is not what is accepted here; the message says why in words for the sender."""


@dataclass(frozen=True)
class Address:
    """A normalised address: lower case, the domain as A-labels (RFC 5890), without comments or quotes."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    def without_tag(self, delimiter: str) -> Address:
        """Return the address that ``local+tag@domain`` is filed under; a leading delimiter is no tag."""
        end = min((at for at in (self.local.find(mark, 1) for mark in delimiter) if at > 0), default=len(self.local))
        return Address(self.local[:end], self.domain)


@dataclass(frozen=True)
class Mailbox:
    """One author: the address and every reading of the name that a mail program may show."""

    address: Address
    names: tuple[str, ...] = ()


def parse_address(text: str) -> Address:
    """Read ``local@domain`` (a dot-atom and a host name, Unicode allowed in the latter).

    Raises :class:`AddressError`.
    """
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        raise AddressError("a complete address (name@domain) is needed")
    if any(character not in _ATEXT and character != "." for character in local):
        raise AddressError("the part before the @ may contain only letters, digits and !#$%&'*+-/=?^_`{|}~ and dots")
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise AddressError("a dot may not begin or end the part before the @, or follow another")
    if "=?" in local:
        raise AddressError("an encoded word cannot be part of an address")
    if len(local) > 64:
        raise AddressError("the part before the @ is longer than 64 characters")
    return Address(local.lower(), parse_domain(domain))


def parse_domain(text: str) -> str:
    """Return the domain as lower case A-labels; nothing is mapped but case and composition (RFC 5891 4.2)."""
    labels = [_a_label(label) for label in text.split(".")]
    domain = ".".join(labels)
    if len(domain) > 253 or not all(_LABEL.match(label) for label in labels):
        raise AddressError("the part after the @ is not a domain name")
    return domain


def _a_label(label: str) -> str:
    if label.isascii():
        return label.lower()
    if not all(c in _IN_LABELS or unicodedata.category(c) in _LETTERS for c in label):
        raise AddressError("the part after the @ is not a domain name")
    try:
        return "xn--" + unicodedata.normalize("NFC", label.lower()).encode("punycode").decode("ascii")
    except UnicodeError as error:
        raise AddressError("the part after the @ is not a domain name") from error


def parse_envelope(path: str) -> Address | None:
    """Read an envelope address as the mail server does: a route is ignored, quotation marks mean nothing.

    None when it has no domain, or cannot be in the directory.
    """
    bare = _ROUTE.sub("", path.strip().removeprefix("<").removesuffix(">"))
    if quoted := _QUOTED_LOCAL.fullmatch(bare):
        bare = re.sub(r"\\(.)", r"\1", quoted[1]) + quoted[2]
    try:
        return parse_address(bare)
    except AddressError:
        return None


def parse_mailboxes(value: bytes) -> tuple[Mailbox, ...]:
    """Read the value of a From field: one mailbox or several, separated by commas.

    Raises :class:`AddressError` for everything that is not plainly that.
    """
    text = _unfolded(value)
    mailboxes = []
    position = 0
    while True:
        mailbox, position = _mailbox(text, _skip_blanks(text, position))
        mailboxes.append(mailbox)
        position = _skip_blanks(text, position)
        if position == len(text):
            return tuple(mailboxes)
        if text[position] != ",":
            raise _unexpected(text, position)
        position += 1


def addresses_in_name(name: str) -> Iterator[str]:
    """Yield what a reader takes for an address in a display name, look-alikes and invisible characters undone."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    plain = plain.replace(IDEOGRAPHIC_FULL_STOP, ".")
    for found in _ADDRESS_LIKE.findall(plain):
        if "." in found.rpartition("@")[2].strip("."):
            yield found.strip(".")


def _unfolded(value: bytes) -> str:
    if len(value) > FIELD_LIMIT:
        raise AddressError("the field is too long")
    lines = value.replace(b"\r\n", b"\n").split(b"\n")
    if any(not line.startswith((b" ", b"\t")) for line in lines[1:]):
        raise AddressError("the field is not folded correctly")
    if len(lines) > 1 and any(not line.strip(b" \t") for line in lines[1:]):
        raise AddressError("the field contains an empty line")
    try:
        text = b"".join(lines).decode("utf-8")
    except UnicodeDecodeError as error:
        raise AddressError("the field is neither ASCII nor UTF-8") from error
    _refuse_control_characters(text)
    return text


def _refuse_control_characters(text: str) -> None:
    for character in text:
        if character != "\t" and (
            character in _BIDI or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp", "Cn", "Co")
        ):
            raise AddressError("control characters are not accepted")


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t":
        position += 1
    return position


def _mailbox(text: str, start: int) -> tuple[Mailbox, int]:
    """Read one mailbox that begins at ``start``; return it and the position behind it."""
    words: list[str] = []
    position = start
    while position < len(text):
        character = text[position]
        if character == '"':
            word, position = _quoted(text, position)
            words.append(word)
        elif character == "<":
            end = text.find(">", position)
            if end < 0:
                raise AddressError("a < has no matching >")
            return Mailbox(parse_address(text[position + 1 : end]), _readings(" ".join(words))), end + 1
        elif _is_word(character):
            word, position = _word(text, position)
            if word.startswith(".") and not words:
                raise AddressError("a name may not begin with a dot")
            if "@" in word:
                return Mailbox(_bare_address(text, position, word, words)), position
            words.append(word)
        else:
            raise _unexpected(text, position)
        if position < len(text) and (text[position] == '"' or _is_word(text[position])):
            raise AddressError("the words of a name need blanks between them")
        position = _skip_blanks(text, position)
    raise _unexpected(text, position)


def _word(text: str, start: int) -> tuple[str, int]:
    end = start
    while end < len(text) and (_is_word(text[end]) or text[end] == "@"):
        end += 1
    return text[start:end], end


def _bare_address(text: str, end: int, word: str, words: list[str]) -> Address:
    """Read an address that stands without < and >; nothing but the next mailbox may stand beside it."""
    if words:
        raise AddressError("an address beside a name needs < and >")
    if end < len(text) and text[end] not in " \t,":
        raise _unexpected(text, end)
    return parse_address(word)


def _is_word(character: str) -> bool:
    return character in _ATEXT or character == "." or not character.isascii()


def _quoted(text: str, start: int) -> tuple[str, int]:
    """Read a quoted string that begins at ``start``; return its content and the position behind it."""
    content: list[str] = []
    position = start + 1
    while position < len(text):
        character = text[position]
        if character == '"':
            if text[position + 1 : position + 2] in ("@", "."):
                raise AddressError("quotation marks around the part before the @ are not accepted")
            return "".join(content), position + 1
        if character == "\\":
            position += 1
            if position == len(text):
                break
            character = text[position]
        content.append(character)
        position += 1
    raise AddressError("a quotation mark has no partner")


def _unexpected(text: str, position: int) -> AddressError:
    if position == len(text):
        return AddressError("a complete address (name@domain) is needed")
    return AddressError(_REASONS.get(text[position], f"unexpected {text[position]!r}"))


def _readings(name: str) -> tuple[str, ...]:
    """Return the name as it stands and, when it has encoded words (RFC 2047), as mail programs decode it."""
    if not name:
        return ()
    decoded = decode_words(name)
    return (name,) if decoded == name else (name, decoded)


def decode_words(text: str) -> str:
    """Decode the encoded words in ``text``, between quotation marks too, as many programs do.

    Raises :class:`AddressError` for unknown character sets, hidden control characters, and encodings that are broken or
    hide another one.
    """
    text = _BETWEEN_ENCODED_WORDS.sub("", text)
    parts: list[str] = []
    pending: list[bytes] = []
    charset = ""
    position = 0

    def finish() -> None:
        if pending:
            parts.append(_decoded(b"".join(pending), charset))
            pending.clear()

    for word in _ENCODED_WORD.finditer(text):
        if word.start() > position or _charset(word[1]) != charset:
            finish()
        parts.append(text[position : word.start()])
        charset = _charset(word[1])
        pending.append(_encoded_bytes(word[2], word[3]))
        position = word.end()
    finish()
    parts.append(text[position:])
    result = "".join(parts)
    if "=?" in result:
        raise AddressError("a name is not encoded correctly")
    _refuse_control_characters(result)
    return result


def _charset(label: str) -> str:
    try:
        name = codecs.lookup(label.partition("*")[0]).name
    except (LookupError, ValueError) as error:
        raise AddressError("a name is encoded in an unknown character set") from error
    if name not in _CHARSETS:
        raise AddressError("a name is encoded in an unknown character set")
    return name


def _encoded_bytes(encoding: str, text: str) -> bytes:
    try:
        raw = text.encode("ascii")
        if encoding in "qQ":
            return quopri.decodestring(raw, header=True)
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise AddressError("a name is not encoded correctly") from error


def _decoded(raw: bytes, charset: str) -> str:
    try:
        return raw.decode(charset)
    except UnicodeDecodeError as error:
        raise AddressError("a name is not encoded correctly") from error
