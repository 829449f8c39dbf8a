"""Each method is in the table once, and says what it names."""

import pytest

from openmcp.errors import InvalidParams
from openmcp.mcp import message as messages
from openmcp.mcp import methods
from openmcp.mcp.message import JsonObject
from openmcp.mcp.methods import Group, Sender, Subject, SubjectKind
from openmcp.mcp.revisions import Era

NAMES = {value for name, value in vars(methods).items() if name.isupper() and isinstance(value, str)}


def test_every_constant_has_a_row_and_every_row_a_constant() -> None:
    assert set(methods.METHODS) == NAMES


def test_unknown_method_has_no_row() -> None:
    assert methods.lookup("tools/Call") is None


@pytest.mark.parametrize(
    ("name", "group", "sender", "era", "is_sent"),
    [
        (methods.INITIALIZE, Group.PROTOCOL, Sender.AGENT, Era.LEGACY, True),
        (methods.INITIALIZE, Group.PROTOCOL, Sender.AGENT, Era.MODERN, False),
        (methods.SERVER_DISCOVER, Group.PROTOCOL, Sender.AGENT, Era.MODERN, True),
        (methods.TOOLS_CALL, Group.ACCESS, Sender.AGENT, Era.MODERN, True),
        (methods.TOOLS_CALL, Group.ACCESS, Sender.SERVER, Era.LEGACY, False),
        (methods.TOOLS_LIST, Group.LIST, Sender.AGENT, Era.LEGACY, True),
        (methods.SUBSCRIPTIONS_LISTEN, Group.ACCESS, Sender.AGENT, Era.LEGACY, False),
        (methods.TASKS_UPDATE, Group.TASK, Sender.AGENT, Era.MODERN, True),
        (methods.TASKS_LIST, Group.TASK, Sender.AGENT, Era.MODERN, False),
        (methods.ELICITATION_CREATE, Group.SERVER_REQUEST, Sender.SERVER, Era.LEGACY, True),
        (methods.ELICITATION_CREATE, Group.SERVER_REQUEST, Sender.AGENT, Era.LEGACY, False),
        (methods.INITIALIZED, Group.PROTOCOL, Sender.SERVER, Era.LEGACY, False),
        (methods.PROGRESS, Group.PROTOCOL, Sender.SERVER, Era.MODERN, True),
        (methods.RESOURCES_UPDATED, Group.PROTOCOL, Sender.AGENT, Era.LEGACY, False),
    ],
)
def test_row_says_who_sends_it_when(name: str, group: Group, sender: Sender, era: Era, is_sent: bool) -> None:
    method = methods.lookup(name)
    assert method is not None
    assert method.group == group
    assert method.is_sent_by(sender, era) is is_sent


def test_notifications_are_known_by_name() -> None:
    assert {row.name for row in methods.METHODS.values() if row.is_notification} == {
        name for name in NAMES if name.startswith("notifications/")
    }


TOOL, PROMPT, RESOURCE = SubjectKind
NAMED: list[tuple[str, JsonObject, tuple[Subject, ...]]] = [
    (methods.TOOLS_CALL, {"name": "a"}, (Subject(TOOL, "a"),)),
    (methods.PROMPTS_GET, {"name": "a"}, (Subject(PROMPT, "a"),)),
    (methods.RESOURCES_READ, {"uri": "x://a"}, (Subject(RESOURCE, "x://a"),)),
    (methods.RESOURCES_SUBSCRIBE, {"uri": "x://a"}, (Subject(RESOURCE, "x://a"),)),
    (methods.RESOURCES_UNSUBSCRIBE, {"uri": "x://a"}, (Subject(RESOURCE, "x://a"),)),
    (methods.COMPLETION_COMPLETE, {"ref": {"type": "ref/prompt", "name": "a"}}, (Subject(PROMPT, "a"),)),
    (methods.COMPLETION_COMPLETE, {"ref": {"type": "ref/resource", "uri": "x://{a}"}}, (Subject(RESOURCE, "x://{a}"),)),
    (methods.SUBSCRIPTIONS_LISTEN, {}, ()),
    (methods.SUBSCRIPTIONS_LISTEN, {"notifications": {"toolsListChanged": True}}, ()),
    (
        methods.SUBSCRIPTIONS_LISTEN,
        {"notifications": {"resourceSubscriptions": ["x://a", "x://b"]}},
        (Subject(RESOURCE, "x://a"), Subject(RESOURCE, "x://b")),
    ),
    (methods.TOOLS_LIST, {"name": "a"}, ()),
    (methods.PING, {}, ()),
    ("vendor/call", {"name": "a"}, ()),
]


@pytest.mark.parametrize(("method", "params", "subjects"), NAMED)
def test_message_names_its_subjects(method: str, params: JsonObject, subjects: tuple[Subject, ...]) -> None:
    assert methods.subjects(messages.request(1, method, params)) == subjects


def test_reply_names_nothing() -> None:
    assert methods.subjects(messages.result(1, {"name": "a"})) == ()


NAMELESS: list[tuple[str, JsonObject]] = [
    (methods.TOOLS_CALL, {}),
    (methods.TOOLS_CALL, {"name": None}),
    (methods.TOOLS_CALL, {"name": ""}),
    (methods.TOOLS_CALL, {"name": ["a"]}),
    (methods.TOOLS_CALL, {"uri": "a"}),
    (methods.PROMPTS_GET, {"name": 1}),
    (methods.RESOURCES_READ, {"name": "a"}),
    (methods.RESOURCES_SUBSCRIBE, {}),
    (methods.COMPLETION_COMPLETE, {}),
    (methods.COMPLETION_COMPLETE, {"ref": "a"}),
    (methods.COMPLETION_COMPLETE, {"ref": {"type": "ref/tool", "name": "a"}}),
    (methods.COMPLETION_COMPLETE, {"ref": {"type": ["ref/prompt"], "name": "a"}}),
    (methods.COMPLETION_COMPLETE, {"ref": {"type": "ref/prompt", "uri": "a"}}),
    (methods.SUBSCRIPTIONS_LISTEN, {"notifications": []}),
    (methods.SUBSCRIPTIONS_LISTEN, {"notifications": {"resourceSubscriptions": "x://a"}}),
    (methods.SUBSCRIPTIONS_LISTEN, {"notifications": {"resourceSubscriptions": ["x://a", 1]}}),
]


@pytest.mark.parametrize(("method", "params"), NAMELESS)
def test_access_that_names_nothing_is_refused(method: str, params: JsonObject) -> None:
    with pytest.raises(InvalidParams):
        methods.subjects(messages.request(1, method, params))


def test_list_is_read_by_its_method_and_by_its_shape() -> None:
    for method, key in [
        (methods.TOOLS_LIST, "tools"),
        (methods.PROMPTS_LIST, "prompts"),
        (methods.RESOURCES_LIST, "resources"),
        (methods.RESOURCES_TEMPLATES_LIST, "resourceTemplates"),
    ]:
        shape = methods.listing(method)
        assert shape is not None
        assert shape.key == key
        assert methods.listings_by_shape({"_meta": {}, key: []}) == (shape,)
    assert methods.listing(methods.TOOLS_CALL) is None
    assert methods.listings_by_shape({"content": [], "tools": "none"}) == ()


def test_result_that_looks_like_several_lists_is_all_of_them() -> None:
    found = methods.listings_by_shape({"resources": [], "tools": [], "resourceTemplates": []})
    assert {shape.key for shape in found} == {"tools", "resources", "resourceTemplates"}


@pytest.mark.parametrize(
    ("method", "name", "subject"),
    [
        (methods.TOOLS_CALL, "a", Subject(SubjectKind.TOOL, "a")),
        (methods.PROMPTS_GET, "a", Subject(SubjectKind.PROMPT, "a")),
        (methods.RESOURCES_READ, "x://a", Subject(SubjectKind.RESOURCE, "x://a")),
        (methods.COMPLETION_COMPLETE, "a", Subject(SubjectKind.PROMPT, "a")),
        (methods.COMPLETION_COMPLETE, "x://{a}", Subject(SubjectKind.RESOURCE, "x://{a}")),
        (methods.SUBSCRIPTIONS_LISTEN, "x://a", None),
        (methods.TOOLS_LIST, "", None),
    ],
)
def test_name_and_method_tell_what_was_accessed(method: str, name: str, subject: Subject | None) -> None:
    assert methods.subject_of(method, name) == subject
