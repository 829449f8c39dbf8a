"""`openmcp policy explain`."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from openmcp.cli.output import print_values
from openmcp.cli.policy.explanation import explanation_value, print_explanation
from openmcp.cli.policy.scenes import scene_of, stage_of
from openmcp.config.resources.policy_test import moment_s
from openmcp.mcp.message import JsonObject
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.facts import RequestFacts
from openmcp.rehearsal.stage import Asked


def run(config: Path, given: Mapping[str, Any], *, form: str) -> int:
    """Print the decision on one call, and every rule that was considered."""
    asked = _asked(given)
    stage = stage_of(config)
    scene = scene_of(stage, given, now=_now(given["now"]))
    request = RequestFacts(given["ip"], _headers(given["headers"]))
    explanation = stage.engine.explain(replace(scene, request=request).input(asked))
    if form == "table":
        print_explanation(explanation)
    else:
        print_values(explanation_value(explanation), form)
    return 0


def _asked(given: Mapping[str, Any]) -> Asked:
    named = [
        Subject(kind, given[name])
        for name, kind in (
            ("tool", SubjectKind.TOOL),
            ("prompt", SubjectKind.PROMPT),
            ("resource", SubjectKind.RESOURCE),
        )
        if given[name]
    ]
    if len(named) > 1 or not (named or given["method"]):
        raise click.UsageError("a call is one thing: give --tool, --resource, --prompt or --method")
    args = _arguments(given["args"])
    if not named:
        return Asked(given["method"], None, args)
    asked = Asked.of(named[0], {} if named[0].kind is SubjectKind.RESOURCE else args)
    return Asked(given["method"], asked.subject, asked.args) if given["method"] else asked


def _arguments(text: str) -> JsonObject:
    try:
        decoded: JsonObject = msgspec.json.decode(text.encode(), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise click.UsageError(f"--args takes a JSON object: {error}") from None
    return decoded


def _now(text: str | None) -> float:
    if text is None:
        return time.time()
    try:
        return moment_s(text)
    except ValueError as error:
        raise click.UsageError(f"--now: {error}") from None


def _headers(lines: Sequence[str]) -> dict[str, str]:
    pairs = [line.partition(":") for line in lines]
    if not all(colon for _, colon, _ in pairs):
        raise click.UsageError("a header is written as 'NAME: TEXT'")
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
