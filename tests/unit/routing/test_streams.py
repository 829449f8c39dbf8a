"""How many long streams one agent may hold."""

from contextlib import ExitStack

import pytest

from openmcp.errors import Overloaded
from openmcp.mcp.revisions import LATEST
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Permitted
from openmcp.routing.streams import Streams, peer_holder
from tests.unit.routing.made import server


def wanting(http_method: str = "GET", method: str = "", holder: str = "bot") -> Permitted:
    return Permitted(server(), Arrival(http_method=http_method, revision=LATEST, method=method, holder=holder))


@pytest.mark.parametrize("kind", [("GET", ""), ("POST", "subscriptions/listen")])
def test_places_are_limited_for_each_holder(kind: tuple[str, str]) -> None:
    streams = Streams()
    streams.limit = 2
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(streams.hold(wanting(*kind)))
        with pytest.raises(Overloaded), streams.hold(wanting()):
            pass
        with streams.hold(wanting(holder="eve")):
            pass
    with streams.hold(wanting()):
        pass


def test_a_place_is_given_back_however_the_stream_ends() -> None:
    streams = Streams()
    streams.limit = 1
    for _ in range(3):
        with pytest.raises(KeyError), streams.hold(wanting()):
            raise KeyError


SHORT = pytest.mark.parametrize("kind", [("POST", "tools/call"), ("DELETE", ""), ("POST", "tools/list")])


@SHORT
def test_what_is_short_by_nature_needs_no_place_among_the_streams(kind: tuple[str, str]) -> None:
    streams = Streams()
    streams.limit = 0
    with streams.hold(wanting(*kind)):
        pass


@SHORT
def test_exchanges_of_every_kind_are_limited_for_each_holder(kind: tuple[str, str]) -> None:
    streams = Streams()
    streams.configure(streams=1, exchanges=20)
    with streams.hold(wanting("POST", "tools/call")), streams.hold(wanting(*kind)):
        with pytest.raises(Overloaded), streams.hold(wanting(*kind)):
            pass
        with streams.hold(wanting()), streams.hold(wanting(*kind, holder="eve")):
            pass
    with streams.hold(wanting(*kind)):
        pass


def test_an_agent_may_have_as_many_exchanges_as_streams_however_small_the_node() -> None:
    streams = Streams()
    streams.configure(streams=7, exchanges=10)
    assert streams.exchange_limit == 7


def test_a_lower_limit_ends_nothing_and_lets_nothing_new_in() -> None:
    streams = Streams()
    with streams.hold(wanting()):
        streams.limit = 1
        with pytest.raises(Overloaded), streams.hold(wanting()):
            pass


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:0:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("/run/socket:1", "/run/socket:2", False),
    ],
)
def test_peers_are_counted_by_what_one_subscriber_has(one: str, other: str, are_same: bool) -> None:
    assert (peer_holder(one) == peer_holder(other)) is are_same
