"""The recording as an MCP server over Streamable HTTP, in both eras: `/<server>` for each server of the log."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from openmcp.errors import (
    HostRefused,
    InvalidParams,
    MethodNotAllowed,
    OpenMCPError,
    OriginRefused,
    UnknownPath,
    UnknownSession,
)
from openmcp.mcp import headers, methods, refusals, sse
from openmcp.mcp import message as messages
from openmcp.mcp.message import Message, encode
from openmcp.mcp.revisions import REVISIONS, WITHOUT_HEADER, Revision
from openmcp.rehearsal.mock import dressing
from openmcp.rehearsal.mock.dressing import Names
from openmcp.rehearsal.mock.matching import Found, Shelves, Turn
from openmcp.rehearsal.mock.recording import Recorded, Recording

Tell = Callable[[str], None]
"""Says something to the person who runs the mock."""

ANSWER_S: Final = 300.0
"""Longest wait for a client's answer to a question of the server."""

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_COMMENT_S: Final = 15.0
_NOTHING: Final = -32603
_STREAM: Final = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
_JSON: Final = {"Cache-Control": "no-store"}


@dataclass
class _Session:
    """One client of the legacy era; or, without an id, all clients that have none."""

    turn: Turn = field(default_factory=Turn)
    waiting: dict[str, "asyncio.Future[Message]"] = field(default_factory=dict[str, "asyncio.Future[Message]"])
    """Questions of the server that the client has not answered."""

    running: dict[messages.Id, asyncio.Event] = field(default_factory=dict[messages.Id, asyncio.Event])
    """Requests under way; set when they are cancelled."""


class Mock:
    """Answers from a recording."""

    def __init__(self, recording: Recording, tell: Tell, *, host: str = "127.0.0.1") -> None:
        """`host`: the address that it is bound to; beside loopback, requests may call it by that."""
        self._recording = recording
        self._hosts = _LOOPBACK | {host}
        self._shelves = Shelves(recording)
        self._tell = tell
        self._names = Names()
        self._sessions: dict[str, _Session] = {}
        self._anonymous = _Session()
        self._told: set[str] = set()
        self._ends = asyncio.Event()

    def application(self) -> Starlette:
        """Return it as an ASGI application."""
        return Starlette(routes=[Route("/{server:path}", self._handle, methods=["GET", "POST", "DELETE"])])

    def stop(self) -> None:
        """End all streams."""
        self._ends.set()

    async def _handle(self, request: Request) -> Response:
        message: Message | None = None
        revision = REVISIONS.get(request.headers.get(headers.MCP_PROTOCOL_VERSION, ""), WITHOUT_HEADER)
        try:
            server = self._server(request)
            if request.method == "POST":
                message = messages.parse(await request.body())
            return await self._answer(request, server, message=message, revision=revision)
        except OpenMCPError as error:
            form = refusals.refusal(error, message, revision, exchange_id="mock")
            return Response(form.body, form.status, dict(form.headers))

    def _server(self, request: Request) -> str:
        self._check_caller(request)
        name = str(request.path_params["server"]).strip("/")
        if name not in self._recording.servers:
            raise UnknownPath(detail=f"the recording has no server `{name}`")
        return name

    def _check_caller(self, request: Request) -> None:
        """Refuse web pages: one could name this address as its own and read the recording (DNS rebinding)."""
        if request.url.hostname not in self._hosts:
            raise HostRefused
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).hostname not in self._hosts:
            raise OriginRefused

    async def _answer(self, request: Request, server: str, *, message: Message | None, revision: Revision) -> Response:
        session = self._session(request, message, revision)
        if message is None:
            return self._stream_or_end(request, server, session)
        if message.kind.is_reply:
            self._replied(session, message)
            return Response(status_code=202)
        if message.kind.is_notification:
            self._notified(session, message)
            return Response(status_code=202)
        _check_state(message, self._names)
        asked = dressing.undressed(message, self._names)
        found = self._shelves.find(server, asked.method, _name(asked), asked, session.turn)
        if found is None:
            return self._unrecorded(message)
        self._say(found, asked)
        return await self._play(found.recorded, message, session, is_modern=revision.is_modern)

    def _session(self, request: Request, message: Message | None, revision: Revision) -> _Session:
        id = request.headers.get(headers.MCP_SESSION_ID)
        if revision.is_modern or id is None:
            return self._anonymous
        if message is not None and message.method == methods.INITIALIZE:
            return self._anonymous
        session = self._sessions.get(id)
        if session is None:
            raise UnknownSession
        return session

    # ------------------------------------------------------------ what needs no recorded answer

    def _replied(self, session: _Session, message: Message) -> None:
        future = session.waiting.pop(str(message.id), None)
        if future is not None and not future.done():
            future.set_result(message)

    def _notified(self, session: _Session, message: Message) -> None:
        id = message.params.get("requestId")
        if message.method == methods.CANCELLED and isinstance(id, str | int) and id in session.running:
            session.running[id].set()

    def _unrecorded(self, message: Message) -> Response:
        if message.method == methods.PING and message.id is not None:
            return _json(messages.result(message.id, {}))
        what = " ".join(part for part in (message.method, _name(message)) if part)
        self._tell(f"nothing is recorded for {what}")
        return _json(messages.error(message.id, _NOTHING, f"Nothing is recorded for {what}."))

    def _stream_or_end(self, request: Request, server: str, session: _Session) -> Response:
        if request.method == "DELETE":
            self._sessions.pop(request.headers.get(headers.MCP_SESSION_ID, ""), None)
            return Response(status_code=204)
        found = self._shelves.find(server, "GET", "", None, session.turn)
        if found is None:
            raise MethodNotAllowed(headers=[("Allow", "POST, DELETE")])
        return StreamingResponse(self._listen(found.recorded, session), 200, _STREAM, headers.EVENT_STREAM)

    # ------------------------------------------------------------ playing back

    async def _play(self, recorded: Recorded, asked: Message, session: _Session, *, is_modern: bool) -> Response:
        outcome = recorded.outcome
        if not recorded.said and outcome is not None and (outcome.http >= 400 or recorded.is_denied):
            # A log without the gateway's own words still has the outcome.
            reason = recorded.decision_reason or f"The recording has a refusal here: {outcome.kind}."
            return _json(messages.error(asked.id, outcome.jsonrpc or _NOTHING, reason), outcome.http or 200)
        if len(recorded.said) == 1 and recorded.has_reply:
            answer = self._dressed(recorded.said[0][1], asked)
            status = outcome.http if outcome is not None and outcome.http else 200
            return self._opened(_json(answer, status), recorded, asked, is_modern=is_modern)
        return StreamingResponse(self._events(recorded, asked, session), 200, _STREAM, headers.EVENT_STREAM)

    def _opened(self, response: Response, recorded: Recorded, asked: Message, *, is_modern: bool) -> Response:
        if asked.method == methods.INITIALIZE and not is_modern and recorded.has_session:
            id = dressing.session_id()
            self._sessions[id] = _Session()
            response.headers[headers.CANONICAL[headers.MCP_SESSION_ID]] = id
        return response

    async def _events(self, recorded: Recorded, asked: Message, session: _Session) -> AsyncIterator[bytes]:
        cancelled = asyncio.Event()
        if asked.id is not None:
            session.running[asked.id] = cancelled
        try:
            yield sse.COMMENT
            token = self._recording.message(recorded.asked).progress_token if recorded.asked is not None else None
            async for data in self._messages(recorded, asked, session, token=token):
                yield data
            if not recorded.has_reply:
                # It was cancelled, or it is a subscription: it ends when the client wants.
                async for data in self._idle(cancelled):
                    yield data
        finally:
            if asked.id is not None:
                session.running.pop(asked.id, None)

    async def _messages(
        self, recorded: Recorded, asked: Message | None, session: _Session, *, token: messages.Id | None
    ) -> AsyncIterator[bytes]:
        for kind, place in recorded.said:
            said = self._recording.message(place)
            if kind == "request":
                question = said.with_id(dressing.request_id())
                waiting = session.waiting[str(question.id)] = asyncio.get_running_loop().create_future()
                yield sse.encode(encode(question))
                await self._answered(waiting)
            elif kind == "notification":
                shown = dressing.beside(said, asked, self._names, token)
                if shown is not None:
                    yield sse.encode(encode(shown))
            elif asked is not None:
                yield sse.encode(encode(dressing.reply(said, asked, self._names)))

    async def _listen(self, recorded: Recorded, session: _Session) -> AsyncIterator[bytes]:
        yield sse.COMMENT
        async for data in self._messages(recorded, None, session, token=None):
            yield data
        async for data in self._idle(asyncio.Event()):
            yield data

    async def _idle(self, ends: asyncio.Event) -> AsyncIterator[bytes]:
        waiting = [asyncio.ensure_future(event.wait()) for event in (ends, self._ends)]
        try:
            while not (await asyncio.wait(waiting, timeout=_COMMENT_S, return_when=asyncio.FIRST_COMPLETED))[0]:
                yield sse.COMMENT
        finally:
            for task in waiting:
                task.cancel()

    async def _answered(self, waiting: "asyncio.Future[Message]") -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                await waiting
        except TimeoutError:
            self._tell("the client did not answer a question of the server; the recording goes on")

    def _dressed(self, place: int, asked: Message) -> Message:
        return dressing.reply(self._recording.message(place), asked, self._names)

    # ------------------------------------------------------------ what the person is told

    def _say(self, found: Found, asked: Message) -> None:
        what = " ".join(part for part in (asked.method, _name(asked)) if part)
        if found.recorded.is_redacted:
            self._once(f"{what}: part of the answer is not in the log, and is served as it stands there (redacted)")
        if not found.is_exact and asked.method not in methods.CONNECTING:
            self._once(f"{what}: not asked in just these words; the next recorded answer is served, in order")

    def _once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)


def _check_state(message: Message, names: Names) -> None:
    state = message.params.get("requestState")
    if isinstance(state, str) and state not in names.states:
        raise InvalidParams("Invalid or expired requestState")


def _name(message: Message) -> str:
    try:
        return next((subject.name for subject in methods.subjects(message)), "")
    except InvalidParams:
        return ""


def _json(message: Message, status: int = 200) -> Response:
    return Response(encode(message), status, _JSON, headers.JSON)
