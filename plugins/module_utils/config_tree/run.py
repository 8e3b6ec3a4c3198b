# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: stage, check, keep the old tree, swap, reload, probe; on failure put the old tree back and reload."""

from __future__ import annotations

import contextlib
import math
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from .diff import describe
from .errors import ConfigTreeError
from .host import Host, Outcome
from .plan import Change, Plan, Sight, make_plan, touches_systemd
from .report import failure, shorten, told
from .request import Request
from .scrub import Scrubber
from .state import STATE_ROOT, Kept, Pending, State, Store, Telling, Written, kept_as
from .units import Lack, lacks, remedies, show

CHECK_SECONDS = 120
ACTION_SECONDS = 180
LOCK_SECONDS = 120
JOURNAL_SECONDS = 10
SETTLE_SECONDS = 0.5
_POLL_SECONDS = 0.25
_NOT_INSTALLED = 127
_STOPPED = {"inactive", "failed"}  # states of a unit without processes
_FORESEEN = "foreseen"  # no fingerprint is like this


@dataclass(frozen=True)
class Result:
    """What the task returns."""

    changed: bool = False
    pending: bool = False
    files: tuple[dict[str, str], ...] = ()
    diff: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class _SwapError(ConfigTreeError):
    """A step after the swap failed; the message is complete but for what happens to the old tree."""


@dataclass
class _Situation:
    """What a run found: the memory of earlier runs, the plan, what is watched, and what its units lack."""

    state: State
    pending: Pending | None
    plan: Plan
    watch: dict[str, str]
    lacks: tuple[Lack, ...] = ()
    warnings: list[str] = field(default_factory=list)

    @property
    def watch_changed(self) -> list[str]:
        before = self.state.watch or {}
        return [path for path, print_ in self.watch.items() if before.get(path) != print_]

    @property
    def changed(self) -> bool:
        return bool(self.plan.changes or self.pending or self.watch_changed)


def apply(request: Request, host: Host, check_mode: bool = False, state_root: str = STATE_ROOT) -> Result:
    """Bring the host to what the request asks for, or leave it as it was and raise ConfigTreeError."""
    store = Store(host, request.name, state_root)
    run = _Run(request, host, store)
    try:
        if check_mode:
            return run.predict()
        store.create()
        with host.lock(store.lock_file, LOCK_SECONDS):
            return run.carry_out()
    except OSError as error:
        raise ConfigTreeError(f"{error}; the host is as it was, or the next run finishes what was begun") from None


def reread(name: str, host: Host, state_root: str = STATE_ROOT) -> tuple[str, ...]:
    """Tell a daemon of those of its watched files that another program has changed since its last reload.

    Returns their paths, of which there may be none. The daemon has answered when this returns, and the next run finds
    nothing to tell. Raises ConfigTreeError with what the daemon said; then the next run, or the next call, tells again.
    """
    store = Store(host, name, state_root)
    store.verify()
    with host.lock(store.lock_file, LOCK_SECONDS):
        telling = store.load().telling
        request = Request(
            name,
            (),
            watch_restart=telling.watch_restart,
            check=telling.check,
            reload=telling.reload,
            restart=telling.restart,
            probe=telling.probe,
            probe_timeout=telling.probe_timeout,
        )
        return _Run(request, host, store).reread()


class _Run:
    def __init__(self, request: Request, host: Host, store: Store) -> None:
        self.request = request
        self.host = host
        self.store = store
        self.scrubber = Scrubber(request.items)

    def predict(self) -> Result:
        if self.store.exists():
            self.store.verify()
        situation = self._look(check_mode=True)
        if situation.changed:
            self._check(situation, check_mode=True)
        return self._result(situation)

    def carry_out(self) -> Result:
        situation = self._look(check_mode=False)
        if situation.changed:
            self._check(situation, check_mode=False)
            with self.host.unhurried():
                self._swap_or_put_back(situation, self._keep(situation))
        else:
            self._remember(situation)
        if situation.lacks:
            self._start(situation)
        return self._result(situation)

    def reread(self) -> tuple[str, ...]:
        state = self.store.load()
        if self.store.load_pending():
            raise ConfigTreeError(f"{self.request.name}: an earlier run was interrupted; run the playbook again")
        watch = {path: self.host.fingerprint(path) for path in state.watch or {}}
        situation = _Situation(state, None, Plan(), watch)
        if situation.watch_changed:
            if not self.request.reload:
                raise ConfigTreeError(f"{self.request.name}: it is not known how it is told; run the playbook again")
            self._check(situation, check_mode=False)
            began = self.host.now()
            pending = self._pending(situation, ())
            may_linger = self._may_linger(pending)
            self._act(pending, situation, began)
            self._probe(situation, began, again=may_linger)
            self.store.save(replace(state, watch=watch))
        return tuple(situation.watch_changed)

    # Look

    def _look(self, check_mode: bool) -> _Situation:
        state, pending = self.store.load(), self.store.load_pending()
        if pending:
            state = self._with_written(state, pending)
        leftovers = {beside(entry.path) for entry in pending.kept} if pending else set()
        sight = Sight(self.host.look, lambda folder: self._names(folder, leftovers), self.host.uid, self.host.gid)
        claimed = self.store.claimed_by_others() if self._may_remove(state) else {}
        plan = make_plan(self.request.items, state, sight, claimed, check_mode)
        watched = (*self.request.watch, *self.request.watch_restart)
        watch = {path: self.host.fingerprint(path) for path in watched}
        if check_mode:
            watch |= dict.fromkeys(set(watched) & set(self.request.watch_foreseen), _FORESEEN)
        return _Situation(state, pending, plan, watch, self._lacks(), list(plan.warnings))

    def _lacks(self) -> tuple[Lack, ...]:
        if not self.request.units:
            return ()
        outcome = self._run(show(self.request.units), ACTION_SECONDS)
        return lacks(self.request.units, "" if outcome.failed else outcome.output)

    def _names(self, folder: str, leftovers: set[str]) -> list[str]:
        return [name for name in self.host.names(folder) if posixpath.join(folder, name) not in leftovers]

    def _may_remove(self, state: State) -> bool:
        return not set(state.files) <= {item.path for item in self.request.items}

    def _with_written(self, state: State, pending: Pending) -> State:
        """The memory as if the unfinished swap's writes had been recorded; those it did not come to are left out."""
        kept = {entry.path: entry for entry in pending.kept}
        written = {path: mark for path, mark in pending.writes.items() if not self._is_as_kept(kept[path])}
        return replace(
            state, files={**state.files, **written}, folders=tuple(dict.fromkeys((*state.folders, *pending.folders)))
        )

    def _is_as_kept(self, kept: Kept) -> bool:
        found = self.host.look(kept.path)
        if kept.kind == "absent" or found is None:
            return kept.kind == "absent" and found is None
        if kept.kind == "directory":
            return False
        return found == self.host.look(kept.store)

    def _remember(self, situation: _Situation) -> None:
        """Record what needs no reload: marks of files that were changed in the request only."""
        self.store.tidy()
        state = self._next_state(situation)
        if state != self.store.load():
            self.store.save(state)

    def _next_state(self, situation: _Situation) -> State:
        items = {item.path: item for item in self.request.items if item.kind == "file"}
        ours = {change.path for change in situation.plan.files} | set(situation.state.files)
        created = {change.path for change in situation.plan.folders if change.action == "created"}
        folders = (created | set(situation.state.folders)) - {change.path for change in situation.plan.removals}
        return State(
            files={path: Written(items[path].restart, items[path].secret) for path in sorted(ours & set(items))},
            folders=tuple(sorted(path for path in folders if self.host.look(path))),
            watch=situation.watch,
            telling=self._telling(),
        )

    def _telling(self) -> Telling:
        asked = self.request
        return Telling(asked.check, asked.reload, asked.restart, asked.watch_restart, asked.probe, asked.probe_timeout)

    # Check

    def _check(self, situation: _Situation, check_mode: bool) -> None:
        if not self.request.check:
            return
        changes = situation.plan.changes
        try:
            outcomes = self._run_checks(changes)
        except ConfigTreeError as error:
            if not check_mode:
                raise
            situation.warnings.append(str(error))
            return
        for outcome in outcomes:
            if not outcome.failed:
                continue
            message = self._failure(f"The check of {self.request.name} failed, nothing was changed", outcome, situation)
            if not (check_mode and self._may_be_too_early(outcome, situation)):
                raise ConfigTreeError(message)
            situation.warnings.append(
                f"{message}\nThis is a warning only: the host lacks what earlier tasks of a real run install first."
            )

    def _run_checks(self, changes: Sequence[Change]) -> list[Outcome]:
        if not changes:
            return self._run_in_turn()
        paths = [change.path for change in changes]
        outcomes = self.host.run_in_view(paths, lambda: self._stage(changes), self.request.check, CHECK_SECONDS)
        return [self._cleaned(outcome) for outcome in outcomes]

    def _run_in_turn(self) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for argv in self.request.check:
            outcomes.append(self._run(argv, CHECK_SECONDS))
            if outcomes[-1].failed:
                break
        return outcomes

    def _stage(self, changes: Sequence[Change]) -> None:
        writes = [change for change in changes if change.item]
        self._write(writes)
        self._remove([change for change in changes if not change.item])

    def _may_be_too_early(self, outcome: Outcome, situation: _Situation) -> bool:
        """Whether a failed check in check mode can come from what is not installed or made yet."""
        never_deployed = situation.state.watch is None
        to_be_installed = self.request.missing_packages or outcome.status == _NOT_INSTALLED
        watched_is_to_come = {"", _FORESEEN} & set(situation.watch.values())
        return bool(never_deployed or to_be_installed or watched_is_to_come or situation.plan.warnings)

    # Swap

    def _swap_or_put_back(self, situation: _Situation, pending: Pending) -> None:
        began = self.host.now()
        may_linger = self._may_linger(pending)
        try:
            self._swap(situation, pending)
            self._probe(situation, began, again=may_linger)
            self.store.save(self._next_state(situation))
        except _SwapError as error:
            self._put_back(pending, str(error))
        except OSError as error:
            self._put_back(pending, f"Writing failed: {error}")
        self.store.clear_pending()

    def _keep(self, situation: _Situation) -> Pending:
        """Keep what is there now, then leave the mark that a swap has begun."""
        earlier = situation.pending
        kept = list(earlier.kept if earlier else ())
        if earlier is None:
            self.store.tidy()
        for entry in kept:
            self.host.remove(beside(entry.path))
        self.store.make_old()
        known = {entry.path for entry in kept}
        for change in situation.plan.changes:
            if change.path in known:
                continue
            entry = kept_as(change.before, change.path, posixpath.join(self.store.old, str(len(kept))))
            if entry.store:
                self.host.keep(change.path, entry.store)
            kept.append(entry)
        self.host.sync([self.store.old])
        pending = self._pending(situation, kept)
        self.store.save_pending(pending)
        return pending

    def _pending(self, situation: _Situation, kept: Sequence[Kept]) -> Pending:
        plan = situation.plan
        earlier = situation.pending or Pending((), {}, (), restart=False, daemon_reload=False)
        created = [change.path for change in plan.folders if change.action == "created"]
        restart_watch = set(self.request.watch_restart) & set(situation.watch_changed)
        return Pending(
            kept=tuple(kept),
            writes={**earlier.writes, **{change.path: _mark(change) for change in plan.files}},
            folders=tuple(dict.fromkeys((*earlier.folders, *created))),
            restart=earlier.restart or bool(restart_watch) or any(change.restart for change in plan.changes),
            daemon_reload=earlier.daemon_reload or touches_systemd(change.path for change in plan.changes),
        )

    def _swap(self, situation: _Situation, pending: Pending) -> None:
        plan = situation.plan
        self._write(plan.writes)
        began = self.host.now()
        if plan.writes or not plan.removals:
            self._act(pending, situation, began)
        if plan.removals:
            self._remove(plan.removals)
            self._act(pending, situation, began)

    def _write(self, writes: Sequence[Change]) -> None:
        """Make the folders, write each new file beside its place, and when all are there rename them."""
        for change in writes:
            with _naming(change.path):
                self._prepare(change)
        for change in writes:
            if not change.is_folder:
                with _naming(change.path):
                    self.host.rename(beside(change.path), change.path)
        self.host.sync(posixpath.dirname(change.path) for change in writes)

    def _prepare(self, change: Change) -> None:
        if change.item is None:
            return
        attributes = (change.item.mode, change.uid, change.gid)
        if change.item.content is not None:
            self.host.write(beside(change.path), change.item.content, *attributes, self.request.age)
        elif change.before is None:
            self.host.make_folder(change.path, *attributes)
        else:
            self.host.set_attributes(change.path, *attributes)

    def _remove(self, removals: Sequence[Change]) -> None:
        for change in removals:
            with _naming(change.path):
                if change.is_folder:
                    self.host.remove_folder(change.path)
                else:
                    self.host.remove(change.path)
        self.host.sync(posixpath.dirname(change.path) for change in removals)

    # Reload and probe

    def _act(self, pending: Pending, situation: _Situation, began: float) -> None:
        for argv in self._actions(pending):
            outcome = self._run(argv, ACTION_SECONDS)
            if outcome.failed:
                headline = f"{self.request.name} does not take the new configuration"
                raise _SwapError(self._failure(headline, outcome, situation, self._journal(began)))

    def _start(self, situation: _Situation) -> None:
        """Give units what they lack. The files are as wanted by now, and stay so when that fails."""
        began = self.host.now()
        for argv in remedies(situation.lacks):
            outcome = self._run(argv, ACTION_SECONDS)
            if outcome.failed:
                headline = f"{self.request.name} cannot be made to run, now and at boot"
                raise ConfigTreeError(self._failure(headline, outcome, situation, self._journal(began)))
        if not situation.changed:
            try:
                self._probe(situation, began, again=False)
            except _SwapError as error:
                raise ConfigTreeError(str(error)) from None

    def _may_linger(self, pending: Pending) -> bool:
        """Whether a daemon may go on answering with its old configuration once it was told of the new one.

        Many reload after they said they did. One that is restarted, or does not run yet, has nothing else.
        """
        if not self.request.probe or self._restarts(pending):
            return False
        units = self._units()
        if not units:
            return True
        states = self._run(("systemctl", "show", "--property=ActiveState", "--value", *units), ACTION_SECONDS)
        return states.failed or not set(states.output.split()) <= _STOPPED

    def _units(self) -> tuple[str, ...]:
        """The services that are told of a new configuration."""
        words = (*self.request.reload, *self.request.restart, *self.request.units)
        return tuple(dict.fromkeys(word for word in words if word.endswith(".service")))

    def _restarts(self, pending: Pending) -> bool:
        return pending.restart and self.request.restart != self.request.reload

    def _actions(self, pending: Pending) -> list[tuple[str, ...]]:
        action = self.request.restart if pending.restart else self.request.reload
        actions: list[tuple[str, ...]] = [("systemctl", "daemon-reload")] if pending.daemon_reload else []
        return [*actions, action] if action else actions

    def _probe(self, situation: _Situation, began: float, *, again: bool) -> None:
        """Probe until the daemon answers, and when that may have been the old configuration once more."""
        outcome = self._silence(self.request.probe_timeout)
        if outcome is None and again:
            self.host.wait(SETTLE_SECONDS)
            outcome = self._silence(self.request.probe_timeout)
        if outcome:
            headline = f"{self.request.name} does not answer with the new configuration"
            raise _SwapError(self._failure(headline, outcome, situation, self._journal(began)))

    def _silence(self, seconds: float) -> Outcome | None:
        """None when the daemon answers in time, else the last attempt that failed by itself."""
        if not self.request.probe:
            return None
        deadline = self.host.now() + seconds
        last: Outcome | None = None
        while True:
            outcome = self._run(self.request.probe, max(deadline - self.host.now(), 1))
            if not outcome.failed:
                return None
            if last is None or not outcome.timed_out:
                last = outcome
            if self.host.now() >= deadline:
                return last
            self.host.wait(_POLL_SECONDS)

    def _journal(self, began: float) -> str:
        """What the units that were told to reload have logged since then."""
        units = [unit.removesuffix(".service") for unit in self._units()]
        if not units:
            return ""
        since = math.ceil(self.host.now() - began) + 1
        names = [f"--unit={unit}{suffix}.service" for unit in units for suffix in ("", "@*")]
        argv = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=20", f"--since=-{since}s", *names]
        outcome = self._run(argv, JOURNAL_SECONDS)
        return "" if outcome.failed else outcome.output

    # Put back

    def _put_back(self, pending: Pending, why: str) -> NoReturn:
        """Restore the old tree and raise; when that fails too the mark stays for the next run."""
        trouble = self._restore_and_reload(pending)
        if trouble:
            ending = f"The old files could not be put to work again: {trouble}. Look at the host."
            raise ConfigTreeError(f"{why}\n{ending}")
        self.store.clear_pending()
        raise ConfigTreeError(f"{why}\nThe old files are back{self._state_with_old_files()}.")

    def _state_with_old_files(self) -> str:
        if not self.request.probe:
            return ""
        silence = self._silence(self.request.probe_timeout)
        return f", but {self.request.name} does not answer with them" if silence else f", {self.request.name} answers"

    def _restore_and_reload(self, pending: Pending) -> str:
        try:
            self._restore(pending)
        except OSError as error:
            return str(error)
        for argv in self._actions(pending):
            outcome = self._run(argv, ACTION_SECONDS)
            if outcome.failed:
                return f"{told(outcome)}, {shorten(outcome.output)}"
        return ""

    def _restore(self, pending: Pending) -> None:
        """Put every kept path back; can be repeated after an interruption."""
        by_path = sorted(pending.kept, key=lambda entry: entry.path)
        lasting = {item.path for item in self.request.items if item.last}
        for entry in by_path:
            if entry.kind == "directory":
                self._restore_folder(entry)
        for entry in sorted(by_path, key=lambda entry: entry.path in lasting):
            self.host.remove(beside(entry.path))
            if entry.store:
                self.host.keep(entry.store, beside(entry.path))
                self.host.rename(beside(entry.path), entry.path)
                # A rename between two links to the same file does nothing and leaves both.
                self.host.remove(beside(entry.path))
        for entry in reversed(by_path):
            if entry.kind == "absent" and entry.path in pending.folders:
                self.host.remove_folder(entry.path)
            elif entry.kind == "absent":
                self.host.remove(entry.path)
        self.host.sync(posixpath.dirname(entry.path) for entry in pending.kept)

    def _restore_folder(self, entry: Kept) -> None:
        if self.host.look(entry.path):
            self.host.set_attributes(entry.path, entry.mode, entry.uid, entry.gid)
        else:
            self.host.make_folder(entry.path, entry.mode, entry.uid, entry.gid)

    # Words

    def _run(self, argv: Sequence[str], timeout: float) -> Outcome:
        return self._cleaned(self.host.run(argv, timeout))

    def _cleaned(self, outcome: Outcome) -> Outcome:
        return replace(outcome, output=self.scrubber.clean(outcome.output))

    def _failure(self, headline: str, outcome: Outcome, situation: _Situation, journal: str = "") -> str:
        changed = [change.path for change in situation.plan.changes if not change.is_folder] or situation.watch_changed
        heard = replace(outcome, output="\n".join(text for text in (outcome.output, journal) if text))
        return failure(headline, heard, self.request.items, changed)

    def _result(self, situation: _Situation) -> Result:
        diff = [describe(change, self.host.owner_name, self.host.group_name) for change in situation.plan.changes]
        if situation.state.watch is not None:
            diff += [f"{path} is not what it was at the last reload\n" for path in situation.watch_changed]
        if situation.pending:
            diff.append(f"an earlier run was interrupted: {self.request.name} is reloaded and probed\n")
        diff += [f"{lack}\n" for lack in situation.lacks]
        return Result(
            changed=situation.changed or bool(situation.lacks),
            pending=situation.pending is not None,
            files=tuple({"path": change.path, "action": change.action} for change in situation.plan.changes),
            diff=tuple(diff),
            warnings=tuple(situation.warnings),
        )


def _mark(change: Change) -> Written:
    return Written(change.restart, bool(change.item and change.item.secret))


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Turn trouble with a file into an error that names the file as the user knows it."""
    try:
        yield
    except OSError as error:
        raise _SwapError(f"{path} cannot be written: {error.strerror or error}") from None


def beside(path: str) -> str:
    """Where a new file waits for its rename: the same folder, a name that no daemon's include pattern matches."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, f".{name}.config_tree")
