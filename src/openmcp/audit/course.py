"""What an exchange gathers on its way for its last line: the moments, and what came of it.

Used by the recorder only.
"""

from openmcp.audit.parts import DETAIL_CHARS
from openmcp.audit.record import OutcomePart, TimingPart
from openmcp.errors import OpenMCPError
from openmcp.mcp.message import Message
from openmcp.telemetry.harmless import text


class Moments:
    """When each step was reached, in Unix nanoseconds; 0 = not yet."""

    __slots__ = ("authn", "policy", "received", "upstream_first", "upstream_last", "upstream_sent")

    def __init__(self, received: int) -> None:
        self.received = received
        self.authn = self.policy = self.upstream_sent = self.upstream_first = self.upstream_last = 0

    def part(self, now: int) -> TimingPart:
        """Return the moments as they stand in the last line."""
        start = self.received
        return TimingPart(
            received=start,
            authn=(self.authn - start) // 1000 if self.authn else None,
            policy=(self.policy - start) // 1000 if self.policy else None,
            upstream_sent=(self.upstream_sent - start) // 1000 if self.upstream_sent else None,
            upstream_first=(self.upstream_first - start) // 1000 if self.upstream_first else None,
            upstream_last=(self.upstream_last - start) // 1000 if self.upstream_last else None,
            sent=(now - start) // 1000,
        )


class Outcome:
    """What came of it, as far as it is known."""

    __slots__ = ("http", "is_error", "jsonrpc", "refusal", "upstream")

    def __init__(self) -> None:
        self.http = self.upstream = 0
        self.jsonrpc: int | None = None
        self.is_error: bool | None = None
        self.refusal: OpenMCPError | None = None

    def judge(self, answer: Message) -> None:
        """Take the verdict out of the answer to the exchange's request."""
        result = answer.result
        if result is not None:
            verdict = result.get("isError")
            self.is_error = verdict if isinstance(verdict, bool) else None
            self.jsonrpc = None
            return
        code = (answer.error or {}).get("code")
        # A server may send any number; readers of the log know 64 bits.
        self.jsonrpc = code if isinstance(code, int) and abs(code) < 2**53 else -32603
        self.is_error = None

    def part(self, status: int) -> OutcomePart:
        """Return the outcome as it stands in the last line."""
        refusal = self.refusal
        if refusal is None:
            kind = "ok" if status or self.http else "interrupted"
            return OutcomePart(
                http=status or self.http,
                upstream=self.upstream,
                jsonrpc=self.jsonrpc,
                is_error=self.is_error,
                kind=kind,
            )
        return OutcomePart(
            http=status or self.http,
            upstream=self.upstream,
            jsonrpc=refusal.code,
            kind=refusal.kind,
            detail=text(refusal.detail, DETAIL_CHARS),
        )
