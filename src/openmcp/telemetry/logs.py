"""The process log: what the gateway says of itself, on standard error.

Set up once by the command that starts the process; everyone else uses the standard
`logging` with a short event name as message and the facts as `extra`:

    _log.warning("replica-ejected", extra={"server": server.name, "replica": replica.url})

On a terminal it is text for people, elsewhere JSON, one line per event. What came from
outside cannot forge a line or steer the terminal. Never for traffic: that is the audit
log's.
"""

import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Literal, TextIO, cast

import msgspec

from openmcp.telemetry.harmless import json_line, text

Form = Literal["json", "text"]

_MAX_CHARS: Final = 4_000
_TRACE_LINES: Final = 60
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS: Final = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
_PLAIN: Final = "\x1b[0m"


def set_up(*, level: str = "INFO", form: Form | None = None, stream: TextIO | None = None) -> None:
    """Send all logging of the process to `stream` (standard error). `form` `None`: text on a terminal, else JSON.

    Raises: ValueError for a level that does not exist.
    """
    out: TextIO = sys.stderr if stream is None else stream
    is_terminal = out.isatty()
    handler = logging.StreamHandler(out)
    is_text = is_terminal if form is None else form == "text"
    handler.setFormatter(TextFormatter(has_colours=is_terminal) if is_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Libraries tell us when something is wrong, not what they do.
    for name in ("asyncio", "uvicorn", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `ts`, `level`, `event`, `logger`, then the facts."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": _time(record),
            "level": record.levelname.lower(),
            "event": _json_text(record.getMessage()),
            "logger": record.name,
        }
        for key, value in _facts(record).items():
            line.setdefault(key, _json_value(value))
        if record.exc_info:
            line["traceback"] = _json_text("\n".join(_traceback(record)))
        return json_line(msgspec.json.encode(line)).decode()


class TextFormatter(logging.Formatter):
    """Time, level, event and facts as a person reads them."""

    def __init__(self, *, has_colours: bool = False) -> None:
        super().__init__()
        self._has_colours = has_colours

    def format(self, record: logging.LogRecord) -> str:
        colour = _COLOURS.get(record.levelno, "") if self._has_colours else ""
        level = f"{colour}{record.levelname.lower():<8}{_PLAIN if colour else ''}"
        facts = "".join(f" {key}={value}" for key, value in _facts(record).items())
        line = f"{_time(record)} {level} {text(record.getMessage() + facts, _MAX_CHARS)}"
        # The one text of several lines: each of them is harmless, and indented, so that none looks like an event.
        return "\n    ".join([line, *(text(part, _MAX_CHARS) for part in _traceback(record))])


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _facts(record: logging.LogRecord) -> dict[str, object]:
    """Return what was given as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _OWN}


def _json_value(value: object) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        # JSON readers know 64 bits.
        return value if abs(value) < 2**63 else _json_text(hex(value))
    if isinstance(value, list | tuple | set | frozenset):
        return [_json_value(item) for item in cast("Iterable[object]", value)]
    return _json_text(str(value))


def _json_text(value: str) -> str:
    # Lone surrogates, as in undecodable file names, have no UTF-8.
    return value[:_MAX_CHARS].encode("utf-8", "backslashreplace").decode()


def _traceback(record: logging.LogRecord) -> list[str]:
    """Return the last lines of the traceback, if there is one."""
    whole = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
    return whole.splitlines()[-_TRACE_LINES:]
