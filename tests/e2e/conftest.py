"""The deployment under test, and the people who use it.

POSTOFFICE_HOST=build/full.json pytest tests/e2e
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mailtest.deployment import Deployment, Person, Shell
from mailtest.elsewhere import Elsewhere
from mailtest.features import FEATURES, missing
from mailtest.imap import Mailbox
from mailtest.internet import Internet
from mailtest.mail import MailProgram, Outside
from mailtest.waiting import wait_for

DEPLOYMENT = pytest.StashKey[Deployment]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(feature, ...): deselected where the deployment lacks one of them")
    config.addinivalue_line("markers", "last: looks back at what the other tests did")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    described = os.environ.get("POSTOFFICE_HOST")
    if not described:
        raise pytest.UsageError("POSTOFFICE_HOST must name the description of a deployed host, such as build/full.json")
    deployment = config.stash[DEPLOYMENT] = Deployment.load(Path(described))
    chosen: list[pytest.Item] = []
    deselected: list[pytest.Item] = []
    for item in items:
        needs = {need for mark in item.iter_markers("needs") for need in mark.args}
        unknown = needs - FEATURES.keys()
        if unknown:
            raise pytest.UsageError(f"{item.nodeid} needs unknown features: {', '.join(sorted(unknown))}")
        (deselected if missing(deployment, needs) else chosen).append(item)
    config.hook.pytest_deselected(items=deselected)
    items[:] = sorted(chosen, key=lambda item: item.get_closest_marker("last") is not None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of `service` run over both ways to submit."""
    if "service" in metafunc.fixturenames:
        metafunc.parametrize("service", ["submissions", "submission"])


@pytest.fixture(scope="session")
def deployment(pytestconfig: pytest.Config) -> Deployment:
    return pytestconfig.stash[DEPLOYMENT]


@pytest.fixture(scope="session")
def host(deployment: Deployment) -> Shell:
    """Root's shell on the mail host."""
    return deployment.shell


@pytest.fixture(scope="session")
def person(deployment: Deployment) -> Callable[[str], Person]:
    """Somebody with an account, by address."""
    return lambda address: deployment.people[address]


@pytest.fixture(scope="session")
def alice(person: Callable[[str], Person]) -> Person:
    return person("alice@example.org")


@pytest.fixture(scope="session")
def bob(person: Callable[[str], Person]) -> Person:
    return person("bob@example.org")


@pytest.fixture(scope="session")
def outside(deployment: Deployment) -> Outside:
    """Some other mail server, which delivers on port 25."""
    return Outside(deployment)


@pytest.fixture(scope="session")
def mail_program(deployment: Deployment) -> Callable[..., MailProgram]:
    """Somebody's mail program: `mail_program(alice)`, `mail_program(alice, "submission")`."""
    return lambda person, service="submissions": MailProgram(deployment, person, service)


@pytest.fixture(scope="session")
def mailbox(deployment: Deployment, person: Callable[[str], Person]) -> Iterator[Callable[[str], Mailbox]]:
    """Somebody's mail over IMAPS, by address; one connection for all tests."""
    opened: dict[str, Mailbox] = {}

    def open_once(address: str) -> Mailbox:
        if address not in opened:
            opened[address] = Mailbox(deployment.port("imaps"), person(address))
        return opened[address]

    yield open_once
    for each in opened.values():
        each.close()


@pytest.fixture(scope="session")
def elsewhere(deployment: Deployment) -> Elsewhere:
    """The other mail server of the test network, where outgoing mail ends."""
    return Elsewhere(deployment.description["elsewhere"])


@pytest.fixture(scope="session")
def internet(deployment: Deployment) -> Internet:
    """Everybody else: other senders, other servers, the DNS."""
    return Internet(deployment)


@pytest.fixture
def delivered(host: Shell) -> Callable[[], None]:
    """Wait until the host has nothing more to deliver: what has not arrived by then never will."""

    def settle() -> None:
        wait_for(lambda: host.output("postqueue", "-j") == "", "an empty queue", 30)

    return settle
