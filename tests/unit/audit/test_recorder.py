"""The recorder: which lines an exchange leaves, and what they never hold."""

import json
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from openmcp.audit.record import BODY_BYTES, HttpPart, Line
from openmcp.audit.recorder import Record, Recorder
from openmcp.audit.refusals import Refusals
from openmcp.audit.spool import Spool
from openmcp.audit.writer import Limits, Writer
from openmcp.config.snapshot import OnFailure
from openmcp.errors import (
    AuditUnavailable,
    BodyTooLarge,
    Denied,
    NotJson,
    OpenMCPError,
    Unauthenticated,
    UnknownPath,
)
from openmcp.mcp import message as messages
from openmcp.mcp.message import Json, JsonObject, Message
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.mcp.revisions import LATEST_LEGACY
from openmcp.mcp.sse import Event
from openmcp.model.agent import Agent, Principal, Trust
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Decision, Effect, RuleRef
from openmcp.model.facts import AgentFacts, DecisionInput, McpFacts, RequestFacts, ServerFacts
from openmcp.model.http import Peer, Request
from openmcp.model.server import Authentication, Bodies, Replica, Server
from openmcp.model.session import Session
from openmcp.state.sealing import Keyring

SESSION_ID = "raw-session-id-0123456789"
STATE = "raw-request-state"
NS = 1_000_000_000
START = 1_800_000_000 * NS
REPLICA = Replica("http://10.0.0.1:80/mcp", "10.0.0.1", 80, "/mcp")
KEYRING = Keyring(sealing=[os.urandom(32)], hashing=os.urandom(32))
AGENT = Agent("ci", Principal("key:corp:ci", "corp", "apiKey", Trust.SHARED_SECRET, fingerprint="ab12"), True)
ALLOW = Decision(Effect.ALLOW, RuleRef("team", "tools"), revision="r1", matched=(RuleRef("team", "tools"),))
CALL = messages.request(7, "tools/call", {"name": "create_issue", "arguments": {"title": "x"}})
ANSWER = messages.result(7, {"content": [{"type": "text", "text": "done"}], "isError": False})


@dataclass(frozen=True)
class Redaction:
    """What a redactor says that it took out."""

    path: str
    detector: str
    length: int


class StrictLine(Line, frozen=True, forbid_unknown_fields=True):
    """A line that holds nothing but what the schema knows."""


STRICT = msgspec.json.Decoder(StrictLine)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        self.now += 1000
        return self.now


class Bench:
    """A recorder over a real writer that is not started, so that its queue holds all lines."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sink = Collected()
        self.writer = Writer("n-b-0", [self.sink], limits=Limits())
        self.recorder = Recorder(
            writer=self.writer, hashing=KEYRING.digest, clock_ns=self.clock, refusals=Refusals(per_peer=3)
        )

    def lines(self) -> list[Line]:
        """End the writer and return every line that is no checkpoint, each read strictly."""
        return [line for raw in self.raw() if (line := STRICT.decode(raw)).type != "checkpoint"]

    def raw(self) -> list[bytes]:
        self.writer.stop()
        return self.sink.data.splitlines()


class Collected:
    name = "collected"

    def __init__(self) -> None:
        self.data = b""

    def open(self) -> None:
        pass

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def sync(self) -> None:
        pass

    def is_full(self) -> bool:
        return False

    def turn(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.writer.start()
    yield bench
    bench.writer.stop()


def server(bodies: Bodies = Bodies.METADATA, name: str = "github") -> Server:
    return Server(name, f"/{name}", (REPLICA,), Authentication(("corp",)), bodies=bodies)


def request(body: bytes = b"{}", *, peer: str = "10.1.1.1", path: str = "/github", agent: str = "sdk/1") -> Request:
    headers = {"user-agent": agent, "authorization": "Bearer secret-token", "mcp-param-region": "secret-region"}
    return Request("POST", path, headers, body, Peer(peer, 5), query="token=secret-query", received_ns=START)


def arrival(message: Message, session: Session | None = None) -> Arrival:
    name = message.params.get("name")
    subjects = (Subject(SubjectKind.TOOL, name),) if isinstance(name, str) else ()
    return Arrival(
        http_method="POST",
        revision=LATEST_LEGACY,
        message=message,
        method=message.method,
        subjects=subjects,
        session=session,
    )


def session(id: str = SESSION_ID) -> Session:
    return Session(id, "github", REPLICA.url, AGENT.principal.binding, LATEST_LEGACY.version, 0.0)


class Answer:
    """What a replica answered."""

    replica = REPLICA
    status = 200
    comments = 0

    def __init__(self, size: int = 0, session: str | None = None) -> None:
        self.body_bytes = size
        self._session = session

    def header(self, name: str) -> str | None:
        return self._session if name == "mcp-session-id" else None


@dataclass
class Told:
    """What the agent was told in the end."""

    status: int
    refusal: OpenMCPError | None = None
    said: bytes = b""


async def returned(record: Record, message: Message, *, size: int = 0, event_id: str | None = None) -> None:
    """A server's message comes and goes on to the agent as it is."""
    if size:
        record.answered(Answer(size))
    if event_id is not None:
        record.event(Event(messages.encode(message), event_id))
    record.came(message)
    await record.left(message)


async def admitted(
    bench: Bench, message: Message = CALL, *, bodies: Bodies = Bodies.METADATA, of: Session | None = None
) -> Record:
    record = bench.recorder.open(request(messages.encode(message)))
    record.routed(server(bodies))
    record.identified(AGENT)
    record.received(message)
    record.arrived(arrival(message, of))
    return record


async def test_a_call_leaves_the_question_the_decision_the_answer_and_the_end(bench: Bench) -> None:
    record = await admitted(bench, of=session())
    decision = record.decision(ALLOW, CALL)
    await record.sending(arrival(CALL))
    record.answered(Answer())
    await returned(record, ANSWER, size=99)
    record.close(Told(200))
    asked, decided, answered, ended = bench.lines()
    assert [line.type for line in (asked, decided, answered, ended)] == ["message", "decision", "message", "exchange"]
    assert [line.exchange_seq for line in (asked, decided, answered, ended)] == [1, 2, 3, 4]
    assert {line.exchange for line in (asked, decided, answered, ended)} == {record.id}
    assert len({line.flow for line in (asked, decided, answered, ended)}) == 1
    assert (asked.dir, asked.kind, asked.bytes) == ("agent→gateway", "request", len(messages.encode(CALL)))
    assert (answered.dir, answered.kind, answered.bytes) == ("server→gateway", "result", 99)
    assert decided.id == decision
    assert decided.parent == answered.parent == asked.id
    assert answered.replica == ended.replica == REPLICA.url
    for line in (asked, decided, answered, ended):
        assert line.server == "github"
        assert line.agent is not None
        assert (line.agent.id, line.agent.trust) == ("key:corp:ci", "sharedSecret")
        assert line.mcp is not None
        assert (line.mcp.method, line.mcp.name, line.mcp.id) == ("tools/call", "create_issue", 7)
        assert line.mcp.version == LATEST_LEGACY.version
    assert asked.http is not None
    assert (asked.http.method, asked.http.path, asked.http.peer) == ("POST", "/github", "10.1.1.1")
    assert decided.decision is not None
    assert (decided.decision.effect, decided.decision.rule) == ("allow", "tools")
    assert decided.decision.matched == ("team/tools",)


async def test_the_end_tells_http_json_rpc_and_tool_outcome_apart(bench: Bench) -> None:
    failed = messages.result(7, {"content": [], "isError": True})
    refused = messages.error(7, -32602, "no")
    for answer in (failed, refused):
        record = await admitted(bench)
        record.answered(Answer())
        await returned(record, answer)
        record.close(Told(200))
    outcomes = [line.outcome for line in bench.lines() if line.type == "exchange"]
    assert [(o.http, o.upstream, o.jsonrpc, o.is_error, o.kind) for o in outcomes if o] == [
        (200, 200, None, True, "ok"),
        (200, 200, -32602, None, "ok"),
    ]


async def test_the_end_tells_when_each_step_was_reached(bench: Bench) -> None:
    record = await admitted(bench)
    record.decision(ALLOW, CALL)
    await record.sending(arrival(CALL))
    bench.clock.now += 5_000_000
    record.answered(Answer())
    await returned(record, ANSWER)
    record.close(Told(200))
    timing = bench.lines()[-1].timing
    assert timing is not None
    assert timing.received == START
    steps = [
        timing.authn,
        timing.policy,
        timing.upstream_sent,
        timing.upstream_first,
        timing.upstream_last,
        timing.sent,
    ]
    assert all(step is not None for step in steps)
    assert steps == sorted(step for step in steps if step is not None)
    assert timing.upstream_first is not None
    assert timing.upstream_sent is not None
    assert 5_000 <= timing.upstream_first - timing.upstream_sent <= 5_010
    upstream_s = record.steps.head_s
    assert upstream_s is not None
    assert upstream_s >= 0.005


async def test_a_refusal_stands_in_the_end_with_its_true_reason(bench: Bench) -> None:
    record = await admitted(bench)
    record.decision(Decision(Effect.DENY, None, revision="r1"), CALL)
    record.close(Told(200, Denied("no", detail="the true reason")))
    outcome = bench.lines()[-1].outcome
    assert outcome is not None
    assert (outcome.kind, outcome.jsonrpc, outcome.detail) == ("denied", -31001, "the true reason")


async def test_a_refusal_that_is_recorded_holds_nothing_of_its_exchange(bench: Bench) -> None:
    record = await admitted(bench)
    assert refused(record)() is None


def refused(record: Record) -> "weakref.ref[Collected]":
    """Record a refusal with a cause, and return a reference to what the function held that was refused."""
    held = Collected()
    try:
        try:
            raise ValueError
        except ValueError as cause:
            raise NotJson from cause
    except NotJson as error:
        record.close(Told(400, error))
    return weakref.ref(held)


async def test_a_body_that_cannot_be_read_leaves_an_end(bench: Bench) -> None:
    record = bench.recorder.open(request(b"not json"))
    record.routed(server())
    record.identified(AGENT)
    record.close(Told(400, NotJson()))
    [line] = bench.lines()
    assert line.type == "exchange"
    assert line.http is not None
    assert line.outcome is not None
    assert (line.outcome.http, line.outcome.kind) == (400, "not-json")


async def test_what_was_asked_is_recorded_also_when_it_never_arrived(bench: Bench) -> None:
    record = bench.recorder.open(request())
    record.routed(server())
    record.identified(AGENT)
    record.received(CALL)
    record.close(Told(404))
    asked, ended = bench.lines()
    assert asked.mcp is not None
    assert (asked.type, asked.mcp.name) == ("message", "create_issue")
    assert ended.type == "exchange"


async def test_an_exchange_that_was_cut_off_says_so_and_a_second_close_says_nothing(bench: Bench) -> None:
    record = await admitted(bench)
    record.close(Told(0))
    record.close(Told(200))
    ends = [line for line in bench.lines() if line.type == "exchange"]
    assert [end.outcome.kind for end in ends if end.outcome] == ["interrupted"]


async def test_asking_again_under_a_newer_snapshot_decides_again_but_asks_once(bench: Bench) -> None:
    record = await admitted(bench)
    record.decision(ALLOW, CALL)
    record.received(CALL)
    record.arrived(arrival(CALL))
    record.decision(ALLOW, CALL)
    record.close(Told(200))
    assert [line.type for line in bench.lines()] == ["message", "decision", "decision", "exchange"]


async def test_what_is_dropped_is_recorded_once_with_the_reason_and_what_its_server_is_told(bench: Bench) -> None:
    record = await admitted(bench, bodies=Bodies.FULL)
    asked = messages.request("s1", "sampling/createMessage", {})
    record.came(asked)
    await record.dropped("the server may not ask for sampling/createMessage", messages.error("s1", -31001, "no"))
    record.close(Told(200))
    _, dropped, told, _ = bench.lines()
    assert (dropped.type, dropped.dir, dropped.flags) == ("message", "server→gateway", ("dropped",))
    assert dropped.outcome is not None
    assert dropped.outcome.kind == "the server may not ask for sampling/createMessage"
    assert (told.dir, told.kind, told.flags, told.parent) == ("gateway→server", "error", ("own",), dropped.id)
    assert json.loads(bytes(told.body))["error"]["code"] == -31001


async def test_every_event_of_a_stream_leaves_a_line_and_heartbeats_are_counted(bench: Bench) -> None:
    record = await admitted(bench)
    reply = Answer()
    reply.comments = 3
    await record.sending(record.inspected(arrival(CALL)))
    record.answered(reply)
    record.event(Event(b"", "first", None, 500))
    note = messages.notification("notifications/progress", {})
    data = messages.encode(note)
    record.event(Event(data, "second"))
    record.came(note)
    await record.left(note)
    record.event(None)
    record.close(Told(200))
    _, primed, progress, ended = bench.lines()
    assert (primed.type, primed.kind) == ("stream", "event")
    assert primed.stream is not None
    assert (primed.stream.n, primed.stream.retry) == (1, 500)
    assert progress.stream is not None
    assert (progress.stream.n, progress.bytes) == (2, len(data))
    assert progress.stream.event not in ("", primed.stream.event)
    assert ended.stream is not None
    assert (ended.stream.n, ended.stream.comments) == (2, 3)


# ------------------------------------------------------------ the four legs


async def test_what_went_out_unchanged_needs_no_line_of_its_own(bench: Bench) -> None:
    record = await admitted(bench, bodies=Bodies.FULL)
    record.decision(ALLOW, CALL)
    await record.sending(record.inspected(arrival(CALL)))
    await returned(record, ANSWER)
    record.close(Told(200))
    assert [line.dir for line in bench.lines() if line.type == "message"] == ["agent→gateway", "server→gateway"]


async def test_what_was_sent_otherwise_than_it_came_is_told_by_its_difference(bench: Bench) -> None:
    record = await admitted(bench, bodies=Bodies.FULL)
    record.decision(ALLOW, CALL)
    sent = CALL.with_params({**CALL.params, "arguments": {"title": "[REDACTED:aws]"}})
    await record.sending(record.inspected(arrival(sent)))
    record.close(Told(200))
    asked, decided, line, _ = bench.lines()
    assert decided.parent == asked.id
    assert (line.dir, line.base) == ("gateway→server", asked.id)
    [change] = line.changes
    assert (change.op, change.path, bytes(change.value)) == (
        "replaced",
        "$.params.arguments.title",
        b'"[REDACTED:aws]"',
    )
    assert line.mcp is not None
    assert (line.mcp.method, line.mcp.name) == ("tools/call", "create_issue")


async def test_entries_that_were_filtered_out_of_a_list_are_named(bench: Bench) -> None:
    ask = messages.request(7, "tools/list", {})
    tools: list[Json] = [{"name": name, "inputSchema": {}} for name in ("a", "b", "c")]
    for bodies in (Bodies.METADATA, Bodies.FULL):
        record = await admitted(bench, ask, bodies=bodies)
        came = messages.result(7, {"tools": tools})
        record.came(came)
        await record.left(came.with_result({"tools": [tools[0], tools[2]], "cacheScope": "private"}))
        record.close(Told(200))
    out = [line for line in bench.lines() if line.dir == "gateway→agent"]
    for line in out:
        assert [(c.op, c.path, c.name) for c in line.changes] == [
            ("removed", "$.result.tools[1]", "b"),
            ("added", "$.result.cacheScope", ""),
        ]
        assert line.body_hmac
    assert [bytes(line.changes[1].value) for line in out] == [b"", b'"private"']


async def test_nothing_is_told_of_differences_where_nothing_is_kept(bench: Bench) -> None:
    record = await admitted(bench, bodies=Bodies.NONE)
    record.came(ANSWER)
    await record.left(ANSWER.with_result({}))
    record.close(Told(200))
    assert not [line for line in bench.lines() if line.dir == "gateway→agent"]


async def test_a_refusal_is_kept_in_the_words_that_the_agent_got(bench: Bench) -> None:
    record = await admitted(bench, bodies=Bodies.FULL)
    said = messages.result(7, {"content": [{"type": "text", "text": "no"}], "isError": True})
    record.close(Told(200, Denied("no"), messages.encode(said)))
    asked, told, ended = bench.lines()
    assert (told.dir, told.flags, told.parent) == ("gateway→agent", ("own",), asked.id)
    assert bytes(told.body) == messages.encode(said)
    assert ended.outcome is not None
    assert (ended.outcome.kind, ended.outcome.http, ended.outcome.is_error) == ("denied", 200, True)


# ------------------------------------------------------------ redaction


class Finds:
    """Takes out every text that holds `secret`."""

    def redact(self, value: Json) -> tuple[Json, tuple[Redaction, ...]]:
        taken: list[Redaction] = []
        return self._without(value, "$", taken), tuple(taken)

    def _without(self, value: Json, path: str, taken: list[Redaction]) -> Json:
        if isinstance(value, dict):
            return {key: self._without(item, f"{path}.{key}", taken) for key, item in value.items()}
        if isinstance(value, list):
            return [self._without(item, f"{path}[{index}]", taken) for index, item in enumerate(value)]
        if isinstance(value, str) and "secret" in value:
            taken.append(Redaction(path, "word", len(value)))
            return "[REDACTED:word]"
        return value


async def test_what_is_redacted_never_enters_the_queue_and_is_named_with_place_detector_and_length(
    bench: Bench,
) -> None:
    bench.recorder.redact_with(Finds())
    call = messages.request(7, "tools/call", {"name": "t", "arguments": {"a": "my secret", "b": 1}})
    record = await admitted(bench, call, bodies=Bodies.REDACTED)
    await record.sending(record.inspected(arrival(call)))
    came = messages.result(7, {"content": [{"type": "text", "text": "plain"}], "x": 1})
    record.came(came)
    await record.left(came.with_result({"content": [{"type": "text", "text": "a secret added"}], "x": 1}))
    record.close(Told(200))
    assert b"secret" not in b"".join(bench.raw())
    asked, answered, told, _ = bench.lines()
    [redaction] = asked.redactions
    assert (redaction.path, redaction.detector, redaction.length) == ("$.params.arguments.a", "word", 9)
    assert json.loads(bytes(asked.body))["params"]["arguments"] == {"a": "[REDACTED:word]", "b": 1}
    assert asked.body_sha256 == ""
    assert asked.body_hmac
    assert not answered.redactions
    assert answered.body_sha256
    assert [(r.path, r.length) for r in told.redactions] == [("$.result.content[0].text", 14)]
    assert [bytes(c.value) for c in told.changes] == [b'"[REDACTED:word]"']


async def test_without_anything_to_redact_with_no_body_is_kept(bench: Bench) -> None:
    (await admitted(bench, bodies=Bodies.REDACTED)).close(Told(200))
    asked = bench.lines()[0]
    assert bytes(asked.body) == b""
    assert asked.bytes


# ------------------------------------------------------------ what was decided on


async def test_a_decision_keeps_what_it_looked_at_but_the_arguments(bench: Bench) -> None:
    agent = replace(AGENT, groups=frozenset({"b", "a"}), labels={"team": "x"})
    record = bench.recorder.open(request())
    record.routed(server(Bodies.FULL))
    record.identified(agent)
    record.received(CALL)
    record.arrived(arrival(CALL))
    record.decision(ALLOW, CALL)
    facts = DecisionInput(
        agent=AgentFacts.of(agent),
        server=ServerFacts.of(server()),
        mcp=McpFacts("tools/call", "tool", "create_issue", version="2025-11-25"),
        args={"title": "only in the body"},
        request=RequestFacts("10.1.1.1", {"x-team": "blue"}),
        now=12.5,
    )
    record.decision(replace(ALLOW, input=facts), CALL)
    record.close(Told(200))
    plain, looked = [json.loads(bytes(line.decision.input)) for line in bench.lines() if line.decision]
    assert plain["agent"] == {
        "id": "key:corp:ci",
        "name": "ci",
        "groups": ["a", "b"],
        "labels": {"team": "x"},
        "source": "corp",
        "trust": "sharedSecret",
    }
    assert plain["mcp"] == {"method": "tools/call", "kind": "tool", "name": "create_issue", "version": "2025-11-25"}
    assert plain["request"] == {"ip": "10.1.1.1"}
    assert "args" not in looked
    assert msgspec.convert({**looked, "args": facts.args}, DecisionInput) == facts


@pytest.mark.parametrize(
    ("bodies", "is_kept"), [(Bodies.METADATA, False), (Bodies.REDACTED, True), (Bodies.FULL, True)]
)
async def test_attributes_of_a_credential_are_kept_as_bodies_are(bench: Bench, bodies: Bodies, is_kept: bool) -> None:
    bench.recorder.redact_with(Finds())
    principal = replace(AGENT.principal, attributes={"mail": "a@b.c", "note": "secret"})
    record = bench.recorder.open(request())
    record.routed(server(bodies))
    record.identified(replace(AGENT, principal=principal))
    record.received(CALL)
    record.arrived(arrival(CALL))
    record.decision(ALLOW, CALL)
    record.close(Told(200))
    [line] = [line for line in bench.lines() if line.decision]
    assert line.decision is not None
    agent = json.loads(bytes(line.decision.input))["agent"]
    assert agent.get("attributes", {}).get("mail") == ("a@b.c" if is_kept else None)
    if bodies is not Bodies.FULL:
        assert b"secret" not in bytes(line.decision.input)
        assert [part.path for part in line.redactions] == [
            f"$.decision.input.agent.attributes{'.note' if is_kept else ''}"
        ]


# ------------------------------------------------------------ flows


async def test_a_session_is_one_flow_and_another_session_another(bench: Bench) -> None:
    for id in ("one", "one", "two"):
        (await admitted(bench, of=session(id))).close(Told(200))
    flows = [line.flow for line in bench.lines() if line.type == "exchange"]
    assert flows[0] == flows[1] != flows[2]


async def test_initialize_belongs_to_the_session_that_it_opened(bench: Bench) -> None:
    hello = messages.request(1, "initialize", {})
    record = await admitted(bench, hello)
    record.answered(Answer(session=SESSION_ID))
    await returned(record, messages.result(1, {}))
    record.close(Told(200))
    (await admitted(bench, of=session())).close(Told(200))
    ends = [line for line in bench.lines() if line.type == "exchange"]
    assert ends[0].flow == ends[1].flow != ""
    assert ends[0].mcp is not None
    assert ends[0].mcp.session == ends[0].flow


async def test_without_a_session_a_flow_lasts_until_a_long_pause(bench: Bench) -> None:
    (await admitted(bench)).close(Told(200))
    bench.clock.now += 299 * NS
    (await admitted(bench)).close(Told(200))
    bench.clock.now += 301 * NS
    (await admitted(bench)).close(Told(200))
    flows = [line.flow for line in bench.lines() if line.type == "exchange"]
    assert flows[0] == flows[1] != flows[2]


async def test_ids_are_unique_and_sort_by_time(bench: Bench) -> None:
    records = [bench.recorder.open(request()) for _ in range(10_000)]
    ids = [record.id for record in records]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)


# ------------------------------------------------------------ what is never written


async def test_no_secret_is_written_whatever_is_kept(bench: Bench) -> None:
    nested: Json = {"requestState": STATE, "deep": [{"requestState": {"in": STATE}}]}
    call = messages.request("7", "tools/call", {"name": "t", "requestState": STATE, "arguments": {"a": nested}})
    answer = messages.result("7", {"resultType": "input_required", "requestState": STATE, "x": nested})
    for bodies in Bodies:
        record = await admitted(bench, call, bodies=bodies, of=session())
        record.decision(ALLOW, call)
        await returned(record, answer, event_id="raw-event-id")
        record.close(Told(200))
    everything = b"\n".join(bench.raw())
    for secret in (SESSION_ID, STATE, "raw-event-id", "secret-token", "secret-query", "secret-region"):
        assert secret.encode() not in everything
    # The digest of what was taken out is the same wherever the same stood, so that rounds can be followed.
    digests = {body["params"]["requestState"] for body in _bodies(everything) if "params" in body}
    digests |= {body["result"]["requestState"] for body in _bodies(everything) if "result" in body}
    assert len(digests) == 1


def _bodies(everything: bytes) -> list[dict[str, dict[str, str]]]:
    return [line["body"] for raw in everything.splitlines() if "body" in (line := json.loads(raw))]


@pytest.mark.parametrize(
    ("bodies", "has_size", "has_body"), [("none", False, False), ("metadata", True, False), ("full", True, True)]
)
async def test_the_server_says_how_much_of_a_message_is_kept(
    bench: Bench, bodies: str, has_size: bool, has_body: bool
) -> None:
    (await admitted(bench, bodies=Bodies(bodies))).close(Told(200))
    asked = bench.lines()[0]
    assert bool(asked.bytes) is has_size
    assert bool(bytes(asked.body)) is has_body
    assert bool(asked.body_sha256) is has_body


async def test_a_kept_body_is_what_was_sent_on_with_its_digest(bench: Bench) -> None:
    (await admitted(bench, bodies=Bodies.FULL)).close(Told(200))
    asked = bench.lines()[0]
    assert bytes(asked.body) == messages.encode(CALL)
    assert asked.body_sha256 == sha256(messages.encode(CALL)).hexdigest()


async def test_a_body_with_a_secret_taken_out_has_no_plain_digest(bench: Bench) -> None:
    call = messages.request(7, "tools/call", {"name": "t", "requestState": STATE})
    (await admitted(bench, call, bodies=Bodies.FULL)).close(Told(200))
    asked = bench.lines()[0]
    assert asked.body_sha256 == ""
    assert asked.body_hmac


async def test_a_long_body_stands_beside_the_log_under_its_digest(tmp_path: Path) -> None:
    sink = Collected()
    spool = Spool(tmp_path)
    writer = Writer("n-b-0", [sink], spool=spool)
    recorder = Recorder(writer=writer, hashing=KEYRING.digest)
    writer.start()
    call = messages.request(7, "tools/call", {"name": "t", "arguments": {"a": "x" * BODY_BYTES}})
    record = recorder.open(request(messages.encode(call)))
    record.routed(server(Bodies.FULL))
    record.identified(AGENT)
    record.received(call)
    record.arrived(arrival(call))
    record.close(Told(200))
    writer.stop()
    asked = STRICT.decode(sink.data.splitlines()[1])
    assert bytes(asked.body) == b""
    assert asked.body_ref is not None
    file = spool.path(asked.body_ref.sha256)
    assert file.read_bytes() == messages.encode(call)
    assert asked.body_ref.bytes == file.stat().st_size
    assert sha256(file.read_bytes()).hexdigest() == asked.body_ref.sha256 == asked.body_sha256
    assert file.stat().st_mode & 0o777 == 0o600
    assert not [path for path in file.parent.iterdir() if path.name.startswith(".")]


async def test_a_long_body_without_a_place_leaves_only_its_digest(bench: Bench) -> None:
    call = messages.request(7, "tools/call", {"name": "t", "arguments": {"a": "x" * BODY_BYTES}})
    (await admitted(bench, call, bodies=Bodies.FULL)).close(Told(200))
    asked = bench.lines()[0]
    assert bytes(asked.body) == b""
    assert asked.body_state == "too-long"
    assert asked.body_sha256 == sha256(messages.encode(call)).hexdigest()


HOSTILE = [
    "\n{}",
    "\r\n",
    "\x00\x1b[2J",
    "\x7f",
    "\x85\x9b",
    "\u2028\u2029",
    "\u202e\u2066",
    "\u200b\ufeff",
    '"}{"',
    "\U000e0041",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("bodies", [Bodies.METADATA, Bodies.FULL])
async def test_nothing_from_outside_forges_a_line_or_hides_in_one(bench: Bench, text: str, bodies: Bodies) -> None:
    params: JsonObject = {"name": f"n{text}", "arguments": {f"k{text}": text}}
    call = messages.request(f"id{text}", "tools/call", params)
    record = bench.recorder.open(request(b"{}", path=f"/p{text}", agent=f"ua{text}"))
    record.routed(server(bodies))
    record.identified(Agent(f"a{text}", Principal(f"p{text}", "s", "apiKey", Trust.TOKEN)))
    record.received(call)
    record.arrived(arrival(call))
    record.decision(Decision(Effect.DENY, None, reason=f"r{text}"), call)
    record.came(messages.notification(f"m{text}"))
    await record.dropped(f"w{text}")
    record.close(Told(200, Denied(detail=f"d{text}\ud800")))
    raw = bench.raw()
    assert len(raw) == 6
    for line in raw:
        STRICT.decode(line)
        visible = line.decode().replace("→", "")
        assert all(character.isprintable() for character in visible)


async def test_huge_names_and_numbers_are_cut_to_size(bench: Bench) -> None:
    call = messages.request(10**4000, "m" * 100_000, {"name": "n" * 100_000})
    record = bench.recorder.open(request(b"{}", path="/" + "p" * 100_000, agent="a" * 100_000))
    record.routed(server())
    record.identified(AGENT)
    record.received(call)
    record.arrived(arrival(call))
    await returned(record, messages.error(10**4000, 10**30, "x"))
    record.close(Told(200, Denied(detail="d" * 100_000)))
    assert all(len(line) < 5_000 for line in bench.raw())
    assert len(bench.lines()) == 3


async def test_what_a_server_sends_that_cannot_be_written_still_leaves_its_line(bench: Bench) -> None:
    record = await admitted(bench, bodies=Bodies.FULL)
    deep: Json = "x"
    for _ in range(5_000):
        deep = [deep]
    await returned(record, messages.result(7, {"a": deep}))
    record.close(Told(200))
    assert bench.lines()[1].body_state == "unencodable"


# ------------------------------------------------------------ unknown callers


async def _refuse(bench: Bench, peer: str) -> None:
    record = bench.recorder.open(request(peer=peer))
    record.routed(server())
    record.close(Told(401, Unauthenticated()))


async def test_a_flood_of_unknown_callers_is_counted_and_told(bench: Bench) -> None:
    for n in range(1000):
        await _refuse(bench, f"2001:db8::{n:x}")
    await _refuse(bench, "10.9.9.9")
    bench.recorder.tell()
    lines = bench.lines()
    assert [line.type for line in lines].count("exchange") == 3 + 1
    [told] = [line.refusals for line in lines if line.type == "conn" and line.refusals]
    assert told.peer == "2001:db8::/64"
    assert told.kinds == {"unauthenticated": 997}
    assert told.first < told.last


async def test_the_budget_begins_anew_with_each_minute(bench: Bench) -> None:
    for _ in range(2):
        for _ in range(10):
            await _refuse(bench, "10.9.9.9")
        bench.clock.now += 61 * NS
    assert [line.type for line in bench.lines()].count("exchange") == 6


async def test_known_agents_have_no_budget(bench: Bench) -> None:
    for _ in range(50):
        record = await admitted(bench)
        record.close(Told(200, Denied()))
    assert [line.type for line in bench.lines()].count("exchange") == 50


async def test_an_unknown_path_counts_as_an_unknown_caller(bench: Bench) -> None:
    for _ in range(10):
        record = bench.recorder.open(request())
        record.close(Told(404, UnknownPath()))
    assert len(bench.lines()) == 3


# ------------------------------------------------------------ what the edge refuses


def _turn_away(bench: Bench, error: OpenMCPError, peer: str = "10.1.1.1") -> None:
    bench.recorder.turned_away(Peer(peer, 5), "public", error, error.status)


async def test_a_refusal_of_the_edge_leaves_a_line_of_its_own(bench: Bench) -> None:
    _turn_away(bench, BodyTooLarge(detail="9 bytes \u202e\n" + "x" * 9999))
    [line] = bench.lines()
    assert (line.type, line.kind, line.exchange) == ("conn", "refused", "")
    assert line.http == HttpPart(peer="10.1.1.1", listener="public")
    assert line.outcome is not None
    assert (line.outcome.kind, line.outcome.http) == ("body-too-large", 413)
    assert line.outcome.detail.startswith("9 bytes \\u202e\\u000ax")
    assert len(line.outcome.detail) < 600


async def test_refusals_of_edge_and_gateway_have_one_budget(bench: Bench) -> None:
    await _refuse(bench, "10.1.1.1")
    for _ in range(5):
        _turn_away(bench, BodyTooLarge())
    _turn_away(bench, BodyTooLarge(), "10.2.2.2")
    bench.recorder.tell()
    lines = bench.lines()
    assert [line.outcome.kind for line in lines if line.outcome] == ["unauthenticated", *["body-too-large"] * 3]
    assert [(line.refusals.peer, line.refusals.kinds) for line in lines if line.refusals] == [
        ("10.1.1.1", {"body-too-large": 3})
    ]


async def test_a_refusal_of_the_edge_is_only_counted_where_the_log_has_no_room() -> None:
    counted = Refusals()
    writer = Writer("n-b-0", [], on_failure=OnFailure.FAIL_CLOSED)
    recorder = Recorder(writer=writer, hashing=KEYRING.digest, refusals=counted)
    for _ in range(2):
        recorder.turned_away(Peer("10.1.1.1", 5), "public", BodyTooLarge(), 413)
    assert writer.depth == 0
    assert [(tally.peer, tally.kinds) for tally in counted.take()] == [("10.1.1.1", {"body-too-large": 2})]
    recorder.tell()


# ------------------------------------------------------------ when nothing can be written


async def test_no_record_no_exchange() -> None:
    writer = Writer("n-b-0", [], on_failure=OnFailure.FAIL_CLOSED)
    recorder = Recorder(writer=writer, hashing=KEYRING.digest)
    with pytest.raises(AuditUnavailable):
        await recorder.open(request()).room()


async def test_a_close_never_raises_even_when_nothing_can_be_written(bench: Bench) -> None:
    record = bench.recorder.open(request())
    record.routed(server())
    record.identified(AGENT)
    record.received(CALL)
    bench.writer.stop()
    with pytest.raises(AuditUnavailable):
        record.decision(ALLOW, CALL)
    record.close(Told(200))
