"""What a sealed value is bound to: each of its fields, the purpose, and the keys."""

from dataclasses import dataclass
from typing import Any

import pytest

from openmcp.errors import Dropped, InvalidState
from openmcp.mcp import message as messages
from openmcp.mcp import methods
from openmcp.mcp.digests import params_digest
from openmcp.mcp.message import JsonObject, Message
from openmcp.model.agent import Agent
from openmcp.model.origin import Origin
from openmcp.model.server import Server
from openmcp.model.session import Session
from openmcp.routing.seals import STATE_LIFE_S, Seals, State
from openmcp.state.sealing import Keyring
from tests.unit.routing.made import REPLICAS, Clock, agent, call, permitted, server, session

OLD, NEW = b"o" * 32, b"n" * 32


def seals(*sealing: bytes, clock: Clock | None = None) -> Seals:
    return Seals(Keyring(sealing=sealing or (NEW,), hashing=b"h" * 32), clock or Clock())


# ------------------------------------------------------------ event ids


def event_id(seals_: Seals, upstream_id: str = "1", origin: Origin | None = None) -> str:
    sealed = seals_.event_id(upstream_id, session(), origin)
    assert sealed is not None
    return sealed


@pytest.mark.parametrize("origin", [None, Origin(7, "tools/list"), Origin("x", "tools/call", "read")])
@pytest.mark.parametrize("upstream_id", ["1", "", "é\x00\u2028", "x" * 4000])
def test_event_ids_open_to_what_was_sealed(origin: Origin | None, upstream_id: str) -> None:
    one = seals()
    sealed = one.event_id(upstream_id, session(), origin)
    assert sealed is not None
    assert sealed is not None
    assert one.open_event_id(sealed, session()) == (upstream_id, origin)
    assert sealed == one.event_id(upstream_id, session(), origin)


def test_event_ids_differ_in_everything_they_hold() -> None:
    one = seals()
    origin = Origin(7, "tools/call", "read")
    made = {
        one.event_id("1", session(), origin),
        one.event_id("2", session(), origin),
        one.event_id("1", session("two"), origin),
        one.event_id("1", session(server="lab"), origin),
        one.event_id("1", None, origin),
        one.event_id("1", session(), None),
        one.event_id("1", session(), Origin(8, "tools/call", "read")),
        one.event_id("1", session(), Origin(7, "tools/list", "read")),
        one.event_id("1", session(), Origin(7, "tools/call", "wipe")),
    }
    assert len(made) == 9


@pytest.mark.parametrize("other", [session("two"), session(server="lab"), None])
def test_event_ids_open_for_their_session_only(other: Session | None) -> None:
    one = seals()
    with pytest.raises(InvalidState):
        one.open_event_id(event_id(one), other)


@pytest.mark.parametrize("length", [256, 257, 500_000])
def test_a_long_name_makes_no_long_event_id(length: int) -> None:
    one = seals()
    names = ["x" * length, "x" * (length - 1) + "y"]
    made = [event_id(one, origin=Origin(7, "resources/read", name)) for name in names]
    assert made[0] != made[1]
    for sealed in made:
        assert len(sealed) < 600
        upstream_id, origin = one.open_event_id(sealed, session())
        assert upstream_id == "1"
        assert origin is not None
        assert (origin.id, origin.method) == (7, "resources/read")


@pytest.mark.parametrize("length", [10, 4000, 5000, 5900, 6000, 6060, 6070, 6200, 9000, 1_000_000])
@pytest.mark.parametrize("whose", ["server", "agent"])
def test_every_event_id_that_is_given_opens_again(length: int, whose: str) -> None:
    one = seals()
    long = "x" * length
    origin = Origin(long, "tools/call", "read") if whose == "agent" else None
    sealed = one.event_id(long if whose == "server" else "1", session(), origin)
    assert (sealed is None) is (length > 6090)
    if sealed is not None:
        assert one.open_event_id(sealed, session()) == (long if whose == "server" else "1", origin)


# ------------------------------------------------------------ ids of a server's requests


def asked(seals_: Seals, id: Any = 7, method: str = "sampling/createMessage", **fields: Any) -> str:
    return seals_.request_id(messages.request(id, method), permitted(session=session(), **fields), REPLICAS[0])


@pytest.mark.parametrize("id", [7, "7", 0, -1, "", "é"])
def test_request_ids_open_to_what_the_server_asked(id: Any) -> None:
    one = seals()
    opened = one.open_request_id(asked(one, id), session(), agent(), server=server())
    assert (opened.id, opened.method, opened.replica) == (id, "sampling/createMessage", REPLICAS[0].url)
    assert type(opened.id) is type(id)


@pytest.mark.parametrize(
    ("where", "who"),
    [
        (session("two"), agent()),
        (session(server="lab"), agent()),
        (None, agent()),
        (session(), agent("eve")),
        (session(), agent(on_behalf_of="ann")),
    ],
)
def test_request_ids_open_for_their_session_and_agent_only(where: Session | None, who: Agent) -> None:
    one = seals()
    with pytest.raises(InvalidState):
        one.open_request_id(asked(one), where, who, server=server())


def test_request_ids_of_servers_without_sessions_open_for_their_server_only() -> None:
    one = seals()
    sealed = one.request_id(messages.request(7, "sampling/createMessage"), permitted(), REPLICAS[0])
    assert one.open_request_id(sealed, None, agent(), server=server()).id == 7
    with pytest.raises(InvalidState):
        one.open_request_id(sealed, None, agent(), server=server("lab"))


@pytest.mark.parametrize("what", ["id", "method"])
def test_every_request_id_that_is_given_opens_again(what: str) -> None:
    one = seals()
    for length in (1, 300, 512):
        sealed = asked(one, **{what: "x" * length})
        assert len(sealed) <= 1024
        opened = one.open_request_id(sealed, session(), agent(), server=server())
        assert getattr(opened, what) == "x" * length
    for length in (700, 3000, 1_000_000):
        with pytest.raises(Dropped) as dropped:
            asked(one, **{what: "x" * length})
        assert isinstance(dropped.value.answer, Message)


@pytest.mark.parametrize("id", [None, 7, "", "plain", "A" * 70])
def test_request_ids_of_nobody_do_not_open(id: Any) -> None:
    with pytest.raises(InvalidState):
        seals().open_request_id(id, session(), agent(), server=server())


# ------------------------------------------------------------ states


@dataclass(frozen=True)
class Round:
    """A sealed state, and the call that may bring it back."""

    seals: Seals
    clock: Clock
    state: str

    def opened(
        self, message: Message | None = None, *, at: Server | None = None, who: Agent | None = None, name: str = "read"
    ) -> tuple[Message, State | None]:
        message = message or call()
        back = message.with_params({**message.params, "requestState": self.state, "inputResponses": {"a": 1}})
        return self.seals.open_state(back, at or server(), agent=who or agent(), name=name)


@pytest.fixture
def made() -> Round:
    clock = Clock()
    one = seals(clock=clock)
    result = one.seal_state({"resultType": "input_required", "requestState": "inner"}, permitted(), REPLICAS[1])
    state = result["requestState"]
    assert isinstance(state, str)
    return Round(one, clock, state)


def test_states_open_to_the_servers_own_and_its_replica(made: Round) -> None:
    message, state = made.opened()
    assert message.params["requestState"] == "inner"
    assert message.params["inputResponses"] == {"a": 1}
    assert state is not None
    assert (state.replica, state.round) == (REPLICAS[1].url, 1)


def test_a_state_of_the_gateways_own_is_taken_out() -> None:
    one = seals()
    for result in ({}, {"requestState": 7}):
        sealed = one.seal_state({"resultType": "input_required", **result}, permitted(), REPLICAS[0])
        message = call(requestState=sealed["requestState"])
        opened, state = one.open_state(message, server(), agent=agent(), name="read")
        assert "requestState" not in opened.params
        assert state is not None


def test_a_message_without_a_state_is_left_alone() -> None:
    message = call()
    assert seals().open_state(message, server(), agent=agent(), name="read") == (message, None)


def test_rounds_are_counted() -> None:
    one = seals()
    sealed = one.seal_state({}, permitted(round=4), REPLICAS[0])
    _, state = one.open_state(call(requestState=sealed["requestState"]), server(), agent=agent(), name="read")
    assert state is not None
    assert state.round == 5


@pytest.mark.parametrize(
    "change",
    [
        {"at": server("lab", "/desk")},
        {"who": agent("eve")},
        {"who": agent(on_behalf_of="ann")},
        {"name": "wipe"},
        {"message": messages.request(7, methods.PROMPTS_GET, call().params)},
        {"message": call(arguments={"a": 1})},
        {"message": call(more=1)},
        {"message": call(_meta={"vendor/key": 1})},
    ],
)
def test_a_state_opens_for_its_own_call_only(made: Round, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidState):
        made.opened(**change)


def test_a_state_ends(made: Round) -> None:
    made.clock.now += STATE_LIFE_S - 1
    made.opened()
    made.clock.now += 1
    with pytest.raises(InvalidState):
        made.opened()


@pytest.mark.parametrize("state", [None, 7, "", "inner", {"a": 1}])
def test_what_is_no_sealed_state_is_refused(state: Any) -> None:
    with pytest.raises(InvalidState):
        seals().open_state(call(requestState=state), server(), agent=agent(), name="read")


@pytest.mark.parametrize(
    ("one", "two", "are_same"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": None}, {}, False),
        ({}, {"_meta": {}}, True),
        ({}, {"_meta": {"progressToken": 1, "traceparent": "x", "tracestate": "y", "baggage": "z"}}, True),
        ({}, {"_meta": {"io.modelcontextprotocol/clientInfo": {}}}, True),
        ({}, {"_meta": {"io.modelcontextprotocolx/clientInfo": {}}}, False),
        ({}, {"requestState": "x", "inputResponses": {}}, True),
        ({}, {"arguments": {"requestState": "x"}}, False),
        ({"_meta": {"x": 1}}, {"x": 1}, False),
    ],
)
def test_the_digest_covers_what_was_asked(one: JsonObject, two: JsonObject, are_same: bool) -> None:
    digests = [params_digest(messages.request(7, "tools/call", params)) for params in (one, two)]
    assert (digests[0] == digests[1]) is are_same


# ------------------------------------------------------------ keys


def test_older_keys_still_open_and_the_first_one_seals() -> None:
    before, during, after = seals(OLD), seals(NEW, OLD), seals(NEW)
    old = event_id(before)
    assert during.open_event_id(old, session()) == ("1", None)
    new = event_id(during)
    assert new != old
    assert after.open_event_id(new, session()) == ("1", None)
    with pytest.raises(InvalidState):
        after.open_event_id(old, session())


def test_nothing_opens_as_something_else() -> None:
    one = seals()
    event, question = event_id(one), asked(one)
    state = str(one.seal_state({}, permitted(), REPLICAS[0])["requestState"])
    for foreign in (question, state):
        with pytest.raises(InvalidState):
            one.open_event_id(foreign, session())
    for foreign in (event, state):
        with pytest.raises(InvalidState):
            one.open_request_id(foreign, session(), agent(), server=server())
    for foreign in (event, question):
        with pytest.raises(InvalidState):
            one.open_state(call(requestState=foreign), server(), agent=agent(), name="read")
