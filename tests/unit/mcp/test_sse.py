"""Events are read as browsers read them, and cost time linear in their bytes."""

import pytest

from openmcp.errors import UpstreamBroken
from openmcp.mcp.sse import COMMENT, Decoder, Event, encode


def decoded(*chunks: bytes) -> list[Event]:
    decoder = Decoder(1000)
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def feed_bytewise(decoder: Decoder, stream: bytes) -> list[Event]:
    return [event for at in range(len(stream)) for event in decoder.feed(stream[at : at + 1])]


CASES: dict[str, tuple[bytes, list[Event]]] = {
    "one line": (b"data: {}\n\n", [Event(b"{}")]),
    "no space": (b"data:{}\n\n", [Event(b"{}")]),
    "only one space goes": (b"data:  x\n\n", [Event(b" x")]),
    "crlf": (b"event: message\r\ndata: {}\r\n\r\n", [Event(b"{}", event="message")]),
    "cr": (b"data: a\r\rdata: b\r\r", [Event(b"a"), Event(b"b")]),
    "lines are joined": (b"data: a\ndata\ndata: b\n\n", [Event(b"a\n\nb")]),
    "all fields": (b"id: 1\nevent: x\nretry: 20\ndata: d\n\n", [Event(b"d", "1", "x", 20)]),
    "priming event": (b"id: 1\ndata: \n\n", [Event(b"", "1")]),
    "priming event without data": (b"id: 1\nretry: 5\n\n", [Event(b"", "1", None, 5)]),
    "retry alone": (b"retry: 5\n\n", [Event(b"", retry=5)]),
    "empty id": (b"id\ndata: x\n\n", [Event(b"x", "")]),
    "type alone is nothing": (b"event: x\n\ndata: y\n\n", [Event(b"y")]),
    "id is not carried over": (b"id: 1\ndata: a\n\ndata: b\n\n", [Event(b"a", "1"), Event(b"b")]),
    "id with NUL is ignored": (b"id: a\0b\ndata: x\n\n", [Event(b"x")]),
    "retry that is no number": (b"retry: 1s\ndata: x\n\n", [Event(b"x")]),
    "retry with a sign": (b"retry: -1\ndata: x\n\n", [Event(b"x")]),
    "unknown field": (b"foo: 1\ndata: x\n\n", [Event(b"x")]),
    "names are exact": (b"Data: 1\n data: 2\n\n", []),
    "comments": (b": ping\n\n:\ndata: x\n\n", [Event(b"x")]),
    "mark at the start": (b"\xef\xbb\xbfdata: x\n\n", [Event(b"x")]),
    "mark later is no mark": (b"data: y\n\n\xef\xbb\xbfdata: x\n\n", [Event(b"y")]),
    "colon in data": (b"data: a: b\n\n", [Event(b"a: b")]),
    "blank lines": (b"\n\n\r\n\rdata: x\n\n\n\n", [Event(b"x")]),
    "not finished": (b"data: x\n", []),
    "separators that are no line ends": ("data: a\u2028b\x0bc\x85\n\n".encode(), [Event("a\u2028b\x0bc\x85".encode())]),
}


@pytest.mark.parametrize(("stream", "events"), CASES.values(), ids=CASES.keys())
def test_stream_is_read(stream: bytes, events: list[Event]) -> None:
    assert decoded(stream) == events
    assert feed_bytewise(Decoder(1000), stream) == events


def test_line_end_cut_in_two_is_one_line_end() -> None:
    assert decoded(b"data: a\r", b"\ndata: b\r", b"", b"\n\r", b"\n") == [Event(b"a\nb")]


def test_comments_are_counted() -> None:
    decoder = Decoder(100)
    decoder.feed(COMMENT + b": ping\n\ndata: x\n: y\n\n")
    assert decoder.comments == 3


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 101,
        b"data: " + b"x" * 101 + b"\n\n",
        b"data: x\n" * 20,
        b"data\n" * 30,
        b"id: " + b"x" * 101 + b"\n",
        b":" + b"x" * 101,
        b"unknown" * 20,
    ],
)
def test_event_past_the_bound_is_refused_however_it_comes(stream: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        Decoder(100).feed(stream)
    with pytest.raises(UpstreamBroken):
        feed_bytewise(Decoder(100), stream)


def test_endless_comments_and_many_events_are_no_large_event() -> None:
    decoder = Decoder(20)
    assert len(decoder.feed((b": ping\n" * 50) + b"data: x\n\n" * 50)) == 50


def test_end_inside_an_event_is_told() -> None:
    for rest, is_clean in [
        (b"", True),
        (b": ping\n", True),
        (b"data: x\n\n", True),
        (b"data: x\n", False),
        (b"d", False),
    ]:
        decoder = Decoder(100)
        decoder.feed(rest)
        assert decoder.finish() is is_clean


def test_bytes_are_looked_at_once() -> None:
    # Were each byte to scan what came before it, this would take minutes; the test's bound is the assertion.
    decoder = Decoder(1 << 20)
    decoder.feed(b"data: ")
    for _ in range(400_000):
        decoder.feed(b"x")
    assert [len(event.data) for event in decoder.feed(b"\n\n")] == [400_000]


def test_event_is_written_with_its_fields_first() -> None:
    assert encode(b"{}") == b"data: {}\n\n"
    assert encode(b"", id="7", retry=100) == b"id: 7\nretry: 100\ndata: \n\n"
    assert encode(b"a\nb\r\nc\rd\n") == b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"


@pytest.mark.parametrize("id", ["a\nb", "a\rb", "a\0b", "a\n"])
def test_id_cannot_break_out_of_its_line(id: str) -> None:
    with pytest.raises(ValueError, match="event id"):
        encode(b"{}", id=id)
