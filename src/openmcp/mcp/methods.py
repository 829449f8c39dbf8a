"""The methods of the protocol: who sends them, in which era, and what they name.

Used by policy (what is accessed), routing (what a list holds) and the edge. Knows only
what the specification says, not who may do it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from openmcp.errors import InvalidParams
from openmcp.mcp import uris
from openmcp.mcp.message import Json, JsonObject, Message
from openmcp.mcp.revisions import Era

INITIALIZE: Final = "initialize"
SERVER_DISCOVER: Final = "server/discover"
PING: Final = "ping"
LOGGING_SET_LEVEL: Final = "logging/setLevel"
TOOLS_LIST: Final = "tools/list"
TOOLS_CALL: Final = "tools/call"
PROMPTS_LIST: Final = "prompts/list"
PROMPTS_GET: Final = "prompts/get"
RESOURCES_LIST: Final = "resources/list"
RESOURCES_TEMPLATES_LIST: Final = "resources/templates/list"
RESOURCES_READ: Final = "resources/read"
RESOURCES_SUBSCRIBE: Final = "resources/subscribe"
RESOURCES_UNSUBSCRIBE: Final = "resources/unsubscribe"
COMPLETION_COMPLETE: Final = "completion/complete"
SUBSCRIPTIONS_LISTEN: Final = "subscriptions/listen"
TASKS_GET: Final = "tasks/get"
TASKS_RESULT: Final = "tasks/result"
TASKS_LIST: Final = "tasks/list"
TASKS_CANCEL: Final = "tasks/cancel"
TASKS_UPDATE: Final = "tasks/update"
SAMPLING_CREATE: Final = "sampling/createMessage"
ELICITATION_CREATE: Final = "elicitation/create"
ROOTS_LIST: Final = "roots/list"
INITIALIZED: Final = "notifications/initialized"
CANCELLED: Final = "notifications/cancelled"
PROGRESS: Final = "notifications/progress"
MESSAGE: Final = "notifications/message"
TOOLS_CHANGED: Final = "notifications/tools/list_changed"
PROMPTS_CHANGED: Final = "notifications/prompts/list_changed"
RESOURCES_CHANGED: Final = "notifications/resources/list_changed"
RESOURCES_UPDATED: Final = "notifications/resources/updated"
ROOTS_CHANGED: Final = "notifications/roots/list_changed"
ELICITATION_COMPLETE: Final = "notifications/elicitation/complete"
SUBSCRIPTIONS_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
TASKS_STATUS: Final = "notifications/tasks/status"
TASKS_CHANGED: Final = "notifications/tasks"

CONNECTING: Final = frozenset({INITIALIZE, SERVER_DISCOVER})
"""Methods by which an agent connects: here HTTP statuses are understood and cost no session."""

USES: Final = frozenset({TOOLS_CALL, PROMPTS_GET, RESOURCES_READ, RESOURCES_SUBSCRIBE, COMPLETION_COMPLETE})
"""Methods that use one subject, whose definition must therefore exist."""


class SubjectKind(StrEnum):
    """What kind of thing a message accesses."""

    TOOL = "tool"
    PROMPT = "prompt"
    RESOURCE = "resource"


class Subject(msgspec.Struct, frozen=True):
    """The tool, prompt or resource that a message names. Names are compared exactly."""

    kind: SubjectKind
    name: str
    """The URI for a resource."""


class Sender(StrEnum):
    """Who may send a method."""

    AGENT = "agent"
    SERVER = "server"


class Group(StrEnum):
    """What a method is about."""

    PROTOCOL = "protocol"
    """Keeps the conversation going: connecting, ping, notifications, log level."""

    LIST = "list"
    ACCESS = "access"
    TASK = "task"
    SERVER_REQUEST = "server-request"


@dataclass(frozen=True)
class Method:
    """One row of the table."""

    name: str
    group: Group
    eras: frozenset[Era]
    senders: frozenset[Sender]

    @cached_property
    def is_notification(self) -> bool:
        """Whether nobody answers it."""
        return self.name.startswith("notifications/")

    def is_sent_by(self, sender: Sender, era: Era) -> bool:
        """Whether `sender` may send it in `era`."""
        return sender in self.senders and era in self.eras


class Listing(NamedTuple):
    """Where a list result keeps its entries, and how an entry is named."""

    key: str
    """`tools`, `prompts`, `resources` or `resourceTemplates`."""

    kind: SubjectKind
    name_field: str
    """`name`, `uri` or `uriTemplate`."""


_BOTH = frozenset(Era)
_LEGACY = frozenset({Era.LEGACY})
_MODERN = frozenset({Era.MODERN})
_AGENT = frozenset({Sender.AGENT})
_SERVER = frozenset({Sender.SERVER})
_EITHER = frozenset(Sender)


def _rows(group: Group, eras: frozenset[Era], senders: frozenset[Sender], *names: str) -> list[Method]:
    return [Method(name, group, eras, senders) for name in names]


METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        row.name: row
        for row in (
            *_rows(Group.PROTOCOL, _LEGACY, _AGENT, INITIALIZE, LOGGING_SET_LEVEL),
            *_rows(Group.PROTOCOL, _MODERN, _AGENT, SERVER_DISCOVER),
            *_rows(Group.PROTOCOL, _LEGACY, _EITHER, PING),
            *_rows(Group.LIST, _BOTH, _AGENT, TOOLS_LIST, PROMPTS_LIST, RESOURCES_LIST, RESOURCES_TEMPLATES_LIST),
            *_rows(Group.ACCESS, _BOTH, _AGENT, TOOLS_CALL, PROMPTS_GET, RESOURCES_READ, COMPLETION_COMPLETE),
            *_rows(Group.ACCESS, _LEGACY, _AGENT, RESOURCES_SUBSCRIBE, RESOURCES_UNSUBSCRIBE),
            *_rows(Group.ACCESS, _MODERN, _AGENT, SUBSCRIPTIONS_LISTEN),
            # In 2025-11-25 a client can host tasks too; then the server asks.
            *_rows(Group.TASK, _BOTH, _EITHER, TASKS_GET, TASKS_CANCEL),
            *_rows(Group.TASK, _LEGACY, _EITHER, TASKS_RESULT, TASKS_LIST),
            *_rows(Group.TASK, _MODERN, _AGENT, TASKS_UPDATE),
            *_rows(Group.SERVER_REQUEST, _BOTH, _SERVER, SAMPLING_CREATE, ELICITATION_CREATE, ROOTS_LIST),
            *_rows(Group.PROTOCOL, _LEGACY, _AGENT, INITIALIZED, ROOTS_CHANGED),
            # The modern era has no cancellation over HTTP but this one: a server's end of a listen stream.
            *_rows(Group.PROTOCOL, _BOTH, _EITHER, CANCELLED, PROGRESS),
            *_rows(Group.PROTOCOL, _LEGACY, _EITHER, TASKS_STATUS),
            *_rows(Group.PROTOCOL, _BOTH, _SERVER, MESSAGE, TOOLS_CHANGED, PROMPTS_CHANGED, RESOURCES_CHANGED),
            *_rows(Group.PROTOCOL, _BOTH, _SERVER, RESOURCES_UPDATED),
            *_rows(Group.PROTOCOL, _LEGACY, _SERVER, ELICITATION_COMPLETE),
            *_rows(Group.PROTOCOL, _MODERN, _SERVER, SUBSCRIPTIONS_ACKNOWLEDGED, TASKS_CHANGED),
        )
    }
)
"""Every method of both eras, with the tasks extension."""

_LISTINGS: Final = {
    TOOLS_LIST: Listing("tools", SubjectKind.TOOL, "name"),
    PROMPTS_LIST: Listing("prompts", SubjectKind.PROMPT, "name"),
    RESOURCES_LIST: Listing("resources", SubjectKind.RESOURCE, "uri"),
    RESOURCES_TEMPLATES_LIST: Listing("resourceTemplates", SubjectKind.RESOURCE, "uriTemplate"),
}

LISTS: Final = frozenset(_LISTINGS)
"""Methods whose results list what a server offers."""

_NAMED: Final = {
    TOOLS_CALL: (SubjectKind.TOOL, "name"),
    PROMPTS_GET: (SubjectKind.PROMPT, "name"),
    RESOURCES_READ: (SubjectKind.RESOURCE, "uri"),
    RESOURCES_SUBSCRIBE: (SubjectKind.RESOURCE, "uri"),
    RESOURCES_UNSUBSCRIBE: (SubjectKind.RESOURCE, "uri"),
}

_WITH_ARGUMENTS: Final = frozenset({TOOLS_CALL, PROMPTS_GET})
_REFERENCED: Final = {"ref/prompt": (SubjectKind.PROMPT, "name"), "ref/resource": (SubjectKind.RESOURCE, "uri")}


def lookup(name: str) -> Method | None:
    """Return the row of a method; `None` = the protocol does not know it."""
    return METHODS.get(name)


def subjects(message: Message) -> tuple[Subject, ...]:
    """Return everything that a message accesses; empty where the method names nothing.

    Raises: InvalidParams, where the member that names it is missing or no string, where arguments are no object, or
    where a URI could be read in two ways: rules would see one of them, and the server the other.
    """
    method = message.method
    named = _NAMED.get(method)
    if named is not None:
        if method in _WITH_ARGUMENTS:
            _require_arguments(message.params)
        return (_subject(message.params, named),)
    if method == COMPLETION_COMPLETE:
        ref = message.params.get("ref")
        kind = ref.get("type") if isinstance(ref, dict) else None
        if not isinstance(ref, dict) or not isinstance(kind, str) or kind not in _REFERENCED:
            raise InvalidParams(detail="ref names neither a prompt nor a resource")
        return (_subject(ref, _REFERENCED[kind], uris.template_fault),)
    if method == SUBSCRIPTIONS_LISTEN:
        return tuple(Subject(SubjectKind.RESOURCE, uri) for uri in _subscribed(message.params))
    return ()


def subject_of(method: str, name: str) -> Subject | None:
    """Return what a message of `method` accessed of which only the name is left; `None` where it named nothing."""
    if not name:
        return None
    if method == COMPLETION_COMPLETE:
        return Subject(SubjectKind.RESOURCE if ":" in name else SubjectKind.PROMPT, name)
    named = _NAMED.get(method)
    return Subject(named[0], name) if named is not None else None


def listing(method: str) -> Listing | None:
    """Return how the result of a list method is read; `None` for other methods."""
    return _LISTINGS.get(method)


def listings_by_shape(result: JsonObject) -> tuple[Listing, ...]:
    """Return how a result is read that looks like a list; one that looks like several is all of them."""
    return tuple(shape for shape in _LISTINGS.values() if isinstance(result.get(shape.key), list))


def _require_arguments(params: JsonObject) -> None:
    """What is neither absent nor an object has no names that a rule could speak of."""
    if not isinstance(params.get("arguments"), dict | None):
        raise InvalidParams(detail="arguments is not an object")


def _subject(holder: JsonObject, named: tuple[SubjectKind, str], fault: Callable[[str], str] = uris.fault) -> Subject:
    kind, field = named
    name = holder.get(field)
    if not isinstance(name, str) or not name:
        raise InvalidParams(detail=f"{field} is missing or is not a string")
    if field == "uri":
        _require_plain(name, fault)
    return Subject(kind, name)


def _require_plain(uri: str, fault: Callable[[str], str] = uris.fault) -> None:
    why = fault(uri)
    if why:
        raise InvalidParams(f"The URI of the resource could be read in two ways: {why}.")


def _subscribed(params: JsonObject) -> list[str]:
    wanted = params.get("notifications", {})
    uris: Json = wanted.get("resourceSubscriptions", []) if isinstance(wanted, dict) else None
    if not isinstance(uris, list):
        raise InvalidParams(detail="resourceSubscriptions is not a list")
    names = [uri for uri in uris if isinstance(uri, str) and uri]
    if len(names) != len(uris):
        raise InvalidParams(detail="resourceSubscriptions holds something that is not a URI")
    for uri in names:
        _require_plain(uri)
    return names
