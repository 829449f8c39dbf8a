"""However a stream is cut, the same events come out of it."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmcp.errors import UpstreamBroken
from openmcp.mcp.sse import Decoder, Event, encode

PIECES = st.sampled_from(
    [
        *(
            b"data",
            b"data: ",
            b"data:",
            b":",
            b": ping",
            b"event: message",
            b"id: 7",
            b"id:",
            b"id: a\0b",
            b"retry: 100",
        ),
        *(b"retry: x", b"\r", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"\xef\xbb\xbf", b" ", b"{}", b"\xff", b"x" * 20),
    ]
)
STREAMS = st.lists(PIECES, max_size=40).map(b"".join)
CUTS = st.lists(st.integers(0, 400), max_size=20)
DATA = st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(str.encode)
IDS = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=10)


def decoded(stream: bytes, cuts: list[int], max_bytes: int = 1000) -> tuple[list[Event], int, bool]:
    decoder = Decoder(max_bytes)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    events: list[Event] = []
    for start, end in pairwise(edges):
        events += decoder.feed(stream[start:end])
    return events, decoder.comments, decoder.finish()


@given(STREAMS, CUTS)
@settings(deadline=None, max_examples=300)
def test_cuts_change_nothing(stream: bytes, cuts: list[int]) -> None:
    whole = decoded(stream, [])
    assert decoded(stream, cuts) == whole
    assert decoded(stream, list(range(len(stream)))) == whole


@given(st.lists(st.tuples(DATA, IDS, st.none() | st.integers(0, 10**6)), max_size=6), CUTS)
@settings(deadline=None, max_examples=150)
def test_what_is_encoded_is_decoded(events: list[tuple[bytes, str | None, int | None]], cuts: list[int]) -> None:
    stream = b"".join(encode(data, id=id, retry=retry) for data, id, retry in events)
    expected = [
        Event(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), id, None, retry) for data, id, retry in events
    ]
    assert decoded(stream, cuts)[0] == expected


@given(STREAMS, CUTS, st.integers(0, 60))
@settings(deadline=None, max_examples=150)
def test_no_cut_gets_an_event_past_the_bound(stream: bytes, cuts: list[int], max_bytes: int) -> None:
    try:
        events, _, _ = decoded(stream, cuts, max_bytes)
    except UpstreamBroken:
        return
    assert all(len(event.data) <= max_bytes for event in events)


@pytest.mark.heavy
@pytest.mark.timeout(600)
@given(st.lists(PIECES, max_size=200).map(b"".join), st.lists(st.integers(0, 4000), max_size=60))
@settings(deadline=None, max_examples=20_000)
def test_cuts_change_nothing_over_many_streams(stream: bytes, cuts: list[int]) -> None:
    assert decoded(stream, cuts) == decoded(stream, [])
