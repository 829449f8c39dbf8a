"""`openmcp policy test`."""

import asyncio
import os
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

import click

from openmcp.cli.output import print_values
from openmcp.cli.policy.explanation import explanation_value, print_explanation
from openmcp.cli.report import counted
from openmcp.config.loader import load
from openmcp.rehearsal import testing
from openmcp.rehearsal.stage import Stage
from openmcp.rehearsal.testing import Result
from openmcp.telemetry.harmless import text


def run(paths: Sequence[Path], config: Path | None, *, junit: Path | None, form: str) -> int:
    """Run all tests and print what came of them; return 1 if a case failed, 2 if there is none."""
    loaded = load([*([config] if config is not None else []), *paths], env=os.environ, is_rehearsal=True)
    if not loaded.tests:
        raise click.ClickException(f"there is no PolicyTest in {', '.join(map(str, paths))}")
    results = asyncio.run(testing.run(Stage(loaded.snapshot), loaded.tests, now=time.time()))
    if junit is not None:
        _write_junit(junit, results)
    if form == "table":
        _print(results)
    else:
        print_values([_value(result) for result in results], form)
    return int(not all(result.is_passed for result in results))


def _print(results: Sequence[Result]) -> None:
    for test, cases in groupby(results, key=lambda result: result.test):
        click.echo(click.style(test, bold=True))
        for case in cases:
            _print_case(case)
    failed = sum(not result.is_passed for result in results)
    told = f"{counted(len(results), 'case')}: {len(results) - failed} passed, {failed} failed"
    click.echo(click.style(told, fg="red" if failed else "green"))


def _print_case(result: Result) -> None:
    if result.is_passed:
        click.echo(f"  {click.style('passed', fg='green')}  {text(result.case)}")
        return
    click.echo(f"  {click.style('FAILED', fg='red', bold=True)}  {text(result.case)}  ({result.place})")
    for difference in result.differences:
        click.echo(f"    {text(difference)}")
    click.echo()
    print_explanation(result.explanation)
    click.echo()


def _value(result: Result) -> dict[str, object]:
    outcome = result.outcome
    got = {"decision": outcome.decision, "rule": str(outcome.rule) if outcome.rule is not None else None}
    more = {name: getattr(outcome, name) for name in ("flow", "path", "detector", "reason")}
    return {
        "test": result.test,
        "case": result.case,
        "place": result.place,
        "passed": result.is_passed,
        "expected": result.expected.model_dump(by_alias=True, exclude_none=True),
        "got": {**got, **{name: value for name, value in more.items() if value}},
        "differences": list(result.differences),
        "explanation": explanation_value(result.explanation),
    }


def _write_junit(path: Path, results: Sequence[Result]) -> None:
    """Write what CI systems read: one suite per PolicyTest."""
    root = Element("testsuites", name="openmcp policy test")
    for test, cases in groupby(results, key=lambda result: result.test):
        of_test = list(cases)
        failed = sum(not case.is_passed for case in of_test)
        suite = SubElement(root, "testsuite", name=test, tests=str(len(of_test)), failures=str(failed))
        for case in of_test:
            file, _, _ = case.place.rsplit(":", 2)
            element = SubElement(suite, "testcase", classname=test, name=text(case.case), file=file)
            if not case.is_passed:
                failure = SubElement(element, "failure", message=text("; ".join(case.differences)))
                failure.text = text(f"{case.place}\n" + "\n".join(case.differences))
    ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
