"""What the conformance tests share: the suite's own view of the reference server, without anything in between."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.suite import Run, run_suite
from tests.support.servers import reference_server

Judge = Callable[[str, str], Run]


@pytest.fixture(scope="session")
def judge(conformance_command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Run the suite for a revision against a URL."""

    def run(url: str, revision: str) -> Run:
        return run_suite(conformance_command, url, revision, folder=tmp_path_factory.mktemp("suite"))

    return run


@pytest.fixture(scope="session")
def direct(judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """What the suite says of the reference server itself; each revision is asked once."""
    known: dict[str, Run] = {}
    folder: Path = tmp_path_factory.mktemp("direct")

    def run(revision: str) -> Run:
        if revision not in known:
            with reference_server("direct", folder=folder) as backend:
                known[revision] = judge(backend.url, revision)
        return known[revision]

    return run
