"""The answer of one exchange in protocol form: one JSON body, or a stream of events.

Made by the gateway for every exchange; turns refusals into the form that fits what
was already written. Knows the wire and the protocol, and nothing of why.
"""

from openmcp.errors import Draining, OpenMCPError, OutcomeUnknown
from openmcp.mcp import headers, methods, refusals, sse
from openmcp.mcp import message as messages
from openmcp.mcp.message import JsonObject, Message, encode
from openmcp.mcp.revisions import META_SUBSCRIPTION_ID, REVISIONS, WITHOUT_HEADER, Revision
from openmcp.model.decision import Permitted
from openmcp.model.http import Request, Wire

_JSON = (("Content-Type", headers.JSON), ("Cache-Control", "no-store"))
_STREAM = (
    ("Content-Type", headers.EVENT_STREAM),
    ("Cache-Control", "no-cache, no-transform"),
    ("X-Accel-Buffering", "no"),
)

_TINY = 1e-6
"""How much progress it is to have waited a while longer for a human."""


class Responder:
    """Answers one exchange."""

    # Defaults stand on the class: most exchanges set few of them.
    _is_resumable = False
    _is_sent = False
    _ticks = 0
    exchange_id = ""
    decision_id = ""
    message: Message | None = None
    """The request being answered, once it was read."""

    is_stream = False
    is_answered = False
    """Whether the response to the agent's request was written."""

    status = 0
    """HTTP status that was written; 0 = none yet."""

    refusal: OpenMCPError | None = None
    """The "no" that the exchange ended with, whoever said it; for the record."""

    said = b""
    """The JSON-RPC message in which the refusal was told, if it was one; for the record."""

    def __init__(self, wire: Wire, request: Request) -> None:
        self._wire = wire
        self._request = request

    @property
    def is_open(self) -> bool:
        """Whether the client is still there."""
        return self._wire.is_open

    @property
    def can_wait(self) -> bool:
        """Whether the agent takes a stream, so that it can be shown that something goes on."""
        return headers.EVENT_STREAM in self._request.headers.get(headers.ACCEPT, "")

    @property
    def wants_progress(self) -> bool:
        """Whether the request carries a progress token."""
        return self.message is not None and self.message.progress_token is not None

    def tick(self, text: str) -> None:
        """Show that a human was asked: the answer becomes a stream, so that the agent can wait for it."""
        if not self.is_stream:
            self.open_stream()
        token = self.message.progress_token if self.message is not None else None
        if token is None:
            self.comment()
            return
        # Tiny, because progress must grow, and the server's own begins after this.
        self._ticks += 1
        told: JsonObject = {"progressToken": token, "progress": self._ticks * _TINY, "message": text}
        self._wire.write(sse.encode(encode(messages.notification(methods.PROGRESS, told))))

    def sending(self, permitted: Permitted) -> None:
        """From now on the server may be at work: in the legacy era it goes on when the client leaves."""
        self._is_sent = True
        is_listening = permitted.http_method == "GET" or permitted.arrival.method == methods.SUBSCRIPTIONS_LISTEN
        self._wire.ends_when_draining = is_listening
        self._wire.outlives_client = permitted.http_method != "GET" and not permitted.arrival.revision.is_modern

    def whole(
        self, status: int, message: Message | None, *, session_id: str | None = None, allow: str | None = None
    ) -> None:
        """Answer with one message, or none (202, 204); as the last event where a stream was begun.

        `status` and `allow` are the server's; what is neither request nor GET nor DELETE is accepted, not answered.
        """
        if message is None and self._awaits_answer:
            self.refuse(OutcomeUnknown())
            return
        if self.is_stream:
            self._wire.write(sse.encode(encode(message)) if message is not None else b"")
            self.is_answered = True
            self._wire.end()
            return
        self.status, self.is_answered = status, True
        fields, body = (_JSON, encode(message)) if message is not None else ((), b"")
        if message is None and self.message is not None and status == 200:
            self.status = status = 202
        if session_id or allow:
            fields = (
                *fields,
                *_named(headers.CANONICAL[headers.MCP_SESSION_ID], session_id),
                *_named("Allow", _methods(allow)),
            )
        self._wire.respond(status, fields, body)

    def open_stream(self) -> None:
        """Begin a stream of events; a comment follows the head at once, so that no proxy holds it back."""
        if not self.is_stream:
            self.status, self.is_stream = 200, True
            self._wire.begin(200, _STREAM)
            self._wire.write(sse.COMMENT)

    async def event(self, message: Message | None, event_id: str | None = None, retry: int | None = None) -> None:
        """Write one event, and wait while the client reads slower than we write.

        An event without a message still carries its id and `retry`: clients resume from it.
        """
        if message is not None and message.kind.is_reply:
            if self.is_answered and self.message is not None:
                # One request has one answer; the event still carries what a client resumes from.
                message = None
            self.is_answered = True
        if message is None and event_id is None and retry is None:
            return
        if event_id is not None:
            # From here on the client can resume elsewhere, and its upstream stream must be free for that.
            self._is_resumable, self._wire.outlives_client = True, False
        self._wire.write(sse.encode(encode(message) if message is not None else b"", id=event_id, retry=retry))
        await self._wire.drain()

    def comment(self) -> None:
        """Show that the stream is alive."""
        self._wire.write(sse.COMMENT)

    def end(self) -> None:
        """End the stream cleanly; a request that was not answered learns that its outcome is unknown."""
        if self._awaits_answer and not self._is_resumable:
            self.refuse(OutcomeUnknown())
        else:
            self._wire.end()

    def refuse(self, error: OpenMCPError) -> int:
        """Say no in the form that fits, and return the HTTP status that the agent saw."""
        self.refusal = None if self._is_subscribed and isinstance(error, OutcomeUnknown) else error
        if self.is_stream:
            self._write_refusal(error)
            self._wire.end()
        elif not self.status:
            message = self.message or self._peek(error)
            form = refusals.refusal(
                error, message, self._revision, exchange_id=self.exchange_id, decision_id=self.decision_id
            )
            self.status, self.said = form.status, form.body
            self._wire.respond(form.status, form.headers, form.body)
        return self.status

    def interrupt(self) -> None:
        """End at once without waiting: the exchange is being cancelled and the client may still be there."""
        error = OutcomeUnknown() if self._is_sent else Draining()
        if not self.is_open:
            # Nobody is told anything, but the record shall say that nobody knows the outcome.
            is_lost = self._awaits_answer and not self._is_resumable and not self._is_subscribed
            self.refusal = error if is_lost else None
        elif self.is_stream:
            self.end()
        else:
            self.refuse(error)

    @property
    def _revision(self) -> Revision:
        """The revision that the agent speaks, as far as its header tells."""
        return REVISIONS.get(self._request.headers.get(headers.MCP_PROTOCOL_VERSION, ""), WITHOUT_HEADER)

    @property
    def _awaits_answer(self) -> bool:
        return not self.is_answered and self.message is not None and self.message.kind.is_request

    def _write_refusal(self, error: OpenMCPError) -> None:
        if isinstance(error, OutcomeUnknown) and self._is_resumable:
            # The answer can still be had: the client resumes from the last event id.
            return
        if self.message is not None and self._awaits_answer:
            self.is_answered = True
            body = self._end_of_subscription() or refusals.in_stream(
                error, self.message, self._revision, exchange_id=self.exchange_id, decision_id=self.decision_id
            )
            self.said = body
            self._wire.write(sse.encode(body))

    @property
    def _is_subscribed(self) -> bool:
        """Whether this is an open `subscriptions/listen`: it ends, and is never lost."""
        return self.is_stream and self.message is not None and self.message.method == methods.SUBSCRIPTIONS_LISTEN

    def _end_of_subscription(self) -> bytes:
        """Return the successful end of a listen stream, whoever ends it; empty for any other exchange."""
        if self.message is None or self.message.id is None or not self._is_subscribed:
            return b""
        meta: JsonObject = {META_SUBSCRIPTION_ID: self.message.id}
        return encode(messages.result(self.message.id, {"resultType": "complete", "_meta": meta}))

    def _peek(self, error: OpenMCPError) -> Message | None:
        """Return the message of a request that was refused before it was read, as far as the refusal needs it."""
        return refusals.peek(error, self._request.body) if self._request.method == "POST" else None


def _methods(allow: str | None) -> str | None:
    """Return a server's `Allow` if it is what it should be: names of methods."""
    is_list = allow is not None and allow.isascii() and allow.replace(",", "").replace(" ", "").isalpha()
    return allow if is_list else None


def _named(name: str, value: str | None) -> tuple[tuple[str, str], ...]:
    return ((name, value),) if value else ()
