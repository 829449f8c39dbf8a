"""The official conformance suite says the same of the gateway as of the server behind it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance.conftest import Judge
from tests.conformance.suite import SCENARIOS, Run
from tests.support.gateway import Gateway, allow_everything, running_gateway, server
from tests.support.servers import reference_server

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

REVISIONS = list(SCENARIOS)

# The tasks extension is never scored, and the SDK's servers do not have it.
UNSCORED = "tasks-"

# With two replicas the call that changes the list reaches one and the listener may sit on the
# other: servers share such events over a bus of their own, which the reference server has not.
NEEDS_A_BUS = {
    "sep-2575-server-sends-prompts-list-changed-on-subscription",
    "sep-2575-server-sends-tools-list-changed-on-subscription",
}

SHARED_KEY = "a key that all replicas know, of 32+ characters"

# How many replicas stand behind the gateway, and whether they can open each other's `requestState`.
UPSTREAMS = {"one": (1, None), "two-sharing-state": (2, SHARED_KEY), "two-on-their-own": (2, None)}


@pytest.fixture(scope="module", params=UPSTREAMS)
def upstream(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def gateway(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    count, key = UPSTREAMS[upstream]
    folder: Path = tmp_path_factory.mktemp("gateway")
    with ExitStack() as stack:
        backends = [stack.enter_context(reference_server(name, folder=folder, state_key=key)) for name in "ab"[:count]]
        documents = [server("reference", [backend.url for backend in backends]), allow_everything()]
        yield stack.enter_context(running_gateway(documents, folder=folder))


@pytest.mark.parametrize("revision", REVISIONS)
def test_reference_server_itself_passes(direct: Callable[[str], Run], revision: str) -> None:
    run = direct(revision)
    assert run.exit_code == 0, run.output
    assert len(run.ticks) == SCENARIOS[revision]
    assert {scenario for scenario in run.crossed() if not scenario.startswith(UNSCORED)} == set(), run.output


@pytest.mark.parametrize("revision", REVISIONS)
def test_gateway_is_judged_as_the_server_behind_it(
    direct: Callable[[str], Run], judge: Judge, gateway: Gateway, upstream: str, *, revision: str
) -> None:
    expected, found = direct(revision), judge(gateway.url("reference"), revision)

    assert found.exit_code == expected.exit_code, found.output
    assert found.ticks == expected.ticks, found.output
    forgiven = NEEDS_A_BUS if UPSTREAMS[upstream][0] > 1 else set[str]()
    assert _scored(found, forgiven) == _scored(expected, forgiven)


def _scored(run: Run, forgiven: set[str]) -> dict[tuple[str, str], list[str]]:
    """The status of every check that counts; a check that was silently not made is missing here."""
    return {
        (scenario, check): list(statuses)
        for scenario, checks in run.checks.items()
        for check, statuses in checks.items()
        if not scenario.startswith(UNSCORED) and check not in forgiven
    }
