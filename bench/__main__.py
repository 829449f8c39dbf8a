"""`python -m bench`: the whole run; `--quick`: less than a minute; `--profile`: where the gateway's time goes."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import report, streams
from bench.contenders import Starter, start_upstream
from bench.install import Tools, install, openmcp_command
from bench.measure import Meter, Result
from bench.processes import Laboratory
from bench.profile import profile

QUICK_ROUNDS, QUICK_SECONDS = 3, 2.0
ROUNDS, SECONDS = 5, 3.0
# Without valid figures of these a run has failed; of the others it names what is missing.
OURS = "OpenMCP"


def main() -> int:
    options = _options()
    tools = install(haproxy=not (options.quick or options.profile))
    for name, why in tools.missing.items():
        print(f"Missing: {name} ({why})")
    if tools.nginx is None or tools.wrk is None:
        print("Nothing can be measured without nginx and wrk.", file=sys.stderr)
        return 2
    try:
        with Laboratory() as laboratory:
            behind = start_upstream(laboratory, tools)
            starter = Starter(laboratory, tools, behind, gateway=options.openmcp)
            meter = Meter(laboratory, behind, wrk=tools.wrk)
            if options.profile:
                print(profile(laboratory, meter, starter.full()))
                return 0
            if options.quick:
                return _quick(starter, meter, tools, keep=options.record)
            return _whole(laboratory, starter, meter, tools=tools, page=options.page, keep=options.record)
    except KeyboardInterrupt:
        print("Interrupted; everything that was started has been ended.", file=sys.stderr)
        return 130
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1


def _quick(starter: Starter, meter: Meter, tools: Tools, *, keep: bool) -> int:
    contenders = [starter.nginx(), starter.envoy(), starter.envoy(mcp=True), starter.pass_through(), starter.full()]
    results = meter.rounds(contenders, "json", count=QUICK_ROUNDS, seconds=QUICK_SECONDS)
    print(f"{report.about(tools)}\n\n{report.table(results)}")
    return _verdict(results, keep=keep)


def _whole(laboratory: Laboratory, starter: Starter, meter: Meter, *, tools: Tools, page: Path, keep: bool) -> int:
    contenders = [
        starter.direct(),
        starter.nginx(),
        starter.nginx(log=True),
        starter.haproxy(),
        starter.envoy(),
        starter.envoy(mcp=True),
        starter.pass_through(),
        starter.full(),
        starter.full("modern"),
    ]
    calls = meter.rounds(contenders, "json", count=ROUNDS, seconds=SECONDS)
    print(f"{report.table(calls)}\n", flush=True)
    events = meter.rounds(contenders, "sse", count=ROUNDS, seconds=SECONDS)
    print(f"{report.table(events)}\n", flush=True)
    # Fresh ones: memory that load once took is rarely given back.
    fresh = [starter.nginx(), starter.envoy(), starter.full()]
    held = [streams.measure(each) for each in fresh]
    print(f"{report.stream_table(held)}\n\n{report.about(tools)}", flush=True)
    code = _verdict(calls, keep=keep)
    faulty = [(each.name, each.fault) for each in events] + [(each.name, each.fault) for each in held]
    if code == 0 and not any(fault for name, fault in faulty if name.startswith(OURS)):
        report.write_page(page, tools, calls=calls, events=events, streams=held)
        print(f"Written: {page}")
    return code


def _verdict(results: Sequence[Result], *, keep: bool) -> int:
    """0; 1 if OpenMCP could not be measured rightly, or became dearer than the record allows."""
    invalid = [each.name for each in results if not each.valid and each.name.startswith(OURS)]
    if invalid:
        print(f"No valid figure: {', '.join(invalid)}", file=sys.stderr)
        return 1
    if keep:
        report.record(results)
    elif fault := report.grown(results):
        print(fault, file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five contenders, three short rounds, under a minute")
    parser.add_argument("--profile", action="store_true", help="py-spy on the full configuration under load")
    parser.add_argument("--record", action="store_true", help="hold later runs on this class of machine to this one")
    parser.add_argument("--openmcp", default=openmcp_command(), metavar="COMMAND", help="the gateway to measure")
    parser.add_argument("--page", default=report.PAGE, type=Path, metavar="FILE", help="where the whole run writes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
