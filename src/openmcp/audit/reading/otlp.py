"""Records as log records of OpenTelemetry, in the JSON form of OTLP (opentelemetry-proto, `logs/v1`).

A converter: the log itself stays what it is. One `ExportLogsServiceRequest` per batch, as
the file exporter of the collector writes them and its file receiver reads them.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from openmcp.audit.reading.entries import Entry
from openmcp.audit.record import Line
from openmcp.telemetry.harmless import json_line

_BATCH: Final = 200
_WARN: Final = (13, "WARN")
_INFO: Final = (9, "INFO")


def requests(entries: Iterable[Entry], *, version: str) -> Iterator[bytes]:
    """Yield one request per batch of records, each on one line."""
    rest = iter(entries)
    while batch := list(islice(rest, _BATCH)):
        resources: dict[str, list[dict[str, object]]] = {}
        for entry in batch:
            resources.setdefault(entry.line.writer, []).append(log_record(entry))
        request = {"resourceLogs": [_resource(writer, records, version) for writer, records in resources.items()]}
        yield json_line(msgspec.json.encode(request))


def log_record(entry: Entry) -> dict[str, object]:
    """Return one record. The whole line is its body, so that nothing is lost."""
    line = entry.line
    number, word = _severity(line)
    record: dict[str, object] = {
        "timeUnixNano": str(line.ts),
        "observedTimeUnixNano": str(line.ts),
        "severityNumber": number,
        "severityText": word,
        "eventName": f"openmcp.{line.type}",
        "body": {"stringValue": entry.raw.decode()},
        "attributes": [{"key": key, "value": _value(value)} for key, value in _attributes(line).items() if value],
    }
    if line.trace is not None:
        record |= {"traceId": line.trace.trace, "spanId": line.trace.span, "flags": int(line.trace.is_sampled)}
    return record


def _resource(writer: str, records: list[dict[str, object]], version: str) -> dict[str, object]:
    attributes = {"service.name": "openmcp", "service.version": version, "service.instance.id": writer}
    return {
        "resource": {"attributes": [{"key": key, "value": _value(value)} for key, value in attributes.items()]},
        "scopeLogs": [{"scope": {"name": "openmcp.audit"}, "logRecords": records}],
    }


def _attributes(line: Line) -> dict[str, str | int]:
    mcp, agent, decision, outcome = line.mcp, line.agent, line.decision, line.outcome
    return {
        "openmcp.flow": line.flow,
        "openmcp.exchange": line.exchange,
        "openmcp.seq": line.seq,
        "openmcp.direction": line.dir,
        "openmcp.server": line.server,
        "openmcp.agent": agent.name if agent else "",
        "openmcp.decision.effect": decision.effect if decision else "",
        "openmcp.decision.policy": decision.policy if decision else "",
        "openmcp.decision.rule": decision.rule if decision else "",
        "openmcp.outcome": outcome.kind if outcome else "",
        "http.response.status_code": outcome.http if outcome else 0,
        "mcp.method.name": mcp.method if mcp else "",
        "mcp.protocol.version": mcp.version if mcp else "",
        "gen_ai.tool.name": (mcp.name or "") if mcp and mcp.method == "tools/call" else "",
    }


def _severity(line: Line) -> tuple[int, str]:
    is_refused = line.decision is not None and line.decision.effect == "deny"
    is_failed = line.type == "exchange" and line.outcome is not None and line.outcome.kind != "ok"
    return _WARN if is_refused or is_failed or line.lost or "dropped" in line.flags else _INFO


def _value(value: str | int) -> dict[str, str]:
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}
