"""A decision's input can be kept and read back: the same question can be put again."""

import msgspec

from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.agent import Agent, Principal, Trust
from openmcp.model.facts import AgentFacts, DecisionInput, McpFacts, RequestFacts, ServerFacts, SessionFacts, ToolFacts
from openmcp.model.server import Authentication, Credential, Server

PRINCIPAL = Principal("jwt:corp:bot", "corp", "jwt", Trust.TOKEN, attributes={"tier": ["gold", 2]}, fingerprint="f")
BOT = Agent("bot", PRINCIPAL, groups=frozenset({"b", "a"}), labels={"team": "x"})
DESK = Server(
    "desk",
    "/desk",
    (),
    Authentication(("corp",)),
    labels={"stage": "prod"},
    credentials=(Credential("Authorization", "Bearer canary"),),
    is_default_allow=True,
)
ASKED = DecisionInput(
    agent=AgentFacts.of(BOT),
    server=ServerFacts.of(DESK),
    mcp=McpFacts.of("tools/call", Subject(SubjectKind.TOOL, "read"), "2026-07-28"),
    tool=ToolFacts("read", "ab" * 32, True, {"readOnlyHint": True}),
    args={"id": "T-1", "n": [1, 2.5, None]},
    request=RequestFacts("192.0.2.1", {"x-team": "a"}),
    session=SessionFacts("k", 1.5, 3),
    now=1_800_000_000.25,
)


def test_what_is_written_is_read_back_equal() -> None:
    written = msgspec.json.encode(ASKED)
    assert msgspec.json.decode(written, type=DecisionInput) == ASKED
    assert b"canary" not in written


def test_agent_and_server_are_made_again_as_rules_know_them() -> None:
    again = ASKED.agent.agent()
    assert (again.name, again.groups, again.labels) == ("bot", BOT.groups, BOT.labels)
    assert (again.principal.id, again.principal.source, again.principal.trust) == ("jwt:corp:bot", "corp", Trust.TOKEN)
    assert again.principal.attributes == PRINCIPAL.attributes
    assert AgentFacts.of(again) == ASKED.agent
    assert ServerFacts.of(ASKED.server.server()) == ASKED.server


def test_a_resource_is_named_by_its_uri() -> None:
    doc = McpFacts.of("resources/read", Subject(SubjectKind.RESOURCE, "doc://a"))
    assert (doc.kind, doc.name, doc.uri) == ("resource", "", "doc://a")
    assert doc.subject == Subject(SubjectKind.RESOURCE, "doc://a")
    assert McpFacts.of("ping", None).subject is None
