"""Makes a recorded message fit the client that gets it now.

Ids of sessions, states, tasks and requests are fresh: the recorded ones were never the
client's, and secrets among them are not in the log. What a recording cannot keep is not
promised: result schemas, mirrored headers, tasks.
"""

import secrets
from typing import Final, cast

from openmcp.mcp.message import Id, Json, JsonObject, Message
from openmcp.mcp.methods import TOOLS_LIST

_BYTES: Final = 18
_REMEMBERED: Final = 10_000


class Names:
    """The fresh ids that were given out, and the recorded ones that they stand for."""

    def __init__(self) -> None:
        self._fresh: dict[tuple[str, str], str] = {}
        self._recorded: dict[str, str] = {}
        self.states: dict[str, None] = {}

    def state(self) -> str:
        """Return a new `requestState`."""
        return self._remember(self.states, f"state-{secrets.token_urlsafe(_BYTES)}")

    def fresh(self, kind: str, recorded: str) -> str:
        """Return the id that stands for a recorded one."""
        known = self._fresh.get((kind, recorded))
        if known is None:
            known = self._fresh[kind, recorded] = f"{kind}-{secrets.token_urlsafe(_BYTES)}"
            self._recorded[known] = recorded
        return known

    def recorded(self, fresh: str) -> str:
        """Return the recorded id that a fresh one stands for; the same text if it is none."""
        return self._recorded.get(fresh, fresh)

    def _remember(self, table: dict[str, None], value: str) -> str:
        if len(table) >= _REMEMBERED:
            del table[next(iter(table))]
        table[value] = None
        return value


def undressed(asked: Message, names: Names) -> Message:
    """Return the request with the recorded ids in place of those that were given out."""
    task = asked.params.get("taskId")
    return asked.with_params({**asked.params, "taskId": names.recorded(task)}) if isinstance(task, str) else asked


def reply(said: Message, asked: Message, names: Names) -> Message:
    """Return the recorded reply as the answer to `asked`."""
    found = said.with_id(asked.id if asked.id is not None else 0)
    if found.result is None:
        return found
    result: dict[str, Json] = {**found.result}
    if asked.method == TOOLS_LIST:
        result["tools"] = [_plain_tool(tool) for tool in _items(result.get("tools"))]
    if isinstance(capabilities := result.get("capabilities"), dict):
        result["capabilities"] = _without_tasks(capabilities)
    if "requestState" in result:
        result["requestState"] = names.state()
    return found.with_result(cast("JsonObject", _renamed(result, names)))


def beside(said: Message, asked: Message | None, names: Names, recorded_token: Id | None) -> Message | None:
    """Return a recorded notification for this client; `None` if it did not ask for it."""
    params = said.params
    if "progressToken" not in params:
        return said
    token = asked.progress_token if asked is not None else None
    if token is None or (recorded_token is not None and params["progressToken"] != recorded_token):
        return None
    return said.with_params({**params, "progressToken": token})


def request_id() -> str:
    """Return a fresh id for a request of the server."""
    return f"mock-{secrets.token_urlsafe(_BYTES)}"


def session_id() -> str:
    """Return a fresh session id."""
    return secrets.token_hex(_BYTES)


def _plain_tool(tool: Json) -> Json:
    """Leave out what a recording cannot keep."""
    if not isinstance(tool, dict):
        return tool
    kept = {key: value for key, value in tool.items() if key not in ("outputSchema", "execution")}
    schema = kept.get("inputSchema")
    if isinstance(schema, dict):
        kept["inputSchema"] = _without_headers(schema)
    return kept


def _without_headers(value: Json) -> Json:
    match value:
        case dict():
            return {key: _without_headers(item) for key, item in value.items() if key != "x-mcp-header"}
        case list():
            return [_without_headers(item) for item in value]
        case _:
            return value


def _without_tasks(capabilities: JsonObject) -> Json:
    kept = {key: value for key, value in capabilities.items() if key != "tasks"}
    extensions = kept.get("extensions")
    if isinstance(extensions, dict):
        kept["extensions"] = {key: value for key, value in extensions.items() if not key.endswith("/tasks")}
    return kept


def _renamed(value: Json, names: Names) -> Json:
    """Return the value with fresh task ids."""
    match value:
        case dict():
            return {
                key: names.fresh("task", item) if key == "taskId" and isinstance(item, str) else _renamed(item, names)
                for key, item in value.items()
            }
        case list():
            return [_renamed(item, names) for item in value]
        case _:
            return value


def _items(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
