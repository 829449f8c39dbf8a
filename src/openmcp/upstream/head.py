"""The head of a request to a replica: what the gateway presents, and framing that cannot be bent.

Called by `client`. Does no I/O and decides nothing: which of the agent's headers pass
was decided by the gateway; here they are only kept from breaking out of their line.
"""

import re
from collections.abc import Iterable
from enum import Enum, auto

from openmcp import errors
from openmcp.model.server import Replica, Server

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A field name (RFC 9110 §5.1)."""

_KNOWN_NAMES_CAP = 1024
"""Names are chosen by agents (`Mcp-Param-*`), so what is remembered of them is bounded."""


class _Use(Enum):
    PASS = auto()
    SET_HERE = auto()
    HOST = auto()
    REFUSE = auto()


_RESERVED = {
    "host": _Use.HOST,
    # What is sent is our own serialisation, and answers are read uncompressed.
    "content-type": _Use.SET_HERE,
    "accept-encoding": _Use.SET_HERE,
    # A second reading of where the message ends is request smuggling (RFC 9112 §11.2).
    "content-length": _Use.REFUSE,
    "transfer-encoding": _Use.REFUSE,
    "connection": _Use.REFUSE,
    "keep-alive": _Use.REFUSE,
    "upgrade": _Use.REFUSE,
    "te": _Use.REFUSE,
    "trailer": _Use.REFUSE,
    "expect": _Use.REFUSE,
}


class HeadTemplate:
    """All of a request's head that does not change between exchanges of one server and replica."""

    def __init__(self, server: Server, replica: Replica) -> None:
        self.server = server
        self.replica = replica
        self._host = {"upstream": replica.authority, "client": ""}.get(server.upstream_host, server.upstream_host)
        self._fields = _lines([("Accept-Encoding", "identity"), *_credentials(server)])
        self._uses = {**_RESERVED, **{c.header.lower(): _Use.SET_HERE for c in server.credentials}}
        self._known: dict[str, _Use] = {}

    def render(self, method: str, target: str, *, headers: Iterable[tuple[str, str]], body: bytes | None) -> bytes:
        """The bytes of the whole request, in one piece for one write.

        Raises:
            Malformed: a header cannot be sent as it is.
        """
        known = self._known
        host = self._host
        passed: list[tuple[str, str]] = []
        for field in headers:
            use = known.get(field[0]) or self._classify(field[0])
            if use is _Use.PASS:
                passed.append(field)
            elif use is _Use.HOST:
                # Only `client` leaves room for it; a host that is set stays.
                host = host or _clean(field[1])
            elif use is _Use.REFUSE:
                raise errors.Malformed(detail=f"header {field[0]} is not the sender's to set")
        start = f"{method} {target} HTTP/1.1\r\nHost: {host or self.replica.authority}\r\n{self._fields}"
        if body is None:
            return _encode(f"{start}{_lines(passed)}\r\n")
        framing = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return _encode(f"{start}{_lines(passed)}{framing}") + body

    def sent_hosts(self, headers: Iterable[tuple[str, str]]) -> frozenset[str]:
        """The authorities that mean this replica, lower-case: where a redirect may lead."""
        host = self._host or next((value for name, value in headers if name.lower() == "host"), "")
        return frozenset({self.replica.authority.lower(), host.lower()} - {""})

    def _classify(self, name: str) -> _Use:
        if not _TOKEN.fullmatch(name):
            raise errors.Malformed(detail="a header name is not a token")
        use = self._uses.get(name.lower(), _Use.PASS)
        if len(self._known) < _KNOWN_NAMES_CAP:
            self._known[name] = use
        return use


def _credentials(server: Server) -> list[tuple[str, str]]:
    return [(credential.header, credential.value) for credential in server.credentials]


def _lines(fields: list[tuple[str, str]]) -> str:
    """The header lines of `fields`. Raises: Malformed where one would become two."""
    text = "".join([f"{name}: {value}\r\n" for name, value in fields])
    if text.count("\r") != len(fields) or text.count("\n") != len(fields) or "\0" in text:
        raise errors.Malformed(detail="a header holds a line break or a NUL")
    return text


def _clean(value: str) -> str:
    if "\r" in value or "\n" in value or "\0" in value:
        raise errors.Malformed(detail="a header holds a line break or a NUL")
    return value


def _encode(head: str) -> bytes:
    try:
        return head.encode("latin-1")
    except UnicodeEncodeError:
        raise errors.Malformed(detail="a header holds characters that HTTP cannot carry") from None
