"""Resumable streams for the reference server: one event store for each session.

Used by `reference` alone. The SDK names a stream by the id of its request, which is
unique only within a session; with one store for all, a resumed stream could show the
events of somebody else's.
"""

import itertools
from collections import defaultdict

from mcp.server.streamable_http import EventCallback, EventId, EventMessage, EventStore, StreamId
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import JSONRPCMessage


class MemoryEvents(EventStore):
    """Every event of every stream of one session, with replay from any position."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._events: dict[StreamId, list[tuple[EventId, JSONRPCMessage | None]]] = defaultdict(list)
        self._stream_of: dict[EventId, StreamId] = {}

    async def store_event(self, stream_id: StreamId, message: JSONRPCMessage | None) -> EventId:
        """The id under which the event can be asked for again; `None` is a priming event."""
        event_id = f"e{next(self._numbers)}"
        self._events[stream_id].append((event_id, message))
        self._stream_of[event_id] = stream_id
        return event_id

    async def replay_events_after(self, last_event_id: EventId, send_callback: EventCallback) -> StreamId | None:
        """Send what came after; the stream's id, or `None` for an event id that was never given out."""
        stream_id = self._stream_of.get(last_event_id)
        if stream_id is None:
            return None
        events = self._events[stream_id]
        position = next(index for index, (event_id, _) in enumerate(events) if event_id == last_event_id)
        for event_id, message in events[position + 1 :]:
            if message is not None:
                await send_callback(EventMessage(message, event_id))
        return stream_id


class Sessions(StreamableHTTPSessionManager):
    """The SDK's session manager, with a fresh store for each session it opens."""

    @property
    def event_store(self) -> EventStore | None:
        return MemoryEvents()

    @event_store.setter
    def event_store(self, value: EventStore | None) -> None:
        """The base class assigns what its constructor got; there is nothing to keep."""
