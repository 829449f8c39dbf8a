"""A curl command as a reader pastes it, sent without curl."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

WAIT_S = 15.0


@dataclass(frozen=True)
class Request:
    """What the command would send."""

    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    def calling(self, tool: str, **arguments: str) -> "Request":
        """The same agent, another tool."""
        params = {**self.body["params"], "name": tool, "arguments": arguments}
        return Request(self.url, {**self.headers, "Mcp-Name": tool}, {**self.body, "params": params})

    def at(self, url: str) -> "Request":
        """The same at another server."""
        return Request(url, self.headers, self.body)

    def answer(self) -> dict[str, Any]:
        """The JSON-RPC message that comes back with HTTP 200."""
        response = httpx.post(self.url, headers=self.headers, json=self.body, timeout=WAIT_S, trust_env=False)
        assert response.status_code == 200, response.text
        if response.headers["content-type"].startswith("text/event-stream"):
            data = [line.removeprefix("data:") for line in response.text.splitlines() if line.startswith("data:")]
            return dict(json.loads(data[-1]))
        return dict(response.json())


def parsed(command: str) -> Request:
    """The request of a curl command on one line."""
    words = iter(shlex.split(command))
    url, body = "", "{}"
    headers: dict[str, str] = {}
    for word in words:
        if word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words)
        elif word.startswith("http"):
            url = word
    return Request(url, headers, json.loads(body))


def texts(answer: Mapping[str, Any]) -> str:
    """The text blocks of a tool's result."""
    return "\n".join(block["text"] for block in answer["result"]["content"])
