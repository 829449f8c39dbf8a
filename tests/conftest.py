"""What every test may ask for: the event loop of production, foreign programs, and honest skips.

A test that needs something this machine lacks calls `missing`, or a fixture here does
it: the reason and the remedy are printed at the end of the run, and where CI is set
(`CI` or `OPENMCP_CI`) the test fails instead, because there nothing may be left out.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
IN_CI = bool(os.environ.get("CI") or os.environ.get("OPENMCP_CI"))


def pytest_configure() -> None:
    """Keep clients of the tests off a proxy of the machine: all they talk to is on loopback."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = "localhost,127.0.0.1,::1"


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on uvloop as production does; `OPENMCP_TEST_LOOP=asyncio` takes the plain loop."""
    if sys.platform == "win32" or os.environ.get("OPENMCP_TEST_LOOP") == "asyncio":
        return {"asyncio": asyncio.new_event_loop}
    import uvloop

    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where CI is set."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole file into a failure where CI is set."""
    report = yield
    if IN_CI and report.skipped:
        _fail(report)
    return report


def _fail(report: Any) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{reason}\nIn CI nothing is skipped."


def missing(what: str, remedy: str) -> NoReturn:
    """End the test because this machine lacks something; `remedy` says how to get it."""
    pytest.skip(f"{what} is missing; {remedy}")


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def mcp1_python() -> Path:
    """The interpreter that has the 1.x line of the MCP SDK; run client scripts with it."""
    python = ROOT / ".cache" / "mcp1" / "bin" / "python"
    if not python.exists():
        missing("The environment with the MCP SDK 1.x", "run `make setup`.")
    return python


@pytest.fixture(scope="session")
def conformance_command() -> list[str]:
    """The command of the official conformance suite, to be followed by its arguments."""
    modules = ROOT / ".cache" / "conformance" / "node_modules"
    suite = modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    if not suite.exists():
        missing("The conformance suite", "install npm and run `make conformance`.")
    return [_node(modules), str(suite)]


def _node(modules: Path) -> str:
    """A Node.js of at least 22, which the suite needs: the one installed beside it, else the machine's."""
    beside = sorted(modules.glob("node-*/bin/node"))
    node = str(beside[0]) if beside else shutil.which("node")
    if node is None:
        missing("Node.js", "install version 22 or newer.")
    version = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    if int(version.lstrip("v").split(".")[0]) < 22:
        missing("Node.js 22", f"{node} is {version.strip()}.")
    return node
