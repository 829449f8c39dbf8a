"""Posts batches to a collector, for the sinks that send the log elsewhere. Called from threads of their own: it blocks.

Redirects are not followed and no proxy of the environment is used: evidence goes where the
configuration says, or nowhere.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import httpx2

from openmcp.audit.sinks.base import BatchRefused, SinkFailed

BATCH_BYTES: Final = 1 << 20
"""Largest batch, unless a single line is longer."""

_ACCEPTED: Final = range(200, 300)
_REFUSED: Final = frozenset({400, 413, 415, 422})
"""What says that just these bytes will never be taken; all else may be other tomorrow."""

_ANSWER_BYTES: Final = 64 << 10


class HeaderValue(Protocol):
    """One header (`model.server.Credential`)."""

    @property
    def header(self) -> str: ...

    @property
    def value(self) -> str: ...


class Poster:
    """One collector."""

    def __init__(
        self, url: str, *, headers: tuple[HeaderValue, ...] = (), ca_file: Path | None = None, timeout_s: float = 10.0
    ) -> None:
        self._url = url
        self._headers = {item.header: item.value for item in headers}
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._client: httpx2.Client | None = None

    def open(self) -> None:
        """Get ready; nothing is sent yet. Raises: SinkFailed if the authorities cannot be read."""
        try:
            trust = ssl.create_default_context(cafile=str(self._ca_file) if self._ca_file is not None else None)
        except (OSError, ssl.SSLError) as error:
            raise SinkFailed(f"{self._ca_file}: {error}") from error
        self._client = httpx2.Client(verify=trust, timeout=self._timeout_s, trust_env=False, headers=self._headers)

    def post(self, body: bytes, content_type: str, *, headers: Mapping[str, str] | None = None) -> bytes:
        """Return the beginning of the answer when the collector has taken the batch.

        Raises: BatchRefused if it never will; SinkFailed if it did not now.
        """
        if self._client is None:
            self.open()
        assert self._client is not None
        fields = {"Content-Type": content_type, **(headers or {})}
        try:
            answer = self._client.post(self._url, content=body, headers=fields)
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, OSError) as error:
            raise SinkFailed(f"{self._url}: {type(error).__name__}: {error}") from error
        if answer.status_code in _ACCEPTED:
            return answer.content[:_ANSWER_BYTES]
        said = f"{self._url} answered HTTP {answer.status_code}"
        raise BatchRefused(said) if answer.status_code in _REFUSED else SinkFailed(said)

    def close(self) -> None:
        """Release the connections; may be repeated."""
        if self._client is not None:
            self._client.close()
            self._client = None


def whole_lines(data: bytes) -> bytes:
    """Return as many whole lines as one batch takes, at least one."""
    if len(data) <= BATCH_BYTES:
        return data
    end = data.rfind(b"\n", 0, BATCH_BYTES) + 1
    return data[: end or data.find(b"\n", BATCH_BYTES) + 1 or len(data)]
