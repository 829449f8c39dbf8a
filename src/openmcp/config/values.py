"""The written forms of values: durations, sizes, addresses, URLs, paths, globs.

Each has one function that reads it and raises ValueError with a sentence for the
operator, and one annotated type for the models, which keeps the text.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field

from openmcp.language import detector, paths, patterns, regexes
from openmcp.language.globs import MAX_WILDCARDS

_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_SIZE = re.compile(r"([0-9]+)(B|KiB|MiB|GiB)")
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*", re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")

_GLOB_CHARS = 1024
_SEARCH_CHARS = 4096
_KEYWORD_CHARS = 256


@dataclass(frozen=True, slots=True)
class Address:
    """Where a socket listens."""

    host: str
    """IP address or host name, without brackets."""

    port: int
    """0 = any free port."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def header_name(text: str) -> str:
    """Return the header name as it is.

    Raises: ValueError where it is none (RFC 9110 §5.1).
    """
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"`{text[:80]}` is not a header name")
    return text


def duration_s(text: str) -> float:
    """Return the seconds of `30s`, `250ms`, `15m`, `8h`, `2d` or a sequence such as `1h30m`.

    Raises: ValueError for anything else, and for a duration of nothing.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError(f"`{text[:80]}` is not a duration: write a number and a unit (ms, s, m, h, d), such as 30s")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if not 0 < seconds < float("inf"):
        raise ValueError(f"`{text[:80]}` is not a usable duration: it has to be longer than zero")
    return seconds


def size_bytes(text: str) -> int:
    """Return the bytes of `512B`, `256KiB`, `4MiB` or `1GiB`.

    Raises: ValueError for anything else, and for zero.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text[:80]}` is not a size: write a number and a unit (B, KiB, MiB, GiB), such as 4MiB")
    size = int(match[1]) * _BYTES[match[2]]
    if not size:
        raise ValueError(f"`{text}` is not a usable size: it has to be more than zero")
    return size


def address(text: str) -> Address:
    """Return host and port of `127.0.0.1:8080` or `[::1]:8080`.

    Raises: ValueError where either is missing or impossible.
    """
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"`{text[:80]}` is not an address: write HOST:PORT, such as 127.0.0.1:8080 or [::]:8080")
    if host.startswith("[") and host.endswith("]"):
        host = str(_ip(host[1:-1]))
    elif not _HOST.fullmatch(host):
        raise ValueError(f"`{text[:80]}` is not an address: `{host[:80]}` is neither an IP address nor a host name")
    return Address(host.lower(), int(port))


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"`{text[:80]}` is not an IP address") from None


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network(text: str) -> Network:
    """Return the network of `10.0.0.0/8`; a single address is a network of one.

    Raises: ValueError where it is none, or has bits set beyond its prefix.
    """
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"`{text[:80]}` is not a network: write ADDRESS/PREFIX, such as 10.0.0.0/8") from None


def base_url(text: str) -> SplitResult:
    """Return the parts of an `http://` or `https://` URL that names a host and perhaps a port, nothing more.

    Raises: ValueError for anything else.
    """
    parts = _web_url(text, "https://mcp.example.com")
    if parts.path not in ("", "/"):
        raise ValueError(f"`{text[:200]}` has a path; give scheme, host and port only")
    return parts


def web_url(text: str) -> SplitResult:
    """Return the parts of an `http://` or `https://` URL. Raises: ValueError for anything else."""
    return _web_url(text, "https://hooks.example.com/openmcp", is_query_allowed=True)


def replica_url(text: str) -> SplitResult:
    """Return the parts of a replica's `http://` or `https://` URL.

    Raises: ValueError for anything that cannot be called as it is.
    """
    return _web_url(text, "http://10.0.0.11:8080/mcp", is_query_allowed=True)


def _web_url(text: str, example: str, *, is_query_allowed: bool = False) -> SplitResult:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"`{text[:200]}` is not a URL: write it like {example}") from None
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or port == 0 or not text.isascii() or _has_space(text):
        raise ValueError(f"`{text[:200]}` is not a URL: write it like {example}")
    if not _HOST.fullmatch(host):
        _ip(host)
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL must not hold a user or password: use `credentials`")
    if parts.fragment or (parts.query and not is_query_allowed):
        raise ValueError(f"`{text[:200]}` has a query or fragment, which means nothing here")
    return parts


def _has_space(text: str) -> bool:
    return any(ord(char) <= 0x20 or ord(char) == 0x7F for char in text)


def public_path(text: str) -> str:
    """Return the path prefix without its trailing slash; `""` for `/`.

    Raises: ValueError for a path that could be read in two ways.
    """
    if not text.startswith("/"):
        raise ValueError(f"`{text[:200]}` is not a path: it has to start with `/`")
    path = text.removesuffix("/")
    if not _PATH.fullmatch(path) or any(segment in (".", "..") for segment in path.split("/")):
        raise ValueError(
            f"`{text[:200]}` is not a normal path: no empty, `.` or `..` segments, no percent-encoding, no query"
        )
    return path


def host_name(text: str) -> str:
    """Return the host name or IP address in lower case, IPv6 in brackets.

    Raises: ValueError where it holds a port, a wildcard or anything else.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        return f"[{_ip(bare)}]"
    if not _HOST.fullmatch(text):
        raise ValueError(f"`{text[:80]}` is not a host name: give the name alone, without scheme, port or wildcard")
    return text.lower()


def origin(text: str) -> str:
    """Return a browser origin (`https://app.example.com`) in lower case, without trailing slash.

    Raises: ValueError for anything else.
    """
    return base_url(text).geturl().rstrip("/").lower()


def state_url(text: str) -> tuple[str, str]:
    """Return the store's name and its path (`""` = the default place): `sqlite`, `sqlite:PATH` or `memory:`.

    Raises: ValueError for any other store.
    """
    store, _, path = text.partition(":")
    if store == "sqlite" or text == "memory:":
        return store, path
    if store in ("redis", "rediss", "valkey", "valkeys", "dynamodb"):
        raise ValueError(f"`{store}:` is not available in this version: use `sqlite` or `memory:`")
    raise ValueError(f"`{store[:80]}` is not a state store: write `sqlite`, `sqlite:PATH` or `memory:`")


def glob(text: str) -> str:
    """Return the glob as it is.

    Raises: ValueError where it is empty or too costly to match.
    """
    if not text or len(text) > _GLOB_CHARS or any(ord(char) < 0x20 for char in text):
        raise ValueError(f"a pattern has 1 to {_GLOB_CHARS} characters and no control characters")
    if len(re.findall(r"\*+", text)) > MAX_WILDCARDS:
        raise ValueError(f"`{text[:80]}` has more than {MAX_WILDCARDS} wildcards")
    return text


def _kept(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that keeps the text which `check` accepts."""

    def keep(text: str) -> str:
        check(text)
        return text

    return AfterValidator(keep)


def regex(text: str) -> str:
    """Return the regular expression as it is. Raises: ValueError with RE2's words if RE2 refuses it."""
    if not text or len(text) > _GLOB_CHARS:
        raise ValueError(f"a regular expression has 1 to {_GLOB_CHARS} characters")
    try:
        patterns.search(text)
    except ValueError as error:
        raise ValueError(f"RE2 refuses `{text[:80]}`: {error}") from None
    return text


def search(text: str) -> str:
    """Return the pattern of a detector as it is. Raises: ValueError if RE2 refuses it, or it is no use in a search."""
    if not text or len(text) > _SEARCH_CHARS:
        raise ValueError(f"a pattern has 1 to {_SEARCH_CHARS} characters")
    try:
        regexes.Expression(text)
    except ValueError as error:
        raise ValueError(f"`{text[:80]}`: {error}") from None
    return text


def keyword(text: str) -> str:
    """Return the keyword as it is. Raises: ValueError where it holds nothing that could be found."""
    if not text or len(text) > _KEYWORD_CHARS:
        raise ValueError(f"a keyword has 1 to {_KEYWORD_CHARS} characters")
    regexes.Expression(detector.keyword(text))
    return text


DURATION_PATTERN = f"^{_DURATION.pattern}$"
SIZE_PATTERN = f"^{_SIZE.pattern}$"

Duration = Annotated[str, _kept(duration_s), Field(json_schema_extra={"pattern": DURATION_PATTERN})]
Size = Annotated[str, _kept(size_bytes), Field(json_schema_extra={"pattern": SIZE_PATTERN})]
AddressText = Annotated[str, _kept(address)]
NetworkText = Annotated[str, _kept(network)]
BaseUrl = Annotated[str, _kept(base_url)]
ReplicaUrl = Annotated[str, _kept(replica_url)]
WebUrl = Annotated[str, _kept(web_url)]
PublicPath = Annotated[str, _kept(public_path)]
HostName = Annotated[str, _kept(host_name)]
StateUrl = Annotated[str, _kept(state_url)]
Origin = Annotated[str, _kept(origin)]
Glob = Annotated[str, _kept(glob)]
SearchText = Annotated[str, _kept(search)]
Keyword = Annotated[str, _kept(keyword)]
RegexText = Annotated[str, _kept(regex)]
PathText = Annotated[str, _kept(paths.compile_path)]
