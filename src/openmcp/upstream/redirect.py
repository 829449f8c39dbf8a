"""Where a redirect leads, if it stays with the replica that gave it.

Called by `client`. Frameworks send `/mcp` to `/mcp/`; agents' clients do not follow
that for a POST, and an address behind the gateway must not reach them at all.
"""

import re
from collections.abc import Set
from urllib.parse import urljoin, urlsplit

from openmcp import errors
from openmcp.upstream.reply import Reply

_METHOD_KEEPING = frozenset({307, 308})
_LOCATION = re.compile(r"[!-~]{1,2048}")


def target(reply: Reply, current: str, *, hosts: Set[str]) -> str:
    """The request target to ask instead, at the same replica.

    `current` is the target that was asked, `hosts` the authorities that mean this replica.

    Raises:
        UpstreamBroken: the redirect changes the method, leads elsewhere, or cannot be read.
    """
    location = reply.header("location") or ""
    if reply.status not in _METHOD_KEEPING or not _LOCATION.fullmatch(location):
        raise errors.UpstreamBroken(detail=f"{reply.replica.url}: answered {reply.status}")
    scheme = "https" if reply.replica.is_tls else "http"
    try:
        there = urlsplit(urljoin(f"{scheme}://{reply.replica.authority}{current}", location))
    except ValueError:
        raise errors.UpstreamBroken(detail=f"{reply.replica.url}: unreadable redirect") from None
    allowed = {_with_port(host, is_tls=reply.replica.is_tls) for host in hosts}
    if there.scheme != scheme or _with_port(there.netloc.lower(), is_tls=reply.replica.is_tls) not in allowed:
        raise errors.UpstreamBroken(detail=f"{reply.replica.url}: redirect to another server")
    return (there.path or "/") + (f"?{there.query}" if there.query else "")


def _with_port(authority: str, *, is_tls: bool) -> str:
    return authority if re.search(r":\d+$", authority) else f"{authority}:{443 if is_tls else 80}"
