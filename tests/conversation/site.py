"""A whole gateway between agents and replicas, in one process and without a listener.

The stages are the real ones, made by the `Runtime` from a snapshot: only the clock, the
sink of the evidence and both ends of the conversation belong to the test. When a site
closes it looks for what must never be: a fault, a request that nobody expected at the
server, a secret in the evidence.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from openmcp.approvals.approvals import Approvals
from openmcp.audit.sinks.base import AuditSink
from openmcp.audit.writer import Writer
from openmcp.config import identities, snapshot, values
from openmcp.config.snapshot import AgentSelectorSpec, Durability, MatchSpec, PolicySpec, RuleSpec
from openmcp.model.decision import Effect
from openmcp.model.http import Request, Wire
from openmcp.model.server import Authentication, Bodies, Server
from openmcp.routing.discovery import Resolve, resolve
from openmcp.runtime import Runtime
from openmcp.state.memory import MemoryStore
from openmcp.state.sealing import Keyring
from openmcp.state.store import Store
from openmcp.telemetry.metrics import Metrics
from openmcp.telemetry.spans import Tracer
from tests.conversation.agent import LEGACY, MODERN, Agent, Call
from tests.conversation.replica import WAIT_S, Body, Offers, Replica

CANARY = "canary"
"""In every secret that a test makes; no line of evidence may hold it."""

KEYRING = Keyring(sealing=(b"s" * 32,), hashing=b"h" * 32)
KEYS = identities.SourceSpec("keys", 1, "apiKey", identities.ApiKeySourceSettings("authorization"))
ERAS = ("legacy", "modern")
Given: TypeAlias = RuleSpec | PolicySpec
_GIVEN = re.compile(r'(?:^id: |"requestState":")([^"\n]+)', re.MULTILINE)


def key_of(agent: str) -> str:
    """The API key of an agent."""
    return f"omcp_{agent}_{CANARY}{agent}"


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def moves(self, seconds: float) -> None:
        self.now += seconds


class MemorySink:
    """Keeps the evidence in memory."""

    name = "memory"

    def __init__(self) -> None:
        self.data = bytearray()

    def open(self) -> None: ...

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def sync(self) -> None: ...

    def is_full(self) -> bool:
        return False

    def turn(self) -> None: ...

    def close(self) -> None: ...


_: type[AuditSink] = MemorySink


@dataclass(kw_only=True)
class Setting:
    """What a test wants to be different."""

    agents: Sequence[str] = ("bot", "eve")
    servers: Sequence[str] = ("desk",)
    groups: frozenset[str] = frozenset({"staff"})
    streams: int = 100
    is_anonymous_allowed: bool = False
    sources: tuple[identities.SourceSpec, ...] = ()
    """Identity sources beside the API keys, asked before them."""

    server: dict[str, Any] = field(default_factory=dict[str, Any])
    """Fields of `Server` that differ."""

    approving: dict[str, Any] = field(default_factory=dict[str, Any])
    """`flows` and `groups` of the snapshot."""


def allow(id: str = "allow", **match: Sequence[str]) -> RuleSpec:
    """A rule that allows: `tools=`, `prompts=`, `resources=`, `methods=`; nothing named = everything."""
    return _rule(id, Effect.ALLOW, match)


def deny(id: str = "deny", *, reason: str = "", **match: Sequence[str]) -> RuleSpec:
    """A rule that denies."""
    return replace(_rule(id, Effect.DENY, match), reason=reason)


def ask(id: str = "ask", **match: Sequence[str]) -> RuleSpec:
    """A rule that wants a human's yes."""
    return _rule(id, Effect.REQUIRE_APPROVAL, match)


def only(agent: str, *rules: RuleSpec) -> PolicySpec:
    """A policy for one agent."""
    return PolicySpec(f"only-{agent}", rules, agents=AgentSelectorSpec(names=(agent,)))


def _rule(id: str, effect: Effect, match: dict[str, Sequence[str]]) -> RuleSpec:
    given: dict[str, Any] = {kind: tuple(globs) for kind, globs in match.items()}
    return RuleSpec(id, effect, MatchSpec(**given))


class Site:
    """One gateway with what is around it."""

    def __init__(self, replicas: Sequence[Replica], given: Sequence[Given], setting: Setting) -> None:
        self.replicas = replicas
        self.setting = setting
        self.clock = Clock()
        self.agents: list[Agent] = []
        self.faults: list[BaseException] = []
        self.revision = 1
        self.sink = MemorySink()
        self.metrics = Metrics()
        self.writer = Writer("test", [self.sink], durability=Durability.BATCH)
        self.given = tuple(given)
        self.runtime: Runtime

    @property
    def replica(self) -> Replica:
        """The only replica."""
        (replica,) = self.replicas
        return replica

    @property
    def server(self) -> Server:
        """The server as configured now."""
        return self.runtime.snapshot.servers[0]

    async def handle(self, request: Request, wire: Wire) -> None:
        try:
            await self.runtime.handle(request, wire)
        except Exception as error:
            self.faults.append(error)
            raise

    # ------------------------------------------------------------ agents

    def agent(self, era: str = "legacy", *, name: str | None = "bot", version: str | None = None) -> Agent:
        """An agent that has not spoken yet; `name=None` = without a credential."""
        version = version or (MODERN if era == "modern" else LEGACY)
        agent = Agent(self.handle, key=key_of(name) if name else None, version=version)
        self.agents.append(agent)
        return agent

    async def connected(self, era: str = "legacy", *, name: str = "bot", session: str = "") -> Agent:
        """An agent that may begin: in the legacy era with a session of its own at the first replica that is asked."""
        agent = self.agent(era, name=name)
        if not agent.is_modern:
            agent.session = await self.opens(agent, session or f"{CANARY}-session-{name}")
        return agent

    async def opens(self, agent: Agent, session: str) -> str:
        """Let the agent open a session that the server gives this id; return what the agent was told."""
        call = agent.asks("initialize", protocolVersion=agent.version, capabilities={"sampling": {}}, clientInfo={})
        asked = await self.takes("initialize")
        asked.answers({"protocolVersion": agent.version, "capabilities": {}}, session=session)
        await call.result()
        return call.headers["mcp-session-id"]

    async def takes(self, what: str) -> Any:
        """`takes` of whichever replica gets it."""
        waiting = [asyncio.ensure_future(replica.takes(what)) for replica in self.replicas]
        done, others = await asyncio.wait(waiting, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        (first,) = done
        return first.result()

    # ------------------------------------------------------------ configuration

    def snapshot(self) -> snapshot.Snapshot:
        """All configuration as it should be now."""
        rules = tuple(rule for rule in self.given if isinstance(rule, RuleSpec))
        policies = tuple(policy for policy in self.given if isinstance(policy, PolicySpec))
        return snapshot.Snapshot(
            revision=str(self.revision),
            gateway=_gateway(self.setting.streams),
            servers=tuple(self._server(name) for name in self.setting.servers),
            sources=(*self.setting.sources, KEYS),
            agents=tuple(_agent(name, self.setting.groups) for name in self.setting.agents),
            policies=(PolicySpec("all", rules), *policies) if rules else policies,
            **self.setting.approving,
        )

    def _server(self, name: str) -> Server:
        changes = {
            "replicas": tuple(replica.address for replica in self.replicas),
            "authentication": Authentication(
                (*(source.name for source in self.setting.sources), KEYS.name),
                is_anonymous_allowed=self.setting.is_anonymous_allowed,
            ),
            "bodies": Bodies.FULL,
            **self.setting.server,
        }
        return Server(name=name, path=f"/{name}", **changes)

    async def reload(self, *given: Given, **changes: Any) -> None:
        """Put other policies, or another setting, in force."""
        self.given = given or self.given
        self.setting = replace(self.setting, **changes)
        self.revision += 1
        self.runtime.swap(self.snapshot())

    # ------------------------------------------------------------ evidence

    async def lines(self) -> list[Body]:
        """Every line of evidence so far."""
        await asyncio.wait_for(self.writer.settled(), WAIT_S)
        return [json.loads(line) for line in bytes(self.sink.data).splitlines()]

    async def lines_of(self, call: Call) -> list[Body]:
        """The evidence of one exchange."""
        await call.ended()
        lines = await self.lines()
        agent = call.request.headers["user-agent"]
        exchanges = {line["exchange"] for line in lines if line.get("http", {}).get("userAgent") == agent}
        return [line for line in lines if line.get("exchange") in exchanges]

    async def outcome(self, call: Call) -> Body:
        """The outcome in the last line of an exchange; there is just one."""
        (last,) = [line for line in await self.lines_of(call) if line["type"] == "exchange"]
        outcome: Body = last["outcome"]
        return outcome

    async def kind(self, call: Call) -> str:
        """What came of an exchange: `ok`, or the kind of refusal or failure."""
        return str((await self.outcome(call))["kind"])

    async def check_evidence(self) -> None:
        """Make sure that each exchange has one last line, which names the status that its agent got if it was there."""
        lines = await self.lines()
        ends = {line["exchange"]: line for line in lines if line["type"] == "exchange"}
        assert len(ends) == len([line for line in lines if line["type"] == "exchange"])
        exchange_of = {line["http"].get("userAgent"): line["exchange"] for line in lines if "http" in line}
        for call in (call for agent in self.agents for call in agent.calls):
            outcome = ends[exchange_of[call.request.headers["user-agent"]]]["outcome"]
            assert call.has_left or outcome.get("http", 0) == call.status, (outcome, call.status)

    def check(self) -> None:
        """Look for what must never be."""
        assert self.faults == []
        assert [replica.untaken for replica in self.replicas] == [[] for _ in self.replicas]
        evidence = self.sink.data.decode()
        assert CANARY not in evidence
        for secret in self._sealed():
            assert secret not in evidence, "a sealed value is in the evidence"

    def _sealed(self) -> set[str]:
        """The event ids and states that agents were given; session ids are the server's and hold the canary."""
        bodies = [call.body.decode() for agent in self.agents for call in agent.calls]
        return {secret for body in bodies for secret in _GIVEN.findall(body)}


@asynccontextmanager
async def site_of(
    *given: Given,
    replicas: int = 1,
    at: Sequence[Replica] = (),
    offers: Offers | None = None,
    store: Store | None = None,
    approvals: Approvals | None = None,
    setting: Setting | None = None,
    tracer: Tracer | None = None,
    resolve: Resolve = resolve,
) -> AsyncIterator[Site]:
    """A site that runs: before replicas of its own, which offer the same, or before those that listen already."""
    async with AsyncExitStack() as parts:
        made = [] if at else [Replica(offers or Offers()) for _ in range(replicas)]
        own = [await parts.enter_async_context(replica.listening()) for replica in made]
        site = Site(at or own, given, setting or Setting())
        store = store or MemoryStore(clock=site.clock)
        await store.open()
        parts.push_async_callback(store.close)
        site.writer.start()
        parts.push_async_callback(asyncio.to_thread, site.writer.stop)
        site.runtime = Runtime(
            site.snapshot(),
            store=store,
            keyring=KEYRING,
            writer=site.writer,
            metrics=site.metrics,
            clock=site.clock,
            approvals=approvals,
            tracer=tracer,
            resolve=resolve,
        )
        await site.runtime.discover()
        parts.push_async_callback(site.runtime.close)
        try:
            yield site
        finally:
            for agent in site.agents:
                for call in agent.calls:
                    call.is_drained()
                    await call.ended()
    await site.check_evidence()
    site.check()


def _gateway(streams: int) -> snapshot.GatewaySettings:
    limits = snapshot.Limits(
        request_bytes=1 << 20,
        message_bytes=1 << 20,
        buffered_bytes=1 << 20,
        json_depth=64,
        header_bytes=1 << 14,
        concurrent_exchanges=1000,
        streams_per_principal=streams,
        headers_timeout_s=1.0,
        body_timeout_s=1.0,
        drain_timeout_s=1.0,
    )
    audit = snapshot.AuditSettings((), Bodies.FULL, snapshot.OnFailure.BLOCK, snapshot.Durability.ASYNC)
    return snapshot.GatewaySettings(
        name="test",
        listeners=(),
        admin=values.Address("127.0.0.1", 0),
        data_dir=Path("unused"),
        workers=1,
        state=snapshot.StateSettings("memory"),
        keys=snapshot.KeySettings(),
        audit=audit,
        limits=limits,
        is_default_allow=False,
    )


def _agent(name: str, groups: frozenset[str]) -> identities.AgentSpec:
    digest = hashlib.sha256(key_of(name).encode()).digest()
    identity = identities.ApiKeyIdentity(principal_id=f"key:keys:{name}", source="keys", id=name, digest=digest)
    return identities.AgentSpec(name, "", groups, {}, (identity,))
