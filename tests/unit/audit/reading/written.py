"""Logs as the writer would write them, made of few words."""

import json
from pathlib import Path
from typing import Any

from openmcp.audit.chain import Chain
from openmcp.state.signing import Signer

SEED = b"s" * 32
AGENT = {"name": "bot", "id": "apiKey:keys:bot", "source": "keys", "method": "apiKey", "trust": "sharedSecret"}


class Written:
    """The log of one writer."""

    def __init__(self, folder: Path, writer: str = "node-1-0", *, signer: Signer | None = None) -> None:
        self.folder = folder
        self.writer = writer
        self.chain = Chain(writer, signer)
        self.part = 0
        self.now = 1_800_000_000 * 10**9
        self._seq: dict[str, int] = {}
        self.turn()

    @property
    def path(self) -> Path:
        return self.folder / f"{self.writer}-{self.part}.jsonl"

    def turn(self) -> None:
        if self.part:
            self._append(self.chain.checkpoint("rotated", self.now))
        self.part += 1
        self._append(self.chain.checkpoint("opened", self.now))

    def close(self) -> None:
        self._append(self.chain.checkpoint("closed", self.now))

    def line(self, **members: Any) -> None:
        self._append(self.chain.link([json.dumps({"ts": self.now, **members}, ensure_ascii=False).encode()]))

    def passes(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)

    def says(self, exchange: str, type: str, **members: Any) -> str:
        """One line of an exchange; returns its id."""
        seq = self._seq[exchange] = self._seq.get(exchange, 0) + 1
        self.now += 1_000_000
        id = f"{exchange}.{seq}"
        base = {"type": type, "id": id, "exchangeSeq": seq, "exchange": exchange, "agent": AGENT, "server": "desk"}
        self.line(**{**base, **members})
        return id

    def call(
        self,
        exchange: str,
        tool: str,
        *,
        flow: str = "",
        session: str = "",
        effect: str = "allow",
        arguments: Any = None,
        text: str = "done",
        **members: Any,
    ) -> None:
        """A whole tool call."""
        mcp = {"method": "tools/call", "name": tool, "version": "2025-11-25", "id": 1, "session": session}
        shared = {"flow": flow or exchange, "mcp": mcp, **members}
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": tool, "arguments": arguments or {}},
        }
        asked = self.says(exchange, "message", dir="agent→gateway", kind="request", body=body, **shared)
        decision = {"effect": effect, "policy": "desk", "rule": "reading"}
        self.says(exchange, "decision", parent=asked, decision=decision, **shared)
        outcome: dict[str, Any] = {"http": 200, "kind": "denied" if effect == "deny" else "ok"}
        if effect == "allow":
            result = {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": text}]}}
            self.says(exchange, "message", dir="server→gateway", kind="result", parent=asked, body=result, **shared)
            outcome["upstream"] = 200
        self.says(exchange, "exchange", parent=asked, outcome=outcome, **shared)

    def _append(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)


def signer() -> Signer:
    return Signer((SEED,))
