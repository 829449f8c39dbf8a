"""Small nouns for the tests of routing."""

from typing import Any

from openmcp.mcp import message as messages
from openmcp.mcp import methods, revisions
from openmcp.mcp.message import Message
from openmcp.mcp.revisions import Revision
from openmcp.model.agent import Agent, Principal, Trust
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Permitted
from openmcp.model.http import Peer, Request
from openmcp.model.origin import Origin
from openmcp.model.server import Authentication, Replica, Server
from openmcp.model.session import Session

REPLICAS = tuple(Replica(f"http://127.0.0.1:{port}/mcp", "127.0.0.1", port, "/mcp") for port in (1, 2, 3))


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def server(name: str = "desk", path: str | None = None, **fields: Any) -> Server:
    made = {"replicas": REPLICAS, "authentication": Authentication(()), **fields}
    return Server(name=name, path=f"/{name}" if path is None else path, **made)


def agent(name: str = "bot", *, on_behalf_of: str | None = None) -> Agent:
    return Agent(name, Principal(f"key:keys:{name}", "keys", "apiKey", Trust.SHARED_SECRET, on_behalf_of=on_behalf_of))


def request(path: str = "/desk", **headers: str) -> Request:
    return Request("POST", path, headers, b"", Peer("192.0.2.1"))


def session(id: str = "one", *, server: str = "desk", binding: str = "key:keys:bot") -> Session:
    return Session(id, server, REPLICAS[0].url, binding, "2025-11-25", 1000.0)


def call(name: str = "read", **params: Any) -> Message:
    return messages.request(7, methods.TOOLS_CALL, {"name": name, "arguments": {}, **params})


def permitted(
    message: Message | None = None,
    *,
    who: Agent | None = None,
    at: Server | None = None,
    session: Session | None = None,
    revision: Revision = revisions.LATEST,
    round: int = 0,
) -> Permitted:
    message = message or call()
    assert message.id is not None
    arrival = Arrival(
        http_method="POST",
        revision=revision,
        message=message,
        method=message.method,
        session=session,
        origin=Origin(message.id, message.method, str(message.params.get("name", ""))),
        round=round,
    )
    return Permitted(at or server(), arrival, agent=who or agent())
