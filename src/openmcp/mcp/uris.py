"""One spelling per resource: what is wrong with a URI that a server could read as another one.

Used by `mcp.methods` for every URI that an agent accesses. Rules compare URIs as they are
spelt, while servers normalise them (RFC 3986 §6, and the WHATWG URL standard, by which the
common SDKs read): a spelling that would be changed on the way is a way round the rules. So
only spellings are let through that every reader leaves alone. Knows no rules and no lists.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import unquote_to_bytes

MAX_CHARS: Final = 8 << 10
"""Longest URI of a resource, so that reading one stays cheap."""


def fault(uri: str) -> str:
    """Return what could be read in two ways, in words for the agent; empty if nothing."""
    # Most URIs hold nothing that could be normalised, and one look tells so.
    return "" if len(uri) <= _SHORT and _PLAIN.fullmatch(uri) else _fault(uri)


def template_fault(template: str) -> str:
    """Return the same of a URI template (RFC 6570), whose expressions may hold what no URI may."""
    return fault(_EXPRESSION.sub("x", template))


_SHORT = 512
_SEGMENT = r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*"
# No host that a reader would fold, no segment that begins with a dot, and of the special schemes `file` only.
_PLAIN = re.compile(
    rf"(?!(?:file|https?|wss?|ftp):)[a-z][a-z0-9+.-]*://{_SEGMENT}(?:/{_SEGMENT})*/?"
    rf"|file://(?:/{_SEGMENT})+/?"
)
_ODD = re.compile(r"[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]")
_PARTS = re.compile(r"(?:([^:/?#]*):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_EXPRESSION = re.compile(r"\{[A-Za-z0-9_.%,:*+#/;?&=!@|]+\}")
_TRIPLET = re.compile(r"%[0-9A-F]{2}")
# Percent-encoded letters, digits, `-`, `.`, `_` and `~`, and an encoded percent sign that makes a second encoding.
_NEEDLESS = re.compile(r"%(?:2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])|%25[0-9A-Fa-f]{2}")
_UPPER = re.compile(r"[A-Z]")
_CONTROL = re.compile(rb"[\0-\x1f\x7f]")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")

_DEFAULT_PORTS: Final = {"http": "80", "ws": "80", "https": "443", "wss": "443", "ftp": "21", "file": None}
"""The schemes that the WHATWG standard calls special, with the port that it leaves out."""


def _fault(uri: str) -> str:
    if len(uri) > MAX_CHARS:
        return "it is too long"
    if _ODD.search(uri):
        return "it holds a space, a control character, a backslash or another character that must be percent-encoded"
    if uri.count("%") != len(_TRIPLET.findall(uri)):
        return "a percent sign is not followed by two hexadecimal digits in upper case"
    if _NEEDLESS.search(uri):
        return "a character is percent-encoded that needs no encoding, or encoded twice"
    parts = _PARTS.fullmatch(uri)
    if parts is None:
        return "it is no URI"
    scheme, authority, path, query, fragment = parts.groups()
    return (
        _scheme_fault(scheme, authority, path)
        or _authority_fault(scheme, authority or "")
        or _path_fault((authority or "") + path)
        or (_file_fault(authority, path, query or fragment) if scheme == "file" else "")
        or _query_fault(scheme, query or "")
    )


def _scheme_fault(scheme: str | None, authority: str | None, path: str) -> str:
    if scheme is not None and _UPPER.search(scheme):
        return "its scheme is not in lower case"
    if scheme in _DEFAULT_PORTS:
        if authority is None or (not authority and scheme != "file"):
            return f"a {scheme} URI needs {scheme}:// and a host"
        if not path:
            return "its path is empty: it begins with a slash"
    return ""


def _authority_fault(scheme: str | None, authority: str) -> str:
    is_special = scheme in _DEFAULT_PORTS
    # What stands there in another scheme is a name of the server's own making: `ticket://T-1`.
    if is_special and _UPPER.search(_TRIPLET.sub("", authority)):
        return "its host is not in lower case"
    userinfo, at, rest = authority.rpartition("@")
    if at and (is_special or not userinfo or userinfo.endswith(":")):
        return "it names a user"
    host, colon, port = _host_and_port(rest)
    if colon and (not port or port.startswith("0") or port == _DEFAULT_PORTS.get(scheme or "")):
        return "it names a port that is left out, or with leading zeros"
    if host.startswith("["):
        return "" if _is_plain_ipv6(host) else "its IP address is not in the shortest form"
    return _host_fault(host) if is_special else ""


def _host_and_port(rest: str) -> tuple[str, str, str]:
    host, bracket, behind = rest.rpartition("]")
    if bracket:
        return host + bracket, *behind.partition(":")[1:]
    return rest.partition(":")


def _host_fault(host: str) -> str:
    """Return what a reader of a special scheme would change in a name: it decodes, and reads numbers as addresses."""
    if "%" in host or host.endswith("."):
        return "its host is percent-encoded or ends with a dot"
    labels = host.split(".")
    if any(label.startswith("xn--") and label.endswith("-") for label in labels):
        return "its host holds an encoding of plain letters"
    if _NUMERIC.fullmatch(labels[-1]) and not _is_plain_ipv4(host):
        return "its IP address is not written as four numbers"
    return ""


def _is_plain_ipv4(host: str) -> bool:
    try:
        return str(ipaddress.IPv4Address(host)) == host
    except ValueError:
        return False


def _is_plain_ipv6(host: str) -> bool:
    try:
        return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]" == host and "." not in host and "%" not in host
    except ValueError:
        return False


def _path_fault(path: str) -> str:
    # Servers that map resources to files decode first and split then, on either slash; to them the host is a folder.
    decoded = unquote_to_bytes(path) if "%" in path else path.encode()
    if any(segment in (b".", b"..") for segment in decoded.replace(b"\\", b"/").split(b"/")):
        return "it holds . or .. as a part of the path"
    if _CONTROL.search(decoded):
        return "its path holds an encoded control character"
    return ""


def _file_fault(authority: str | None, path: str, behind: str | None) -> str:
    """Return what a file system would read otherwise: there the meaning is not the server's own."""
    if authority == "localhost":
        return "localhost is left out of a file URI"
    if "//" in path or "%2F" in path or "%5C" in path:
        return "its path holds an empty part or an encoded slash"
    return "a file URI has neither query nor fragment" if behind is not None else ""


def _query_fault(scheme: str | None, query: str) -> str:
    return "its query holds an apostrophe" if scheme in _DEFAULT_PORTS and "'" in query else ""
