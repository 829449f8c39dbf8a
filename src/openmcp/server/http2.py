"""HTTP/2 requests out of bytes, and answers into bytes, without any I/O.

`feed` takes what was read, `take` gives what came of it, `output` is what is to be
written. A request is judged as `http1.py` judges it, and handed out when it is whole. Used
by `multiplexed.py`.

nghttp2 reads the frames; what it leaves to its user is done here: bodies longer than
allowed, `Host` beside `:authority`, trailers, heads that would be refused in HTTP/1.1, a
last word to a client whose connection is beyond repair.
"""

import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol, TypeAlias

import ngh2
from ngh2 import ErrorCode, Setting

from openmcp.errors import BodyTooLarge, HeadersTooLarge, Malformed, OpenMCPError, Overloaded
from openmcp.model.http import Request
from openmcp.server import answers
from openmcp.server.head import check_framing, check_method, read_fields
from openmcp.server.http1 import Budget, Source
from openmcp.server.limits import KIB, ListenerLimits
from openmcp.server.target import split_target

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""How a client begins that speaks HTTP/2 (RFC 9113 §3.4)."""

STREAM_WINDOW_BYTES = 256 * KIB
"""What a client may send of one body before it hears from us."""

_CONNECTION_WINDOW_BYTES = 1024 * KIB
_FIELD_OVERHEAD = 32
"""What RFC 9113 §6.5.2 counts for each field beside its bytes."""

_ACKNOWLEDGEMENTS = 200
"""Answers to PING and SETTINGS that may wait for a client that does not read."""

_RESETS = (200, 50)
"""Requests that a client may take back: so many at once, so many a second. Agents cancel; nobody cancels that often."""

_SCHEMES = (b"http", b"https")


class Begun(NamedTuple):
    """The head of a request has come, and not yet all of its body."""

    stream: int


class Whole(NamedTuple):
    """A request has come."""

    stream: int
    request: Request


class Refused(NamedTuple):
    """What has come is to be answered with a refusal."""

    stream: int
    error: OpenMCPError
    method: str


class Broken(NamedTuple):
    """What has come was no HTTP, and has been reset."""

    error: OpenMCPError


class Left(NamedTuple):
    """The stream is over; if something still runs for it, the client has left."""

    stream: int


Happening: TypeAlias = Begun | Whole | Refused | Broken | Left


class Engine(Protocol):
    """What reads and writes frames: an `ngh2.Connection`, or another that gives the same events."""

    def initiate_connection(self, settings: Mapping[int, int]) -> None: ...
    def set_local_window_size(self, window_size: int) -> None: ...
    def receive_data(self, data: bytes) -> None: ...
    def events(self) -> Sequence[ngh2.Event]: ...
    def data_to_send(self) -> bytes: ...
    def send_response(
        self, stream_id: int, headers: Iterable[tuple[bytes, bytes]], *, end_stream: bool = False
    ) -> None: ...
    def send_informational_response(self, stream_id: int, headers: Iterable[tuple[bytes, bytes]]) -> None: ...
    def send_data(self, stream_id: int, data: bytes, *, end_stream: bool = False) -> None: ...
    def end_stream(self, stream_id: int) -> None: ...
    def reset_stream(self, stream_id: int, error_code: int) -> None: ...
    def send_goaway(self, error_code: int) -> None: ...
    def send_shutdown_notice(self) -> None: ...
    def acknowledge_received_data(self, amount: int, stream_id: int) -> None: ...
    def queued_body_size(self, stream_id: int | None = None) -> int: ...


class _Incoming:
    """A request whose body is still coming."""

    __slots__ = ("body", "headers", "keeps_body", "method", "path", "query", "received_ns", "repeated", "size")

    def __init__(
        self, method: str, target: tuple[str, str], headers: Mapping[str, str], repeated: frozenset[str]
    ) -> None:
        self.method = method
        self.path, self.query = target
        self.headers = headers
        self.repeated = repeated
        self.received_ns = time.time_ns()
        self.keeps_body = method == "POST"
        self.body: bytes | bytearray = b""
        self.size = 0


class Http2:
    """The requests and answers of one connection."""

    __slots__ = (
        "_budget", "_cut", "_deaf", "_engine", "_happened", "_incoming", "_is_dead", "_last_word", "_limits", "_live",
        "_newest", "_source", "_taken_back", "fault",
    )  # fmt: skip

    def __init__(self, source: Source, limits: ListenerLimits, budget: Budget, engine: Engine | None = None) -> None:
        self.fault: OpenMCPError | None = None
        """Why the connection as a whole is refused."""

        self._source = source
        self._limits = limits
        self._budget = budget
        self._engine: Engine = engine or ngh2.Connection(ngh2.Role.SERVER, _configuration(limits))
        self._happened: list[Happening] = []
        self._incoming: dict[int, _Incoming] = {}
        # Streams that were told of and are not over.
        self._live: set[int] = set()
        # Streams whose bodies still come and matter to nobody, and those of them whose answers are complete.
        self._deaf: set[int] = set()
        self._cut: set[int] = set()
        self._taken_back: set[int] = set()
        self._newest = 0
        self._last_word = b""
        self._is_dead = False
        self._engine.initiate_connection(_settings(limits))
        self._engine.set_local_window_size(_CONNECTION_WINDOW_BYTES)

    @property
    def is_done(self) -> bool:
        """Whether nothing more is read; what is left is `output`, and then the end."""
        return self._is_dead

    def feed(self, data: bytes) -> None:
        """Take what was read; then `take`."""
        if self._is_dead:
            return
        try:
            self._engine.receive_data(data)
        except ngh2.NGH2Error as fault:
            self._die(fault)
        self._read_events()
        self._happened += [Begun(stream) for stream in self._incoming.keys() - self._live]
        self._live |= self._incoming.keys()

    def take(self) -> list[Happening]:
        """Return what has happened, once."""
        happened, self._happened = self._happened, []
        return happened

    def output(self) -> bytes:
        """Return what is to be written now; then `take`, for streams end with what is written."""
        try:
            data = self._engine.data_to_send()
            if self._cut:
                data += self._cut_off()
        except ngh2.NGH2Error:
            data = b""
        self._read_events()
        data, self._last_word = data + self._last_word, b""
        return data

    def queued(self, stream: int | None = None) -> int:
        """Return how many bytes wait for the client to read, of one stream or of all."""
        return 0 if self._is_dead else self._engine.queued_body_size(stream)

    def close(self) -> None:
        """Give back what is held for requests that will not be handled."""
        self._is_dead = True
        for stream in tuple(self._incoming):
            self._drop(stream)

    # ---------------------------------------------------------------- answers

    def respond(
        self, stream: int, status: int, headers: Sequence[tuple[str, str]], *, body: bytes, date: bytes, method: str
    ) -> None:
        """Answer at once with all there is."""
        fields = _fields(status, headers, date)
        if status not in answers.BODILESS:
            fields.append((b"content-length", b"%d" % len(body)))
        has_body = bool(body) and answers.has_body(method, status)
        self._do(self._engine.send_response, stream, fields, end_stream=not has_body)
        if has_body:
            self._do(self._engine.send_data, stream, body, end_stream=True)
        self._note_end(stream)

    def begin(
        self, stream: int, status: int, headers: Sequence[tuple[str, str]], *, date: bytes, has_body: bool
    ) -> None:
        """Answer with a head."""
        self._do(self._engine.send_response, stream, _fields(status, headers, date), end_stream=not has_body)

    def append(self, stream: int, data: bytes) -> None:
        """Add to the body of a begun answer."""
        self._do(self._engine.send_data, stream, data)

    def end(self, stream: int) -> None:
        """End the body of a begun answer."""
        self._do(self._engine.end_stream, stream)
        self._note_end(stream)

    def break_off(self, stream: int) -> None:
        """End a stream so that the client sees that the answer is not whole."""
        self._do(self._engine.reset_stream, stream, ErrorCode.INTERNAL_ERROR)

    def refuse(self, stream: int, error: OpenMCPError) -> None:
        """Say no to a request whose body has not come in time."""
        incoming = self._incoming.get(stream)
        if incoming is not None:
            self._refuse(stream, error, incoming.method)

    def warn(self) -> None:
        """Tell the client that this connection will take no more requests soon (RFC 9113 §6.8)."""
        self._do(self._engine.send_shutdown_notice)

    def finish(self) -> None:
        """Tell the client that no request counts that came after those which are under way."""
        self._do(self._engine.send_goaway, ErrorCode.NO_ERROR)

    def _do(self, act: Callable[..., None], *args: object, **options: object) -> None:
        """Act on a stream, unless it is over: the client may have left in the same moment."""
        if self._is_dead:
            return
        try:
            act(*args, **options)
        except (ngh2.StreamProtocolError, ngh2.ConnectionStateError, ngh2.ConnectionClosingError):
            pass

    def _note_end(self, stream: int) -> None:
        if stream in self._deaf:
            self._cut.add(stream)

    def _cut_off(self) -> bytes:
        """Have clients stop to send what nobody reads, once their answers are out (RFC 9113 §8.1)."""
        for stream in tuple(self._cut):
            if not self._engine.queued_body_size(stream):
                self._cut.discard(stream)
                self._do(self._engine.reset_stream, stream, ErrorCode.NO_ERROR)
        return self._engine.data_to_send()

    # ---------------------------------------------------------------- events

    def _read_events(self) -> None:
        for event in self._engine.events():
            match event:
                case ngh2.RequestReceived():
                    self._on_head(event)
                case ngh2.DataReceived():
                    self._on_data(event)
                case ngh2.StreamClosed():
                    self._on_close(event)
                case ngh2.StreamReset():
                    self._taken_back.add(event.stream_id)
                case ngh2.TrailersReceived():
                    self._on_trailers(event)
                case ngh2.ConnectionClosed():
                    self._on_end(event)
                case _:
                    pass  # Settings, pings and windows are the engine's.

    def _on_head(self, event: ngh2.RequestReceived) -> None:
        stream = self._newest = event.stream_id
        method = ""
        try:
            pseudo, fields = _split(event.headers)
            method = check_method(pseudo[b":method"])
            incoming = self._judge(method, pseudo, fields)
        except OpenMCPError as refusal:
            if not event.end_stream:
                self._deaf.add(stream)
            self._live.add(stream)
            self._happened.append(Refused(stream, refusal, method))
            return
        if event.end_stream:
            self._complete(stream, incoming)
            return
        self._incoming[stream] = incoming
        if "expect" in incoming.headers:
            self._do(self._engine.send_informational_response, stream, _CONTINUE)

    def _judge(self, method: str, pseudo: Mapping[bytes, bytes], fields: list[tuple[bytes, bytes]]) -> _Incoming:
        limits = self._limits
        if len(fields) > limits.header_fields:
            raise HeadersTooLarge()
        if sum([len(name) + len(value) + 4 for name, value in fields]) + len(pseudo[b":path"]) > limits.header_bytes:
            raise HeadersTooLarge()
        headers, repeated = read_fields(fields)
        _agree_on_host(headers, pseudo.get(b":authority"))
        if pseudo[b":scheme"].lower() not in _SCHEMES:
            raise Malformed("The scheme of the request is not HTTP's.")
        check_framing(headers, "2", limits.request_bytes)
        self._source.check_head(headers)
        return _Incoming(method, split_target(pseudo[b":path"]), headers, repeated)

    def _on_data(self, event: ngh2.DataReceived) -> None:
        stream, data = event.stream_id, event.data
        if data:
            self._do(self._engine.acknowledge_received_data, len(data), stream)
        incoming = self._incoming.get(stream)
        if incoming is None:
            return
        refusal = self._keep(incoming, data)
        if refusal is not None:
            self._refuse(stream, refusal, incoming.method)
        elif event.end_stream:
            self._complete(stream, incoming)
        if event.end_stream:
            self._deaf.discard(stream)

    def _keep(self, incoming: _Incoming, data: bytes) -> OpenMCPError | None:
        """Add to a body, or return why not."""
        incoming.size += len(data)
        if incoming.size > self._limits.request_bytes:
            return BodyTooLarge()
        if not incoming.keeps_body or not data:
            return None
        budget = self._budget
        if budget.used + len(data) > budget.limit:
            return Overloaded(headers=(("Retry-After", "1"),), detail="buffered_bytes is used up")
        budget.used += len(data)
        if not incoming.body:
            incoming.body = data
        elif isinstance(incoming.body, bytearray):
            incoming.body += data
        else:
            # One growing buffer: a body in two-byte frames must not cost an object each.
            incoming.body = bytearray(incoming.body) + data
        return None

    def _on_trailers(self, event: ngh2.TrailersReceived) -> None:
        incoming = self._incoming.get(event.stream_id)
        if incoming is not None:
            self._refuse(event.stream_id, Malformed("Trailers are not supported."), incoming.method)
        # Nothing comes behind them.
        self._deaf.discard(event.stream_id)

    def _on_close(self, event: ngh2.StreamClosed) -> None:
        stream = event.stream_id
        was_unfinished = stream in self._incoming or stream not in self._live
        is_own_fault = stream in self._taken_back
        self._taken_back.discard(stream)
        self._drop(stream)
        self._deaf.discard(stream)
        self._cut.discard(stream)
        if was_unfinished and not is_own_fault and event.error_code:
            self._happened.append(Broken(_reset_for(event.error_code)))
        if stream in self._live:
            self._live.discard(stream)
            self._happened.append(Left(stream))

    def _on_end(self, event: ngh2.ConnectionClosed) -> None:
        self._is_dead = True
        if event.error_code:
            self.fault = Malformed("The HTTP/2 connection is not valid.", detail=f"error {event.error_code}")

    def _complete(self, stream: int, incoming: _Incoming) -> None:
        self._incoming.pop(stream, None)
        self._live.add(stream)
        source = self._source
        request = Request(
            incoming.method,
            incoming.path,
            incoming.headers,
            bytes(incoming.body),
            source.peer,
            incoming.query,
            incoming.repeated,
            source.listener,
            source.public_url,
            "2",
            incoming.received_ns,
        )
        self._happened.append(Whole(stream, request))

    def _refuse(self, stream: int, error: OpenMCPError, method: str) -> None:
        self._drop(stream)
        self._live.add(stream)
        self._deaf.add(stream)
        self._happened.append(Refused(stream, error, method))

    def _drop(self, stream: int) -> None:
        incoming = self._incoming.pop(stream, None)
        if incoming is not None:
            self._budget.used -= len(incoming.body)

    def _die(self, fault: ngh2.NGH2Error) -> None:
        """Prepare the last word of a connection whose frames cannot be read; the engine has none any more."""
        self._is_dead = True
        self.fault = Malformed("The HTTP/2 connection is not valid.", detail=str(fault))
        is_too_much = isinstance(fault, ngh2.DenialOfServiceError)
        code = ErrorCode.ENHANCE_YOUR_CALM if is_too_much else ErrorCode.PROTOCOL_ERROR
        self._last_word = _GOAWAY_HEAD + struct.pack(">II", self._newest, code)


_CONTINUE = ((b":status", b"100"),)
_GOAWAY_HEAD = struct.pack(">HBBBI", 0, 8, 7, 0, 0)


@lru_cache(maxsize=8)
def _configuration(limits: ListenerLimits) -> ngh2.Configuration:
    return ngh2.Configuration(
        auto_window_update=False,
        max_outbound_ack=_ACKNOWLEDGEMENTS,
        stream_reset_rate_limit=_RESETS,
        # Above what we allow: what is only a little too long gets an answer that says so.
        max_inbound_header_list_size=2 * limits.header_bytes + _FIELD_OVERHEAD * limits.header_fields,
        max_inbound_header_count=2 * limits.header_fields,
    )


@lru_cache(maxsize=8)
def _settings(limits: ListenerLimits) -> Mapping[int, int]:
    return {
        Setting.MAX_CONCURRENT_STREAMS: limits.streams_per_connection,
        Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
        Setting.MAX_HEADER_LIST_SIZE: limits.header_bytes + _FIELD_OVERHEAD * limits.header_fields,
    }


def _split(headers: Iterable[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], list[tuple[bytes, bytes]]]:
    """Part what stands for the request line from the fields; the engine has seen to their order and number."""
    pseudo: dict[bytes, bytes] = {}
    fields: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name[:1] == b":":
            pseudo[name] = value
        else:
            fields.append((name, value))
    return pseudo, fields


def _agree_on_host(headers: dict[str, str], authority: bytes | None) -> None:
    """Have one `host`: whoever is behind us must not find another one than we have judged.

    Raises: Malformed: there are two that differ.
    """
    if authority is None:
        return
    name = authority.decode("latin-1")
    if headers.setdefault("host", name) != name:
        raise Malformed("The Host header and the authority of the request differ.")


def _fields(status: int, headers: Sequence[tuple[str, str]], date: bytes) -> list[tuple[bytes, bytes]]:
    fields = [(b":status", b"%d" % status)]
    for name, value in headers:
        # A line break would be another field to whoever turns this into HTTP/1.1.
        if not value.isprintable():
            raise ValueError(f"a header holds a control character: {value!r}")
        fields.append((_lower(name), value.encode("latin-1")))
    fields.append((b"date", date))
    return fields


@lru_cache(maxsize=256)
def _lower(name: str) -> bytes:
    return name.lower().encode("ascii")


def _reset_for(code: int) -> OpenMCPError:
    if code == ErrorCode.REFUSED_STREAM:
        return Overloaded(detail="streams_per_connection is reached")
    return Malformed("The HTTP request is not valid.", detail=f"HTTP/2 error {code}")
