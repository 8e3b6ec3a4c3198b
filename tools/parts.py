# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the parts of the test suite, two at a time, and reports them as one.

A part is a few commands in a row: a static check, the unit tests, a scenario on real hosts. It ends with the first that
fails; then it says how to run it alone, and a scenario's hosts stay up for a look. Output goes to ``build/logs``,
results, as JUnit files, to ``build/results``, and from there into one closing report. Called by the Makefile, which
sets the environment that the tools need.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import yaml

CHECKOUT = Path(__file__).resolve().parent.parent
BUILD = CHECKOUT / "build"
LOGS = BUILD / "logs"
RESULTS = BUILD / "results"
MOLECULE = CHECKOUT / "molecule"
FARM = BUILD / "farm" / "ansible_collections" / "postoffice" / "mail"

SCENARIOS = ("debian12", "full", "default")
SUDO_TRIAL = ("podman", "--version")  # of what hosts need root for; harmless
SUDO_INTERVAL = 120.0  # seconds
SUITES = ("bookworm", "trixie")
# The tests of hosts take a quarter of an hour per release: `make test` runs each on one of them, `make test-host` all.
BRIEF_HOST_TESTS = {
    "debian12": ("clamav", "config_tree", "daemons", "filters", "served_certificates"),
    "full": (
        "certificate",
        "directory",
        "dkim",
        "dns",
        "letsencrypt",
        "ownership",
        "reports",
        "resolver",
        "spamassassin",
    ),
}
HOUSEKEEPING = {"clean up", "forget", "remove"}  # steps that need no announcement
MOLECULE_STEP = re.compile(r"\[\w+ > (?P<step>(?!discovery|destroy)\w+)\] Executing")


@dataclass(frozen=True)
class Step:
    """One command of a part; `junit` when it writes results of its own to the path given as `{junit}`."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = CHECKOUT


@dataclass(frozen=True)
class Part:
    """Commands that run one after the other, how somebody runs them alone, and whether they boot hosts."""

    name: str
    steps: Sequence[Step]
    alone: str
    left: str = ""
    hosts: bool = False


def programs() -> list[Path]:
    """Folders of roles that hold programs of ours in Python."""
    return sorted({path.parent for path in CHECKOUT.glob("roles/*/files/*") if is_python(path)})


def is_python(path: Path) -> bool:
    """Whether it is Python, by its name, as a package, or by its first line."""
    if path.is_dir():
        return (path / "__init__.py").exists()
    with path.open("rb") as file:
        return path.suffix == ".py" or b"python" in file.readline(80)


def typing() -> list[Step]:
    """mypy over the library, our tools, the end-to-end tests, and the programs of each role with what they import."""
    library = "ansible_collections.postoffice.mail.plugins"
    steps = [Step("mypy plugins", ["mypy", "--package", library]), Step("mypy tools", ["mypy", "tools"])]
    steps.append(Step("mypy tests/runs", ["mypy", "--package", "ansible_collections.postoffice.mail.tests.runs"]))
    steps.append(
        Step("mypy tests/mutation", ["mypy", "--package", "ansible_collections.postoffice.mail.tests.mutation"])
    )
    steps.append(Step("mypy tests/e2e", ["mypy", "tests/e2e"], {"MYPYPATH": f"{CHECKOUT}/tests/e2e:{BUILD}/farm"}))
    for folder in programs():
        names = [str(path.relative_to(CHECKOUT)) for path in sorted(folder.iterdir()) if is_python(path)]
        path = f"{folder}:{BUILD}/typing"
        steps.append(Step(f"mypy {folder.relative_to(CHECKOUT)}", ["mypy", *names], {"MYPYPATH": path}))
    return steps


def lint() -> list[Part]:
    python = sys.executable
    docs = ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "all", "."]
    checks: dict[str, list[Step]] = {
        "ruff": [Step("ruff check", ["ruff", "check", "."])],
        "format": [Step("ruff format", ["ruff", "format", "--check", "."])],
        "mypy": typing(),
        "yamllint": [Step("yamllint", ["yamllint", "--strict", "."])],
        "changelog": [Step("antsibull-changelog", ["antsibull-changelog", "lint"])],
        "references": [Step("references", [python, "tools/references.py", "--check"])],
        "specs": [Step("specs", [python, "tools/specs.py"])],
        "docs": [Step("antsibull-docs", docs, folder=FARM)],
        "ansible-lint": [Step("ansible-lint", ["ansible-lint", "--offline", "--profile", "production"], folder=FARM)],
        "sanity": [Step("ansible-test sanity", [python, "tools/sanity.py"])],
        "importer": [Step("galaxy-importer", [python, "tools/importer.py"])],
    }
    return [Part(f"lint:{name}", steps, f"make lint-{name}") for name, steps in checks.items()]


def pytest(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "--junitxml={junit}", *arguments]


def unit() -> Part:
    return Part("unit", [Step("unit", pytest("tests/unit"))], "make test-unit")


def runs(suite: str) -> Part:
    """Whole runs of playbooks on one Debian release, those that answer within minutes."""
    some = "not long"
    steps = [Step("runs", pytest("tests/runs", "-m", some, "-k", suite))]
    return Part(f"runs:{suite}", steps, f"make test-runs ARGS=\"-m '{some}' -k {suite}\"", hosts=True)


def scenario(name: str, *, brief: bool = False) -> Part:
    """One scenario, from nothing to nothing; `brief` leaves out the tests of hosts that another one runs.

    Its hosts are booted and removed here rather than by Molecule: what Ansible runs has no terminal on which sudo could
    ask for a password. Molecule then finds them there, once it has forgotten those of before.
    """
    described = {"POSTOFFICE_HOST": f"build/{name}.json"}
    hosts = [sys.executable, "tools/hosts.py"]
    remove, forget = [*hosts, "down", name], ["molecule", "reset", "--scenario-name", name]
    steps = [
        Step("clean up", remove),
        Step("forget", forget),
        Step("boot", [*hosts, "up", name, f"--suite={debian_release(name)}"]),
        Step("deploy", ["molecule", "test", "--scenario-name", name, "--destroy", "never"]),
        Step("e2e", pytest("tests/e2e"), described),
    ]
    if name != "default":  # which has the daemons of another one, with less set
        chosen_tests = [f"tests/host/test_{each}.py" for each in BRIEF_HOST_TESTS[name]] if brief else ["tests/host"]
        steps.append(Step("host", pytest(*chosen_tests), described))
    return Part(
        f"scenario:{name}",
        [*steps, Step("remove", remove), Step("forget", forget)],
        f"make test-host SCENARIO={name}",
        f"its host is still up: ssh -F build/ssh_config server.{name}; make test-host-down SCENARIO={name} removes it",
        hosts=True,
    )


def debian_release(name: str) -> str:
    """On which release a scenario's host runs."""
    declared = yaml.safe_load((MOLECULE / name / "molecule.yml").read_text(encoding="utf-8"))
    return str(declared["ansible"]["env"]["POSTOFFICE_SUITE"])


def chosen(names: Iterable[str]) -> list[Part]:
    """The parts of these names; a group's name stands for all of it. A long one first, then what answers quickly."""
    parts: list[Part] = []
    for name in names:
        scenarios = [scenario(each, brief=name == "all") for each in SCENARIOS]
        everything = [scenarios[0], *lint(), unit(), *scenarios[1:], *map(runs, SUITES)]
        found = [part for part in everything if name == "all" or part.name == name or part.name.split(":")[0] == name]
        if not found:
            sys.exit(f"parts: there is no {name}; there are {', '.join(part.name for part in everything)}")
        parts += found
    return parts


def write_result(path: Path, part: str, step: str, seconds: float, problem: str | None) -> None:
    """A JUnit file with one case, which failed when there was a problem."""
    case = ElementTree.Element("testcase", classname=part, name=step, time=f"{seconds:.3f}")
    if problem is not None:
        ElementTree.SubElement(case, "failure", message=f"{step} failed").text = problem
    suite = ElementTree.Element("testsuite", name=part)
    suite.append(case)
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def says_failure(path: Path) -> bool:
    """Whether a JUnit file is there and holds the failure that its program's exit status announced."""
    if not path.exists():
        return False
    tree = ElementTree.parse(path)
    return any(case.find("failure") is not None or case.find("error") is not None for case in tree.iter("testcase"))


def printable(text: str) -> str:
    """Without terminal colours and what XML cannot carry."""
    return re.sub(r"[^\t\n\x20-\uD7FF\uE000-\uFFFD]", "", re.sub(r"\x1b\[[0-9;]*m", "", text))


class Runner:
    """Runs parts and says what it is doing."""

    def __init__(self, *, show: bool) -> None:
        self.show = show
        self.start = time.monotonic()
        self.mutex = threading.Lock()
        self.colours = {"FORCE_COLOR": "1"} if show and sys.stdout.isatty() else {"NO_COLOR": "1"}

    def say(self, text: str) -> None:
        elapsed = int(time.monotonic() - self.start)
        with self.mutex:
            print(f"[{elapsed // 60:2}:{elapsed % 60:02}] {text}", flush=True)

    def run_step(self, part: Part, number: int, step: Step, log: Path) -> bool:
        junit = RESULTS / f"{part.name.replace(':', '-')}-{number}.xml"
        command = [word.format(junit=junit) if word.startswith("--junitxml") else word for word in step.command]
        begin = time.monotonic()
        lines: list[str] = []
        with (
            log.open("a", encoding="utf-8") as sink,
            subprocess.Popen(
                command,
                cwd=step.folder,
                env={**os.environ, **self.colours, **step.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            for line in process.stdout or ():
                lines.append(line)
                sink.write(line)
                sink.flush()
                if self.show:
                    print(line, end="", flush=True)
                elif progress := MOLECULE_STEP.search(printable(line)):
                    self.say(f"{part.name}: {progress['step']}")
        seconds = time.monotonic() - begin
        failed = process.returncode != 0
        if failed and says_failure(junit):
            return False
        if "--junitxml={junit}" not in step.command or failed:
            # A run of its own beside that of pytest: what ended it is not one of its tests.
            own = junit if not junit.exists() else junit.with_suffix(".end.xml")
            write_result(own, part.name, step.name, seconds, printable("".join(lines[-200:])) if failed else None)
        return not failed

    def run(self, part: Part) -> bool:
        """Runs one part; returns whether all went well."""
        log = LOGS / f"{part.name.replace(':', '-')}.log"
        log.unlink(missing_ok=True)
        begin = time.monotonic()
        for number, step in enumerate(part.steps, 1):
            if len(part.steps) > 1 and step.name not in HOUSEKEEPING and not part.name.startswith("lint"):
                self.say(f"{part.name}: {step.name} ...")
            if not self.run_step(part, number, step, log):
                self.say(f"{part.name}: FAILED in {step.name} after {time.monotonic() - begin:.0f} s")
                self.hint(part, log)
                return False
        self.say(f"{part.name}: passed in {time.monotonic() - begin:.0f} s")
        return True

    def hint(self, part: Part, log: Path) -> None:
        with self.mutex:
            if not self.show:
                last = log.read_text(encoding="utf-8").splitlines()[-15:]
                print("".join(f"        | {line}\n" for line in last), end="")
            for line in (f"alone: {part.alone}", f"log: {log.relative_to(CHECKOUT)}", part.left):
                print(f"        {line}" if line else "", flush=True)


def report() -> int:
    """All results as one pytest report, whose last line counts them."""
    plugin = "ansible_collections.postoffice.mail.tools.results"
    command = [sys.executable, "-m", "pytest", "--quiet", "-p", plugin, "--override-ini", "addopts=-ra", str(RESULTS)]
    with (
        (LOGS / "report.log").open("w", encoding="utf-8") as log,
        subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        for line in process.stdout or ():
            log.write(line)
            print(line, end="", flush=True)
    return process.returncode


@contextmanager
def sudo_answered(parts: Sequence[Part]) -> Iterator[None]:
    """Where hosts need sudo and it wants a password: asked for once, before anything is under way, and kept good."""
    if os.geteuid() == 0 or not any(part.hosts for part in parts):
        yield
        return
    if subprocess.run(["sudo", *SUDO_TRIAL], stdout=subprocess.DEVNULL, check=False).returncode != 0:
        sys.exit("parts: hosts are containers, which are started through sudo; it does not let you")
    ended = threading.Event()
    keeper = threading.Thread(target=keep_sudo_answered, args=(ended,))
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()


def keep_sudo_answered(ended: threading.Event) -> None:
    """sudo forgets within minutes, sooner than a scenario may need it again."""
    while not ended.wait(SUDO_INTERVAL):
        subprocess.run(
            ["sudo", "--non-interactive", *SUDO_TRIAL], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Run parts of the test suite.")
    parser.add_argument("parts", nargs="+", help="all, lint, lint:NAME, unit, scenario, scenario:NAME, runs, runs:NAME")
    parser.add_argument("--show", action="store_true", help="show the output while it comes; one part at a time")
    parser.add_argument("--jobs", type=int, default=2, help="how many parts to run at a time")
    arguments = parser.parse_args()
    parts = chosen(arguments.parts)
    LOGS.mkdir(parents=True, exist_ok=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for old in RESULTS.glob("*.xml"):
        old.unlink()
    runner = Runner(show=arguments.show)
    with sudo_answered(parts), ThreadPoolExecutor(1 if arguments.show else arguments.jobs) as pool:
        passed = list(pool.map(runner.run, parts))
    if len(parts) > 1:
        sys.exit(report())
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
