"""Refusals of the edge itself, in the protocol's form.

Used where no handler speaks: before one was called, and after one has failed.
"""

import secrets
from typing import NamedTuple

from openmcp.errors import Form, OpenMCPError
from openmcp.mcp import headers, refusals, revisions
from openmcp.model.http import Request


class Answer(NamedTuple):
    """A whole answer, as `Wire.respond` takes it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def answer(error: OpenMCPError, request: Request | None = None) -> Answer:
    """Return the answer that says no to a request, or to what never became one."""
    message = refusals.peek(error, request.body) if request is not None and error.form is not Form.HTTP else None
    form = refusals.refusal(error, message, _revision(request), exchange_id=secrets.token_hex(8))
    return Answer(form.status, form.headers, form.body)


def _revision(request: Request | None) -> revisions.Revision:
    try:
        return revisions.of(request.headers.get(headers.MCP_PROTOCOL_VERSION.lower()) if request is not None else None)
    except OpenMCPError:
        return revisions.LATEST_LEGACY
