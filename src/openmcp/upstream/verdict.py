"""What an answer of a replica means: which passes to the agent, and which is a failure.

Called by the gateway when the head of the answer is there. An upstream's own JSON-RPC
errors, a 404 for a session, 400 and 405 pass; everything else is ours to explain,
because a bare status would make SDK clients lose their session or start to log in.
"""

from openmcp.errors import OutcomeUnknown, UnknownSession, UpstreamBroken, UpstreamFailed, UpstreamUnreachable
from openmcp.mcp.message import Id, Kind, Message, read
from openmcp.model.decision import Permitted
from openmcp.upstream.reply import Reply

_JSON = "application/json"
_PASSING = frozenset({200, 400, 404, 405})
_DELIVERED = frozenset({200, 202, 204})


def ends_session(permitted: Permitted, reply: Reply) -> bool:
    """Whether the session is over: the server ended it, or does not know it."""
    if permitted.session is None:
        return False
    return reply.status == 404 or (permitted.http_method == "DELETE" and reply.status in _DELIVERED)


def check(permitted: Permitted, reply: Reply) -> None:
    """Return if the answer may be read and passed on.

    Raises: UnknownSession, UpstreamFailed or one of its kind.
    """
    status, replica = reply.status, reply.replica.url
    if status == 404 and permitted.session is not None:
        raise UnknownSession(detail=f"{replica} does not know the session any more")
    if status == 202 and permitted.is_request:
        raise OutcomeUnknown(detail=f"{replica} answered a request with 202")
    if status == 200 and permitted.http_method == "GET" and not reply.is_stream:
        raise UpstreamBroken(detail=f"{replica} answered a GET with {reply.content_type or 'no content'}")
    if status in _DELIVERED or (status in _PASSING and (permitted.is_request or permitted.message is None)):
        return
    if status in (401, 403):
        raise UpstreamBroken(detail=f"{replica} refused the gateway's own credentials: HTTP {status}")
    if status == 503:
        raise UpstreamUnreachable(detail=f"{replica} answered HTTP 503")
    raise UpstreamFailed(detail=f"{replica} answered HTTP {status}")


async def answer(permitted: Permitted, reply: Reply) -> Message | None:
    """Return the one message that answers a request; `None` for what has no answer but its status.

    An answer that comes as a stream (to `initialize`) is read up to its response.

    Raises: UpstreamBroken, OutcomeUnknown.
    """
    request = permitted.message
    if request is None or request.id is None or not permitted.is_request:
        return None
    if reply.is_stream:
        return await _response_in(reply, request.id)
    body = await reply.body()
    if reply.content_type != _JSON or not body:
        raise UpstreamBroken(detail=f"{reply.replica.url} answered HTTP {reply.status} without a JSON body")
    message = read(body)
    if not message.kind.is_reply:
        raise UpstreamBroken(detail=f"{reply.replica.url} answered with a {message.kind.value}")
    # Errors about the HTTP request carry no id, or one of the server's own making.
    is_about_http = message.kind is Kind.ERROR and (message.id is None or reply.status != 200)
    return message.with_id(request.id) if is_about_http else message


async def _response_in(reply: Reply, request_id: Id) -> Message:
    async for event in reply.events():
        if event is not None and event.data:
            message = read(event.data)
            if message.kind.is_reply and message.id == request_id:
                return message
    raise OutcomeUnknown(detail=f"{reply.replica.url} ended the stream without the answer")
