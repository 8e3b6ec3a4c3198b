# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DKIM keys (RFC 6376, RFC 8301, RFC 8463) that a host makes for itself with openssl(1), one per domain and selector.

A key is made once and never replaced: what other servers have in their caches must go on matching it. Beside each key
lies a file of what is public about it, which outlives the key.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .directory.errors import MissingLibrary
from .directory.names import domain_name

ALGORITHMS = ("rsa", "ed25519")
PUBLISHED, SIGNING, RETIRED = "published", "signing", "retired"
STATES = (PUBLISHED, SIGNING, RETIRED)
DEFAULT_BITS = 2048
SIZES = range(1024, 4097)  # bits; what every verifier takes (RFC 8301, section 3.2)
ED25519_BYTES = 32
NAME_LIMIT = 253

_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?)*")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----(.*?)-----END PUBLIC KEY-----", re.DOTALL)
_SIZE = re.compile(r"Public-Key: \((\d+) bit")

# Runs a program and returns its exit status, standard output and standard error.
Run = Callable[[Sequence[str]], tuple[int, str, str]]


class DkimKeyError(Exception):
    """What cannot be done, a line for each problem, each beginning with where it is."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Key:
    """A key that is wanted. Its state says what it is good for: to be looked up, to sign with, or neither any more."""

    domain: str
    selector: str
    algorithm: str = "rsa"
    bits: int = DEFAULT_BITS
    state: str = SIGNING

    @property
    def name(self) -> str:
        """Where the public key is looked up (RFC 6376, section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


@dataclass(frozen=True)
class Public:
    """What is public about a key. `digest` is that of the private key's file, so that another file is noticed."""

    algorithm: str
    bits: int
    key: str
    digest: str
    retired: bool = False

    @property
    def value(self) -> str:
        """The TXT record (RFC 6376, section 3.6.1)."""
        return f"v=DKIM1; h=sha256; k={self.algorithm}; p={self.key}"


@dataclass(frozen=True)
class Outcome:
    """What became of a key, or would: the actions, and what there is to publish once it is made."""

    key: Key
    path: str
    actions: tuple[str, ...]
    public: Public | None


def read_keys(text: str | Sequence[object], where: str = "keys") -> list[Key]:
    """Read the keys from their JSON text, or raise DkimKeyError with every mistake."""
    try:
        entries = json.loads(text) if isinstance(text, str) else text
    except ValueError as error:
        raise DkimKeyError([f"{where}: is not JSON: {error}"]) from None
    if not isinstance(entries, list | tuple):
        raise DkimKeyError([f"{where}: is not a list of keys"])
    keys: list[Key] = []
    problems: list[str] = []
    for number, entry in enumerate(entries):
        try:
            keys.append(read_key(entry, f"{where}[{number}]"))
        except DkimKeyError as error:
            problems += error.problems
    if not problems:
        problems += conflicts(keys, where)
    if problems:
        raise DkimKeyError(problems)
    return keys


def read_key(entry: object, where: str) -> Key:
    """Read one key; DkimKeyError says where each mistake is."""
    if not isinstance(entry, Mapping):
        raise DkimKeyError([f"{where}: is not a mapping of domain, selector, algorithm, bits and state"])
    unknown = sorted(str(field) for field in set(entry) - set(Key.__dataclass_fields__))
    problems = [f"{where}.{field}: no such field; there are {', '.join(Key.__dataclass_fields__)}" for field in unknown]
    read: dict[str, Any] = {}
    readers: dict[str, Callable[[object], object]] = {
        "domain": read_domain,
        "selector": read_selector,
        "algorithm": lambda value: one_of(ALGORITHMS, value),
        "bits": read_bits,
        "state": lambda value: one_of(STATES, value),
    }
    for field, reader in readers.items():
        if field in entry:
            try:
                read[field] = reader(entry[field])
            except (ValueError, MissingLibrary) as error:
                problems.append(f"{where}.{field}: {error}")
        elif field in ("domain", "selector"):
            problems.append(f"{where}.{field}: is missing")
    if not problems and len(Key(**read).name) > NAME_LIMIT:
        problems.append(f"{where}: {Key(**read).name} has more than {NAME_LIMIT} characters, the limit for a name")
    if problems:
        raise DkimKeyError(problems)
    return Key(**read)


def read_domain(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not text; a domain such as example.org is wanted")
    return domain_name(value)


def read_selector(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not text; quote it")
    selector = value.strip().lower()
    if _SELECTOR.fullmatch(selector) is None:
        raise ValueError(f"{value!r} cannot be a selector: letters, digits and inner hyphens, such as mail-2026")
    return selector


def read_bits(value: object) -> int:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value not in SIZES:
        raise ValueError(f"{value!r} is not a size between {SIZES[0]} and {SIZES[-1]}")
    return value


def one_of(choices: Sequence[str], value: object) -> str:
    if value not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(choices)}")
    return str(value)


def conflicts(keys: Sequence[Key], where: str) -> Iterator[str]:
    """A line for each key that is listed twice, or that signs where another of its algorithm does."""
    listed: dict[tuple[str, str], int] = {}
    signing: dict[tuple[str, str], int] = {}
    for number, key in enumerate(keys):
        first = listed.setdefault((key.domain, key.selector), number)
        if first != number:
            yield f"{where}[{number}]: {key.name} is {where}[{first}] already"
        elif key.state == SIGNING:
            other = signing.setdefault((key.domain, key.algorithm), number)
            if other != number:
                yield (
                    f"{where}[{number}].state: {keys[other].selector} ({where}[{other}]) signs for {key.domain} with"
                    f" {key.algorithm} already; one of them has to be {PUBLISHED} or {RETIRED}"
                )


def expand(domains: Iterable[str], selectors: Sequence[Mapping[str, Any]], own: Mapping[str, Any]) -> list[Key]:
    """Every domain's keys: those of `selectors`, or the domain's own; DkimKeyError says where each mistake is."""
    names: dict[str, None] = {}
    keys: list[Key] = []
    problems: list[str] = []
    for number, domain in enumerate(domains):
        try:
            names[read_domain(domain)] = None
        except (ValueError, MissingLibrary) as error:
            problems.append(f"domains[{number}]: {error}")
    lists: dict[str, tuple[str, object]] = {}
    for name, entries in own.items():
        try:
            lists[read_domain(name)] = (f"own[{name}]", entries)
        except (ValueError, MissingLibrary) as error:
            problems.append(f"own[{name}]: {error}")
    for domain in names:
        where, entries = lists.get(domain, ("selectors", selectors))
        if not isinstance(entries, list | tuple):
            problems.append(f"{where}: is not a list of selectors")
            continue
        named = [{**entry, "domain": domain} if isinstance(entry, Mapping) else entry for entry in entries]
        try:
            keys += read_keys(named, where)
        except DkimKeyError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    problems += [f"own[{name}]: {name} is not among the domains" for name in lists if name not in names]
    if problems:
        raise DkimKeyError(dict.fromkeys(problems))
    return keys


@dataclass(frozen=True)
class Attributes:
    """Who may read the private keys: root, and a group. None stands for a group that is not there yet."""

    uid: int
    gid: int | None

    def differ(self, path: Path, mode: int) -> bool:
        found = path.stat()
        return (found.st_mode & 0o7777, found.st_uid, found.st_gid) != (mode, self.uid, self.gid)

    def put(self, path: Path, mode: int) -> None:
        os.chown(path, self.uid, -1 if self.gid is None else self.gid)
        path.chmod(mode)


KEY_MODE, PUBLIC_MODE, FOLDER_MODE = 0o640, 0o640, 0o750


class Store:
    """The keys of a host: a folder with one folder per domain."""

    def __init__(self, folder: Path, attributes: Attributes, run: Run) -> None:
        self.folder = folder
        self.attributes = attributes
        self.run = run

    def private(self, key: Key) -> Path:
        return self.folder / key.domain / f"{key.selector}.private"

    def public(self, key: Key) -> Path:
        return self.folder / key.domain / f"{key.selector}.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep others from working in it."""
        self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def plan(self, key: Key, where: str) -> Outcome:
        """What is to be done about a key; DkimKeyError when that would break a rule. Changes nothing."""
        path = self.private(key)
        remembered = self.remembered(key, where)
        if not path.exists():
            return self._plan_without(key, where, remembered)
        public = self.described(key, where, remembered)
        if key.state == RETIRED:
            return Outcome(key, str(path), ("retire",), replace(public, retired=True))
        if public.retired:
            raise DkimKeyError([f"{where}: {key.name} was retired; choose another selector for a new key"])
        if public.algorithm != key.algorithm or (key.algorithm == "rsa" and public.bits != key.bits):
            wanted = f"rsa of {key.bits} bits" if key.algorithm == "rsa" else key.algorithm
            raise DkimKeyError(
                [
                    f"{where}: {path} is an {public.algorithm} key of {public.bits} bits, wanted is {wanted};"
                    " a key is never replaced, choose another selector for the new one"
                ]
            )
        actions = ("describe",) if public != remembered else ()
        return Outcome(key, str(path), actions + (("attributes",) if self.untidy(key) else ()), public)

    def _plan_without(self, key: Key, where: str, remembered: Public | None) -> Outcome:
        path = str(self.private(key))
        if key.state == RETIRED:
            return Outcome(key, path, (), remembered)
        if remembered is None:
            if key.algorithm == "rsa" and key.bits < DEFAULT_BITS:
                raise DkimKeyError([f"{where}.bits: {key.bits} is too few for a new key; {DEFAULT_BITS} is usual"])
            return Outcome(key, path, ("make",), None)
        if remembered.retired:
            raise DkimKeyError([f"{where}: {key.name} was retired; choose another selector for a new key"])
        raise DkimKeyError(
            [f"{where}: {path} is gone; put it back from a backup, or retire it and choose another selector"]
        )

    def remembered(self, key: Key, where: str) -> Public | None:
        """What the file beside the key says, if there is one."""
        path = self.public(key)
        try:
            return Public(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (TypeError, ValueError) as error:
            raise DkimKeyError([f"{where}: {path} is damaged ({error}); it is written anew once removed"]) from None

    def described(self, key: Key, where: str, remembered: Public | None) -> Public:
        """What is public about the key that is there; another one than is remembered is refused."""
        path = self.private(key)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if remembered is not None and remembered.digest == digest:
            return remembered
        public = replace(read_public(path, self.run, where), digest=digest)
        if remembered is not None and public.key != remembered.key:
            raise DkimKeyError(
                [
                    f"{where}: {path} is another key than the one that was published; put that one back from a backup,"
                    " or choose another selector for this one"
                ]
            )
        return public if remembered is None else replace(public, retired=remembered.retired)

    def untidy(self, key: Key) -> bool:
        path = self.private(key)
        wanted = ((path, KEY_MODE), (path.parent, FOLDER_MODE), (self.folder, FOLDER_MODE))
        beside = self.public(key)
        return any(self.attributes.differ(*pair) for pair in wanted) or (
            beside.exists() and self.attributes.differ(beside, PUBLIC_MODE)
        )

    def carry_out(self, outcome: Outcome, where: str) -> Outcome:
        """Do what was planned; returns it with what is public now."""
        key, public = outcome.key, outcome.public
        path = self.private(key)
        if "make" in outcome.actions:
            self.make(key, where)
            public = self.described(key, where, None)
        if outcome.actions:
            self.attributes.put(self.folder, FOLDER_MODE)
            if path.parent.exists():
                self.attributes.put(path.parent, FOLDER_MODE)
        if public is not None and {"make", "describe", "retire"} & set(outcome.actions):
            self.write(self.public(key), json.dumps(asdict(public), indent=2) + "\n")
        if "retire" in outcome.actions:
            path.unlink()
            flush(path.parent)
        elif outcome.actions:
            self.attributes.put(path, KEY_MODE)
            self.attributes.put(self.public(key), PUBLIC_MODE)
        return replace(outcome, public=public)

    def make(self, key: Key, where: str) -> None:
        """Put a new key in its place by rename, after it is on the disk. Nothing that is there is overwritten."""
        path = self.private(key)
        path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
        with new_folder(path.with_name(f".{path.name}.new")) as fresh:
            new = fresh / "key"
            status, _output, error = self.run(request(key, new))
            if status:
                raise DkimKeyError([f"{where}: openssl could not make a key: {error.strip()}"])
            self.attributes.put(new, KEY_MODE)
            flush(new)
            os.link(new, path)
        flush(path.parent)

    def write(self, path: Path, text: str) -> None:
        with new_folder(path.with_name(f".{path.name}.new")) as fresh:
            new = fresh / "public"
            new.write_text(text, encoding="utf-8")
            self.attributes.put(new, PUBLIC_MODE)
            flush(new)
            new.replace(path)
        flush(path.parent)


def request(key: Key, path: Path) -> list[str]:
    """The arguments of openssl-genpkey(1), which writes files with mode 0600."""
    rsa = ["-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{key.bits}"]
    chosen = rsa if key.algorithm == "rsa" else ["-algorithm", "ED25519"]
    return ["openssl", "genpkey", *chosen, "-out", str(path)]


def read_public(path: Path, run: Run, where: str) -> Public:
    """Ask openssl-pkey(1) what is public about a private key."""
    status, output, _error = run(["openssl", "pkey", "-in", str(path), "-pubout", "-text_pub"])
    found = _PEM.search(output)
    if status or not found:
        raise DkimKeyError([f"{where}: {path} is no private key that openssl can read without a passphrase"])
    encoded = "".join(found[1].split())
    if "ED25519 Public-Key" in output:
        raw = base64.b64decode(encoded)[-ED25519_BYTES:]
        return Public("ed25519", ED25519_BYTES * 8, base64.b64encode(raw).decode(), "")
    size = _SIZE.search(output)
    if not size or "Exponent" not in output:
        raise DkimKeyError([f"{where}: {path} is neither an RSA nor an Ed25519 key"])
    return Public("rsa", int(size[1]), encoded, "")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder that only its owner can enter, always of the same name: what a killed run left goes first."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def settle(keys: Sequence[Key], store: Store, *, change: bool) -> list[Outcome]:
    """Plan all keys first, so that a rule that one of them breaks stops everything; then, with `change`, do it."""
    outcomes = plan_all(keys, store)
    if not change or not any(outcome.actions for outcome in outcomes):
        return outcomes
    with store.locked():
        return [store.carry_out(outcome, f"keys[{number}]") for number, outcome in enumerate(plan_all(keys, store))]


def plan_all(keys: Sequence[Key], store: Store) -> list[Outcome]:
    outcomes: list[Outcome] = []
    problems: list[str] = []
    for number, key in enumerate(keys):
        try:
            outcomes.append(store.plan(key, f"keys[{number}]"))
        except DkimKeyError as error:
            problems += error.problems
    if problems:
        raise DkimKeyError(problems)
    return outcomes


def record(key: Key, public: Public) -> dict[str, str]:
    """What is to be published for a key."""
    return {
        "domain": key.domain,
        "selector": key.selector,
        "state": key.state,
        "name": key.name,
        "type": "TXT",
        "value": public.value,
    }


def lines(outcomes: Iterable[Outcome]) -> tuple[str, str]:
    """A diff before and after, with nothing in it of the keys themselves."""
    before, after = "", ""
    for outcome in outcomes:
        key = outcome.key
        line = f"{key.name} {key.algorithm}"
        if "make" in outcome.actions:
            after += f"{line} made\n"
        elif "retire" in outcome.actions:
            before += f"{line}\n"
        elif outcome.actions:
            before += f"{line}\n"
            after += f"{line} {' and '.join(outcome.actions)}\n"
    return before, after
