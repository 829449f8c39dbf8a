"""The process log, and text that cannot forge a line of it."""

import io
import json
import logging
from collections.abc import Iterator

import msgspec
import pytest

from openmcp.telemetry import logs
from openmcp.telemetry.harmless import json_line, text

HOSTILE = [
    "a\nb",
    "a\r\nb",
    "\x1b[2J",
    "\x00",
    "\x7f",
    "\x85",
    "\x9b",
    "\u2028",
    "\u202e",
    "\u2066",
    "\u200b",
    "\ufeff",
]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield io.StringIO()
    root.handlers[:], level = before
    root.setLevel(level)
    logging.captureWarnings(False)


def test_an_event_is_one_json_object_with_its_facts(stream: io.StringIO) -> None:
    logs.set_up(stream=stream)
    logging.getLogger("openmcp.x").warning(
        "replica-ejected", extra={"server": "github", "failures": 3, "replicas": ["a", "b"], "last": None}
    )
    line = json.loads(stream.getvalue())
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "replica-ejected",
        "logger": "openmcp.x",
        "server": "github",
        "failures": 3,
        "replicas": ["a", "b"],
        "last": None,
    }


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_from_outside_forges_a_line(stream: io.StringIO, form: logs.Form, hostile: str) -> None:
    logs.set_up(stream=stream, form=form)
    logging.getLogger("openmcp.x").error(f"e{hostile}", extra={"fact": f"f{hostile}", "facts": [hostile]})
    out = stream.getvalue()
    assert out.endswith("\n")
    assert out[:-1].isprintable()


def test_json_keeps_the_value_that_it_escapes(stream: io.StringIO) -> None:
    logs.set_up(stream=stream, form="json")
    logging.getLogger("openmcp.x").error("e", extra={"fact": "a\n\u202eb\x7f\U000e0041"})
    assert json.loads(stream.getvalue())["fact"] == "a\n\u202eb\x7f\U000e0041"


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_is_told_and_cannot_forge_a_line_either(stream: io.StringIO, form: logs.Form) -> None:
    logs.set_up(stream=stream, form=form)
    try:
        raise ValueError("a\x1b[2J\n2026-01-01T00:00:00Z error forged")
    except ValueError:
        logging.getLogger("openmcp.x").exception("failed")
    lines = stream.getvalue().splitlines()
    assert "ValueError" in stream.getvalue()
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 1 or all(line.startswith("    ") for line in lines[1:])


def test_what_cannot_be_encoded_is_shown_all_the_same(stream: io.StringIO) -> None:
    logs.set_up(stream=stream, form="json")
    logging.getLogger("openmcp.x").error("e", extra={"path": "a\udcff", "number": 2**80, "thing": object})
    assert json.loads(stream.getvalue())["path"] == "a\\udcff"


def test_a_fact_does_not_replace_what_the_log_itself_says(stream: io.StringIO) -> None:
    logs.set_up(stream=stream, form="json")
    logging.getLogger("openmcp.x").error("e", extra={"level": "debug", "event": "forged"})
    line = json.loads(stream.getvalue())
    assert (line["level"], line["event"]) == ("error", "e")


def test_the_level_decides_what_is_told(stream: io.StringIO) -> None:
    logs.set_up(stream=stream, level="warning")
    logging.getLogger("openmcp.x").info("quiet")
    logging.getLogger("openmcp.x").warning("loud")
    assert json.loads(stream.getvalue())["event"] == "loud"
    with pytest.raises(ValueError, match="LOUDER"):
        logs.set_up(stream=stream, level="louder")


@pytest.mark.parametrize("hostile", [*HOSTILE, "plain", "Jürgen 日本", "\U0001f600", "\U000e0041"])
def test_a_json_line_has_the_same_value_and_nothing_hidden(hostile: str) -> None:
    encoded = msgspec.json.encode({f"k{hostile}": [hostile]})
    line = json_line(encoded)
    assert json.loads(line) == json.loads(encoded)
    assert line.decode().isprintable()


def test_a_json_line_is_one_line_whatever_stood_between_the_tokens() -> None:
    assert json.loads(json_line(b'{\n"a":\r\n1}')) == {"a": 1}
    assert b"\n" not in json_line(b'{\n"a":\r\n1}')


def test_text_is_cut_to_its_length() -> None:
    assert text("x" * 100, 10) == "x" * 9 + "…"
    assert text("x" * 10, 10) == "x" * 10
