"""Who takes part in a run: starts each proxy on its core, proves that it answers rightly, and ends up with a target.

A contender that cannot be had or does not work stays in the list with the reason; it never yields a figure.
"""

import http.client
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from bench import client, messages, others, ours, upstream
from bench.install import Tools
from bench.others import Route
from bench.processes import Laboratory, free_port

PATHS = ("json", "sse")
VALIDATE_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Target:
    """One call to one address, ready to be repeated."""

    port: int
    path: str
    body: bytes
    fields: dict[str, str]


@dataclass
class Contender:
    """A running proxy, or the reason why there is none.

    `pid` is the root of its process tree; `refuses`: it has a policy, and must show that it is in force.
    """

    name: str
    pid: int = 0
    port: int = 0
    era: messages.Era = "legacy"
    key: str | None = messages.SOME_KEY
    own_sessions: bool = False
    refuses: bool = False
    fault: str | None = None
    targets: dict[str, Target] = field(default_factory=dict)


@dataclass(frozen=True)
class Upstream:
    """The server behind everyone: `port` for calls, `streams_port` for streams."""

    port: int
    streams_port: int
    pid: int

    def route(self) -> Route:
        return Route(free_port(), self.port, self.streams_port)


def start_upstream(laboratory: Laboratory, tools: Tools) -> Upstream:
    """nginx with the fixed answer, and the thinking program behind it, on the core of the load."""
    if tools.nginx is None:
        raise RuntimeError(f"no run without nginx: {tools.missing.get('nginx')}")
    port, thinking_port = free_port(), free_port()
    thinking = laboratory.start(
        "thinking", [sys.executable, "-m", "bench.upstream", str(thinking_port)], core=laboratory.load_core
    )
    laboratory.wait_for_port("thinking", thinking, thinking_port)
    config = laboratory.folder / "upstream.conf"
    config.write_text(
        upstream.nginx_config(laboratory.folder, port=port, thinking_port=thinking_port, user=others.nginx_user())
    )
    front = laboratory.start("upstream", _nginx_command(tools.nginx, config), core=laboratory.load_core)
    laboratory.wait_for_port("upstream", front, port)
    return Upstream(port, thinking_port, front.pid)


class Starter:
    """Starts contenders one by one; a failure becomes the contender's `fault`."""

    def __init__(self, laboratory: Laboratory, tools: Tools, behind: Upstream, *, gateway: str) -> None:
        self._laboratory = laboratory
        self._tools = tools
        self._behind = behind
        self._gateway = gateway

    def direct(self) -> Contender:
        """No proxy at all: what load and upstream can do together."""
        contender = Contender("direct", pid=self._behind.pid, port=self._behind.port)
        return _proved(contender)

    def nginx(self, *, log: bool = False) -> Contender:
        def command(route: Route) -> list[str]:
            config = self._write(f"nginx-{route.port}.conf", others.nginx(self._laboratory.folder, route, log=log))
            return _nginx_command(self._tools.nginx or "", config)

        return self._start("nginx + JSON log" if log else "nginx", self._tools.nginx, command, tool="nginx")

    def haproxy(self) -> Contender:
        def command(route: Route) -> list[str]:
            config = self._write(f"haproxy-{route.port}.cfg", others.haproxy(route))
            return [self._tools.haproxy or "", "-db", "-f", str(config)]

        return self._start("haproxy", self._tools.haproxy, command, tool="haproxy")

    def envoy(self, *, mcp: bool = False) -> Contender:
        def command(route: Route) -> list[str]:
            text = others.envoy(self._laboratory.folder, route, mcp=mcp)
            config = str(self._write(f"envoy-{route.port}.json", text))
            _validate([self._tools.envoy or "", "--mode", "validate", "-c", config])
            options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
            return [self._tools.envoy or "", "-c", config, *options]

        like = Contender("Envoy + mcp + RBAC + JSON log" if mcp else "Envoy", refuses=mcp)
        return self._start(like.name, self._tools.envoy, command, tool="envoy", like=like)

    def pass_through(self) -> Contender:
        """The modern era: anonymous agents, nothing kept between calls."""

        def text(route: Route) -> str:
            return ours.pass_through(self._laboratory.folder, route, admin_port=free_port())

        return self._openmcp(Contender("OpenMCP pass-through", era="modern", key=None), text)

    def full(self, era: messages.Era = "legacy") -> Contender:
        """Everything that works today; legacy calls travel in a stored session."""
        key = ours.new_key()

        def text(route: Route) -> str:
            return ours.full(self._laboratory.folder, route, admin_port=free_port(), key=key)

        name = "OpenMCP full" if era == "legacy" else "OpenMCP full, modern era"
        return self._openmcp(Contender(name, era=era, key=key, own_sessions=era == "legacy", refuses=True), text)

    def _openmcp(self, contender: Contender, text: Callable[[Route], str]) -> Contender:
        def command(route: Route) -> list[str]:
            config = str(self._write(f"openmcp-{route.port}.yaml", text(route)))
            _validate([self._gateway, "validate", config])
            return [self._gateway, "serve", "--config", config]

        there = self._gateway if Path(self._gateway).exists() else None
        return self._start(contender.name, there, command, tool=self._gateway, like=contender)

    def _start(
        self,
        name: str,
        program: str | None,
        command: Callable[[Route], Sequence[str]],
        *,
        tool: str,
        like: Contender | None = None,
    ) -> Contender:
        contender = like or Contender(name)
        if program is None:
            return replace(contender, fault=self._tools.missing.get(tool, f"{Path(tool).name} is not there"))
        route = self._behind.route()
        label = f"{Path(tool).name}-{route.port}"
        try:
            process = self._laboratory.start(label, command(route), core=self._laboratory.proxy_core)
            self._laboratory.wait_for_port(label, process, route.port)
        except RuntimeError as error:
            return replace(contender, fault=str(error))
        return _proved(replace(contender, pid=process.pid, port=route.port))

    def _write(self, name: str, text: str) -> Path:
        path = self._laboratory.folder / name
        path.write_text(text)
        return path


def _proved(contender: Contender) -> Contender:
    """The contender with its targets, each of them answered once as it should be; or with its fault."""
    targets: dict[str, Target] = {}
    try:
        for path in PATHS:
            targets[path] = client.patiently(partial(_target, contender, path))
    except (RuntimeError, OSError, http.client.HTTPException) as error:
        return replace(contender, fault=f"{type(error).__name__}: {error}")
    return replace(contender, targets=targets)


def _target(contender: Contender, path: str) -> Target:
    """Raises: RuntimeError, if the call is not answered as it should be."""
    session = messages.SOME_SESSION
    if contender.own_sessions:
        session = client.open_session(contender.port, f"/{path}", key=contender.key)
    fields = messages.headers(contender.era, session=session, key=contender.key)
    target = Target(contender.port, f"/{path}", messages.call(contender.era), fields)
    if wrong := client.fault(client.post(target.port, target.path, target.body, fields=fields)):
        raise RuntimeError(wrong)
    if contender.refuses:
        _refused(target)
    return target


def _refused(target: Target) -> None:
    """Raises: RuntimeError, if a tool that no rule allows is called nonetheless."""
    name = messages.FORBIDDEN_TOOL
    fields = {key: name if key == "Mcp-Name" else value for key, value in target.fields.items()}
    body = target.body.replace(messages.TOOL.encode(), name.encode())
    if client.fault(client.post(target.port, target.path, body, fields=fields)) is None:
        raise RuntimeError(f"the policy is not in force: {name} was answered")


def _nginx_command(nginx: str, config: Path) -> list[str]:
    return [nginx, "-c", str(config), "-e", "stderr"]


def _validate(command: list[str]) -> None:
    """Raises: RuntimeError with what the program said against its configuration."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=VALIDATE_TIMEOUT_S)
    if done.returncode != 0:
        raise RuntimeError("the configuration was refused: " + (done.stderr or done.stdout).strip()[-900:])
