"""A gateway with two agents that show keys, and servers with different rules; shared by policy and refusal tests."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.gateway import Document, Gateway, Key, key_source, policy, running_gateway, server
from tests.support.servers import Backend

ALICE, BOB, EVE = Key("alice"), Key("bob"), Key("eve")

REASON = "Crashing is not for you."
SUBJECTS = {"tools": ["**"], "prompts": ["**"], "resources": ["**"]}
# What a server may ask of the agent: rules that name subjects do not speak of it.
QUESTIONS = {"methods": ["elicitation/create", "sampling/createMessage"]}


@dataclass(frozen=True)
class Guarded:
    """The running gateway and what stands behind it.

    `/strict` needs a key: alice may use everything but `big` (denied without a word) and `crash`
    (denied with a reason), and may be asked by a tool, but not for a sample; bob only `echo`,
    `whoami`, one prompt and one resource; eve nothing.
    `/open` takes anybody without a key, for everything.
    """

    gateway: Gateway
    replicas: Sequence[Backend]

    @property
    def strict(self) -> str:
        return self.gateway.url("strict")

    @property
    def open(self) -> str:
        return self.gateway.url("open")

    async def bodies(self) -> list[str]:
        """The bodies of all requests that reached a server."""
        return [entry["body"] for backend in self.replicas for entry in await backend.requests()]

    async def reached(self, marker: str) -> bool:
        """Whether a request with this text in its body reached a server."""
        return any(marker in body for body in await self.bodies())


@contextmanager
def guarded_gateway(replicas: Sequence[Backend], folder: Path) -> Iterator[Guarded]:
    """Start it."""
    urls = [backend.url for backend in replicas]
    documents: list[Document] = [
        server("strict", urls, is_anonymous=False),
        server("open", urls),
        key_source(),
        *(key.document() for key in (ALICE, BOB, EVE)),
        policy(
            "open-to-all",
            {"id": "all", "match": SUBJECTS, "effect": "allow"},
            {"id": "questions", "match": QUESTIONS, "effect": "allow"},
            servers=["open"],
        ),
        policy(
            "alice",
            {"id": "all", "match": SUBJECTS, "effect": "allow"},
            {"id": "questions", "match": {"methods": ["elicitation/create"]}, "effect": "allow"},
            {"id": "no-big", "match": {"tools": ["big"]}, "effect": "deny"},
            {"id": "no-crash", "match": {"tools": ["crash"]}, "effect": "deny", "reason": REASON},
            servers=["strict"],
            agents={"names": ["alice"]},
        ),
        policy(
            "bob",
            {
                "id": "little",
                "match": {
                    "tools": ["echo", "whoami"],
                    "prompts": ["test_simple_prompt"],
                    "resources": ["test://static-text"],
                },
                "effect": "allow",
            },
            servers=["strict"],
            agents={"names": ["bob"]},
        ),
    ]
    with running_gateway(documents, folder=folder) as gateway:
        yield Guarded(gateway, replicas)
