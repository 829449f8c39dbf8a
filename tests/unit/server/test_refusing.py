"""A refusal of the edge costs little, whatever the body that it refuses."""

import msgspec
import pytest

from openmcp.errors import Draining, OpenMCPError, Overloaded, Unauthenticated
from openmcp.mcp import message as messages
from openmcp.model.http import Peer, Request
from openmcp.server import refusing


def refused(error: OpenMCPError, size: int) -> tuple[int, object]:
    body = messages.encode(messages.request(5, "tools/call", {"name": "a", "arguments": {"a": "x" * size}}))
    answer = refusing.answer(error, Request("POST", "/desk", {}, body, Peer("")))
    return answer.status, msgspec.json.decode(answer.body)["id"]


@pytest.mark.parametrize("error", [Overloaded(), Draining()])
def test_a_short_call_is_answered_and_a_long_one_is_not_read(error: OpenMCPError) -> None:
    assert refused(error, 10) == (200, 5)
    assert refused(error, 20_000) == (503, None)


def test_what_is_wrong_with_the_request_is_told_without_reading_its_message() -> None:
    assert refused(Unauthenticated(), 10) == (401, None)
