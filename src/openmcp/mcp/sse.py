"""Server-sent events, both ways, without I/O (WHATWG HTML §9.2).

`upstream/` feeds a `Decoder` with whatever the socket gives; the responder writes
`encode(…)`. Knows nothing of what the data mean.
"""

import re
from typing import Final, NamedTuple

from openmcp.errors import UpstreamBroken

COMMENT: Final = b":\n\n"
"""Shows that a stream is alive; clients ignore it. The blank line makes proxies pass it on."""


class Event(NamedTuple):
    """One event, complete."""

    data: bytes
    """Lines joined by LF; empty in a priming event, which only carries an id."""

    id: str | None = None
    """As sent with this event; `None` = the event has none."""

    event: str | None = None
    """The type; `None` = none was named, which means `message`."""

    retry: int | None = None
    """Milliseconds."""


class Decoder:
    """Turns bytes into events, in time linear in the bytes however they are cut."""

    def __init__(self, max_bytes: int) -> None:
        """Read events of at most `max_bytes`."""
        self.comments = 0
        """Comment lines seen and dropped."""

        self._max_bytes = max_bytes
        self._line = bytearray()
        self._is_first_line = True
        self._is_after_cr = False
        self._data: list[bytes] = []
        self._id: str | None = None
        self._event: str | None = None
        self._retry: int | None = None
        self._has_fields = False
        self._size = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes. Raises: UpstreamBroken, if one is too large."""
        if self._is_after_cr and chunk:
            self._is_after_cr = False
            if chunk[0] == _LF:
                # The second half of a CRLF that was cut in two.
                chunk = chunk[1:]
        if not chunk:
            return []
        lines = chunk.splitlines()
        last = chunk[-1]
        rest = lines.pop() if last not in (_LF, _CR) else b""
        self._is_after_cr = last == _CR
        events = self._take(lines) if lines else []
        if rest:
            self._line += rest
            self._check_size(len(self._line))
        return events

    def finish(self) -> bool:
        """Return whether the stream ended between events; what hangs over is no event and is dropped."""
        is_clean = not self._line and not self._has_fields
        self._line.clear()
        self._reset()
        return is_clean

    def _take(self, lines: list[bytes]) -> list[Event]:
        if self._line:
            lines[0] = bytes(self._line) + lines[0]
            self._line.clear()
        if self._is_first_line:
            self._is_first_line = False
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
        events: list[Event] = []
        for line in lines:
            if line:
                self._field(line)
            elif self._has_fields:
                if self._data or self._id is not None or self._retry is not None:
                    events.append(Event(b"\n".join(self._data), self._id, self._event, self._retry))
                self._reset()
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if not name:
            self.comments += 1
            return
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace") or None
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"retry":
            if value.isdigit() and len(value) <= _RETRY_DIGITS:
                self._retry = int(value)
        else:
            return
        self._has_fields = True
        self._check_size(len(line))
        self._size += len(line)

    def _check_size(self, more: int) -> None:
        if self._size + more > self._max_bytes:
            raise UpstreamBroken(detail=f"an event is longer than {self._max_bytes} bytes")

    def _reset(self) -> None:
        self._data = []
        self._id = self._event = self._retry = None
        self._has_fields = False
        self._size = 0


def encode(data: bytes, *, id: str | None = None, retry: int | None = None) -> bytes:
    """Return one event. Raises: ValueError, if the id would break out of its line."""
    head = b""
    if id is not None:
        if not _ID.fullmatch(id):
            raise ValueError("an event id holds a line break or NUL")
        head = b"id: " + id.encode() + b"\n"
    if retry is not None:
        head += b"retry: %d\n" % retry
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_BREAK.split(data))
    return head + b"data: " + data + b"\n\n"


_LF, _CR = b"\n\r"
_RETRY_DIGITS = 12
_ID = re.compile(r"[^\r\n\0]*")
_BREAK = re.compile(rb"\r\n|\r|\n")
