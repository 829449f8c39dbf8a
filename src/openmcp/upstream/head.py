"""The head of a request to a replica: what the gateway presents, and framing that cannot be bent.

Called by `client`. Does no I/O and decides nothing: which of the agent's headers pass
was decided by the gateway; here they are only kept from breaking out of their line.
"""

import re
from collections.abc import Sequence

from openmcp import errors
from openmcp.model.server import Replica, Server

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A field name (RFC 9110 §5.1)."""

_KNOWN_NAMES_CAP = 1024
"""Names are chosen by agents (`Mcp-Param-*`), so what is remembered of them is bounded."""


_SET_HERE = frozenset({"host", "content-type", "accept-encoding"})
"""What is sent is our own serialisation, answers are read uncompressed, and the host is configured."""

_FRAMING = frozenset(
    {"content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "expect"}
)
"""A second reading of where the message ends is request smuggling (RFC 9112 §11.2)."""


class HeadTemplate:
    """All of a request's head that does not change between exchanges of one server and replica."""

    def __init__(self, server: Server, replica: Replica) -> None:
        self.server = server
        self.replica = replica
        self._host = {"upstream": replica.authority, "client": ""}.get(server.upstream_host, server.upstream_host)
        self._fields = "".join([f"\r\n{name}: {value}" for name, value in _own_fields(server)])
        self._own_names = _SET_HERE | {credential.header.lower() for credential in server.credentials}
        self._own_breaks = 1 + len(_own_fields(server))
        self._labels: dict[str, str] = {}

    def render(self, method: str, target: str, *, headers: Sequence[tuple[str, str]], body: bytes | None) -> bytes:
        """The bytes of the whole request, in one piece for one write.

        Raises:
            Malformed: a header cannot be sent as it is.
        """
        host = self._host or _value(headers, "host") or self.replica.authority
        lines = [f"{method} {target} HTTP/1.1\r\nHost: {host}{self._fields}"]
        labels = self._labels
        for name, value in headers:
            label = labels.get(name)
            if label is None:
                label = self._label(name)
            if label:
                lines.append(label + value)
        if body is not None:
            lines.append(f"Content-Type: application/json\r\nContent-Length: {len(body)}")
        text = "\r\n".join(lines)
        # Every break is one of ours, or a value has broken out of its line.
        breaks = self._own_breaks + len(lines) - 1 + (body is not None)
        if text.count("\r") != breaks or text.count("\n") != breaks or "\0" in text:
            raise errors.Malformed(detail="a header holds a line break or a NUL")
        try:
            head = f"{text}\r\n\r\n".encode("latin-1")
        except UnicodeEncodeError:
            raise errors.Malformed(detail="a header holds characters that HTTP cannot carry") from None
        return head + body if body else head

    def sent_hosts(self, headers: Sequence[tuple[str, str]]) -> frozenset[str]:
        """The authorities that mean this replica, lower-case: where a redirect may lead."""
        host = self._host or _value(headers, "host")
        return frozenset({self.replica.authority.lower(), host.lower()} - {""})

    def _label(self, name: str) -> str:
        """What stands before the value of a field that passes; `""` if the gateway says it itself."""
        lower = name.lower()
        if lower in _FRAMING or not _TOKEN.fullmatch(name):
            raise errors.Malformed(detail=f"header {name!r} is not the sender's to set")
        label = "" if lower in self._own_names else f"{name}: "
        if len(self._labels) < _KNOWN_NAMES_CAP:
            self._labels[name] = label
        return label


def _own_fields(server: Server) -> list[tuple[str, str]]:
    credentials = [(credential.header, credential.value) for credential in server.credentials]
    return [("Accept-Encoding", "identity"), *credentials]


def _value(headers: Sequence[tuple[str, str]], wanted: str) -> str:
    return next((value for name, value in headers if name.lower() == wanted), "")
