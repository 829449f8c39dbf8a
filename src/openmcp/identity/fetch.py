"""Fetches small public documents of token issuers: discovery documents and key sets.

The only file of the identity stage that opens connections. HTTPS only, but for loopback; no
redirects, a size cap and a deadline, because what comes back decides who is believed.
"""

import asyncio
import ipaddress
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import urlsplit

import httpx2

TIMEOUT_S = 5.0
MAX_BYTES = 512 << 10
"""Key sets have a few kilobytes; ten megabytes are an attack or a wrong address."""


class FetchFailed(Exception):
    """A document could not be had; the text says why, for the record and the process log."""


class Fetch(Protocol):
    """Gets a JSON object from a URL."""

    async def __call__(self, url: str) -> Mapping[str, object]:
        """Return the object. Raises: FetchFailed."""
        ...


def is_fetchable(url: str) -> bool:
    """Whether a URL may be asked for keys: `https://`, or `http://` on loopback."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class HttpFetch:
    """Asks over HTTP, as one issuer is configured."""

    def __init__(self, *, ca_file: Path | None = None, token_file: Path | None = None, token_origin: str = "") -> None:
        """`ca_file`: trusted instead of the system's authorities. `token_file`: shown to `token_origin` alone."""
        self._ca_file = ca_file
        self._token_file = token_file
        self._token_origin = origin_of(token_origin)

    async def __call__(self, url: str) -> Mapping[str, object]:
        """Return the JSON object at `url`. Raises: FetchFailed."""
        if not is_fetchable(url):
            raise FetchFailed(f"{url} is not https://")
        try:
            async with asyncio.timeout(TIMEOUT_S):
                body = await self._body(url)
        except TimeoutError:
            raise FetchFailed(f"{url} did not answer within {TIMEOUT_S:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ssl.SSLError) as error:
            raise FetchFailed(f"{url}: {type(error).__name__} {error}".strip()) from None
        try:
            found = cast("object", json.loads(body))
        except (ValueError, RecursionError):
            raise FetchFailed(f"{url} gave no JSON") from None
        if not isinstance(found, dict):
            raise FetchFailed(f"{url} gave no JSON object")
        return cast("dict[str, object]", found)

    async def _body(self, url: str) -> bytes:
        # Made for each fetch, which is rare: files that were rotated are read again, and no connection is kept.
        is_local = is_loopback(urlsplit(url).hostname or "")
        # Reading the system's authorities takes a while.
        ca_file = str(self._ca_file) if self._ca_file else None
        verify = await asyncio.to_thread(ssl.create_default_context, cafile=ca_file)
        async with (
            httpx2.AsyncClient(
                verify=verify, timeout=TIMEOUT_S, trust_env=not is_local, headers=self._headers(url)
            ) as client,
            client.stream("GET", url, follow_redirects=False) as response,
        ):
            if response.status_code != 200:
                raise FetchFailed(f"{url} answered {response.status_code}")
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > MAX_BYTES:
                    raise FetchFailed(f"{url} gave more than {MAX_BYTES} bytes")
            return bytes(body)

    def _headers(self, url: str) -> dict[str, str]:
        # Uncompressed, so that the cap counts what is read.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._token_file is not None and origin_of(url) == self._token_origin:
            # Anybody else would learn it, such as a host that a discovery document names.
            headers["Authorization"] = f"Bearer {self._token_file.read_text(encoding='ascii').strip()}"
        return headers


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, in one spelling."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


_: type[Fetch] = HttpFetch
