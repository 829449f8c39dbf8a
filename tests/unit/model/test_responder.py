"""The states of an answer: nothing yet, one body, a stream; and what may still be said in each."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from openmcp.errors import Denied, Draining, Forbidden, OpenMCPError, OutcomeUnknown, UnknownSession
from openmcp.mcp import message as messages
from openmcp.mcp import sse
from openmcp.mcp.message import Message
from openmcp.mcp.revisions import LATEST, LATEST_LEGACY, Revision
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Permitted
from openmcp.model.http import Peer, Request, Wire
from openmcp.model.responder import Responder
from openmcp.model.server import Authentication, Server

CALL = messages.request(7, "tools/call", {"name": "read"})
NOTE = messages.notification("notifications/progress")
ANSWER = messages.result(7, {"content": []})


class Paper:
    """A wire that keeps what is written and allows only what a wire allows."""

    def __init__(self) -> None:
        self.outlives_client = False
        self.ends_when_draining = False
        self.is_open = True
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.events: list[sse.Event] = []
        self.ended = 0
        self._decoder = sse.Decoder(1 << 20)

    def respond(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        assert not self.status
        self.status, self.headers, self.body = status, dict(headers), body
        self.ended = 1

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        assert not self.status
        self.status, self.headers = status, dict(headers)

    def write(self, data: bytes) -> None:
        assert self.status
        assert not self.ended
        self.body += data
        self.events += self._decoder.feed(data)

    async def drain(self) -> None:
        return

    def end(self) -> None:
        assert self.status
        self.ended += 1

    @property
    def message(self) -> Any:
        """The body, or the data of the last event."""
        return msgspec.json.decode(self.events[-1].data if self.events else self.body)


_: type[Wire] = Paper


class Answering:
    """A responder with its paper."""

    def __init__(
        self, message: Message | None = CALL, *, revision: Revision = LATEST_LEGACY, method: str = "POST"
    ) -> None:
        headers = {"mcp-protocol-version": revision.version}
        body = messages.encode(message) if message else b""
        self.paper = Paper()
        self.responder = Responder(self.paper, Request(method, "/desk", headers, body, Peer("")))
        self.responder.message = message
        self.revision = revision

    def sending(self) -> None:
        message = self.responder.message
        method = message.method if message else ""
        arrival = Arrival(
            http_method="POST" if message else "GET", revision=self.revision, message=message, method=method
        )
        self.responder.sending(Permitted(Server("desk", "/desk", (), Authentication(())), arrival))


# ------------------------------------------------------------ one body


def test_one_message_is_one_body() -> None:
    it = Answering()
    it.responder.whole(200, ANSWER, session_id="s", allow="POST")
    assert (it.paper.status, it.paper.message["result"]) == (200, {"content": []})
    assert (it.paper.headers["Mcp-Session-Id"], it.paper.headers["Allow"]) == ("s", "POST")
    assert (it.responder.status, it.responder.is_answered, it.responder.refusal) == (200, True, None)


def test_no_message_is_no_body() -> None:
    it = Answering(NOTE)
    it.responder.whole(202, None)
    assert (it.paper.status, it.paper.headers, it.paper.body) == (202, {}, b"")


def test_a_request_that_gets_no_message_learns_that_its_outcome_is_unknown() -> None:
    it = Answering()
    it.responder.whole(202, None)
    assert it.paper.message["result"]["isError"] is True
    assert isinstance(it.responder.refusal, OutcomeUnknown)


# ------------------------------------------------------------ refusals


def test_a_refusal_before_anything_was_written_has_its_status() -> None:
    it = Answering()
    assert it.responder.refuse(UnknownSession()) == 404
    assert it.paper.message["error"]["code"] == -32600
    assert isinstance(it.responder.refusal, UnknownSession)


def test_a_refusal_says_by_what_it_can_be_found_again() -> None:
    it = Answering()
    it.responder.exchange_id, it.responder.decision_id = "e", "e.2"
    it.responder.refuse(Denied("No."))
    assert it.paper.message["result"]["_meta"]["openmcp.dev/decision"]["id"] == "e.2"


def test_a_refusal_in_a_stream_is_its_last_event() -> None:
    it = Answering()
    it.responder.open_stream()
    it.responder.refuse(Forbidden())
    assert (it.paper.status, it.paper.ended) == (200, 1)
    assert it.paper.message["result"]["isError"] is True


def test_a_refusal_of_a_body_that_was_not_read_yet_has_the_form_of_what_it_asks() -> None:
    it = Answering()
    it.responder.message = None
    it.responder.refuse(Forbidden())
    assert it.paper.message["id"] == 7


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"jsonrpc":"2.0"}'])
def test_a_refusal_of_what_cannot_be_read_is_an_error_for_nobody(body: bytes) -> None:
    paper = Paper()
    Responder(paper, Request("POST", "/x", {}, body, Peer(""))).refuse(UnknownSession())
    assert paper.message["id"] is None


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_stream_without_a_request_has_nothing_to_answer(method: str) -> None:
    it = Answering(None, method=method)
    it.responder.open_stream()
    it.responder.refuse(Forbidden())
    assert (it.paper.events, it.paper.ended) == ([], 1)


async def test_what_was_answered_is_not_answered_again() -> None:
    it = Answering()
    it.responder.open_stream()
    await it.responder.event(ANSWER)
    it.responder.refuse(OutcomeUnknown())
    assert [msgspec.json.decode(event.data) for event in it.paper.events] == [ANSWER.body]


# ------------------------------------------------------------ streams


def test_a_stream_begins_once_and_shows_itself_at_once() -> None:
    it = Answering()
    it.responder.open_stream()
    it.responder.open_stream()
    assert (it.paper.status, it.paper.headers["Content-Type"]) == (200, "text/event-stream")
    assert it.paper.body.startswith(b":")


def test_a_tick_makes_the_answer_a_stream() -> None:
    it = Answering()
    for _ in range(3):
        it.responder.tick("somebody was asked")
    assert it.responder.is_stream
    assert it.paper.body.count(b":\n\n") == 4
    it.responder.whole(200, ANSWER)
    assert it.paper.message == ANSWER.body
    assert it.paper.ended == 1


async def test_an_event_without_a_message_still_carries_its_id() -> None:
    it = Answering()
    it.responder.open_stream()
    await it.responder.event(None)
    await it.responder.event(None, "a")
    await it.responder.event(None, None, 100)
    await it.responder.event(NOTE, "b", 200)
    assert [(event.id, event.retry) for event in it.paper.events] == [("a", None), (None, 100), ("b", 200)]


@pytest.mark.parametrize("revision", [LATEST, LATEST_LEGACY])
def test_the_end_of_a_stream_answers_what_is_pending(revision: Revision) -> None:
    it = Answering(revision=revision)
    it.responder.open_stream()
    it.responder.end()
    assert it.paper.message["result"]["isError"] is True
    assert isinstance(it.responder.refusal, OutcomeUnknown)


@pytest.mark.parametrize("end", [Responder.end, lambda it: it.refuse(OutcomeUnknown())])
async def test_a_stream_that_can_be_resumed_may_simply_end(end: Any) -> None:
    it = Answering()
    it.responder.open_stream()
    await it.responder.event(None, "a")
    end(it.responder)
    assert (len(it.paper.events), it.paper.ended) == (1, 1)


async def test_a_stream_that_can_be_resumed_still_says_no() -> None:
    it = Answering()
    it.responder.open_stream()
    await it.responder.event(None, "a")
    it.responder.refuse(Forbidden())
    assert it.paper.message["result"]["isError"] is True


@pytest.mark.parametrize("error", [OutcomeUnknown(), Forbidden()])
def test_a_subscription_ends_successfully_whoever_ends_it(error: OpenMCPError) -> None:
    it = Answering(messages.request("l", "subscriptions/listen", {}), revision=LATEST)
    it.responder.open_stream()
    it.responder.refuse(error)
    result = it.paper.message["result"]
    assert (it.paper.message["id"], result["resultType"]) == ("l", "complete")
    assert result["_meta"]["io.modelcontextprotocol/subscriptionId"] == "l"
    assert (it.responder.refusal is None) is isinstance(error, OutcomeUnknown)


def test_a_subscription_that_never_began_is_refused_like_anything_else() -> None:
    it = Answering(messages.request("l", "subscriptions/listen", {}), revision=LATEST)
    it.responder.refuse(OutcomeUnknown())
    assert it.paper.message["error"]["code"] == -31005


# ------------------------------------------------------------ the client leaves, or the node stops


@pytest.mark.parametrize(
    ("message", "revision", "outlives"),
    [(CALL, LATEST_LEGACY, True), (CALL, LATEST, False), (NOTE, LATEST_LEGACY, True), (None, LATEST_LEGACY, False)],
)
def test_only_what_a_legacy_agent_sent_goes_on_without_it(
    message: Message | None, revision: Revision, outlives: bool
) -> None:
    it = Answering(message, revision=revision)
    assert it.paper.outlives_client is False
    it.sending()
    assert it.paper.outlives_client is outlives


async def test_from_the_first_event_id_on_nothing_goes_on_without_its_client() -> None:
    it = Answering()
    it.sending()
    it.responder.open_stream()
    await it.responder.event(NOTE)
    assert it.paper.outlives_client is True
    await it.responder.event(NOTE, "a")
    assert it.paper.outlives_client is False


@pytest.mark.parametrize("is_stream", [False, True])
def test_who_is_interrupted_learns_that_the_outcome_is_unknown(is_stream: bool) -> None:
    it = Answering()
    it.sending()
    if is_stream:
        it.responder.open_stream()
    it.responder.interrupt()
    assert it.paper.message["result"]["isError"] is True
    assert isinstance(it.responder.refusal, OutcomeUnknown)


def test_who_is_interrupted_before_anything_was_sent_may_ask_again() -> None:
    it = Answering()
    it.responder.interrupt()
    assert it.paper.message["result"]["isError"] is True
    assert isinstance(it.responder.refusal, Draining)


def test_who_has_left_is_told_nothing_but_the_record_is() -> None:
    it = Answering()
    it.sending()
    it.paper.is_open = False
    it.responder.interrupt()
    assert (it.paper.status, it.responder.status) == (0, 0)
    assert isinstance(it.responder.refusal, OutcomeUnknown)


@pytest.mark.parametrize("message", [NOTE, None])
def test_nothing_is_lost_where_nothing_was_asked(message: Message | None) -> None:
    it = Answering(message)
    it.responder.open_stream()
    it.paper.is_open = False
    it.responder.interrupt()
    assert it.responder.refusal is None
