"""From lines to flows: order, grouping, filters."""

from pathlib import Path

import pytest

from openmcp.audit.reading.entries import Log
from openmcp.audit.reading.exchanges import exchanges
from openmcp.audit.reading.flows import Filter, FlowUnknown, find, newest
from tests.unit.audit.reading.written import AGENT, Written


def flows_of(folder: Path, **wanted: object) -> list[str]:
    return [flow.id for flow in newest(Log([folder]), Filter(**wanted), limit=100)]  # type: ignore[arg-type]  # from words


def test_lines_of_several_writers_come_in_the_order_of_time(tmp_path: Path) -> None:
    one, other = Written(tmp_path, "a-1-0"), Written(tmp_path, "a-1-1")
    other.passes(0.0005)
    for number in range(20):
        one.call(f"one{number}", "read")
        other.call(f"two{number}", "read")
    times = [entry.line.ts for entry in Log([tmp_path]).entries()]
    assert times == sorted(times)
    assert len(times) == 2 + 40 * 4


def test_a_clock_that_was_set_back_does_not_reorder_what_a_writer_wrote(tmp_path: Path) -> None:
    log = Written(tmp_path)
    log.call("e1", "read")
    log.passes(-3600)
    log.turn()
    log.call("e2", "read")
    assert [entry.line.seq for entry in Log([tmp_path]).entries()] == list(range(1, 12))


def test_a_second_copy_of_a_file_counts_once(tmp_path: Path) -> None:
    log = Written(tmp_path)
    log.call("e1", "read")
    (tmp_path / "copy.jsonl").write_bytes(log.path.read_bytes())
    assert len(list(Log([tmp_path]).entries())) == 5


def test_a_torn_last_line_is_left_out_and_garbage_is_counted(tmp_path: Path) -> None:
    log = Written(tmp_path)
    log.call("e1", "read")
    data = log.path.read_bytes()
    log.path.write_bytes(data[:200] + b"\nnot json\n" + data[200:-20])
    reading = Log([tmp_path])
    assert len(list(reading.entries())) == 3
    assert reading.unreadable == 3


def test_a_session_is_a_flow_however_long_its_pauses(tmp_path: Path) -> None:
    log = Written(tmp_path)
    log.call("e1", "read", session="S", flow="S")
    log.passes(7200)
    log.call("e2", "read", session="S", flow="S")
    assert flows_of(tmp_path) == ["S"]


def test_without_a_session_a_pause_ends_the_flow_and_writers_are_joined(tmp_path: Path) -> None:
    one, other = Written(tmp_path, "a-1-0"), Written(tmp_path, "a-1-1")
    one.call("e1", "read")
    other.passes(10)
    other.call("e2", "read")
    other.passes(400)
    other.call("e3", "read")
    assert flows_of(tmp_path) == ["e3", "e1"]


def test_a_round_after_a_long_pause_belongs_to_the_flow_that_asked(tmp_path: Path) -> None:
    log = Written(tmp_path)
    state = "hmac:abcdefghijklmnopqrstuv"
    log.call("e1", "pay", text=f"requestState {state}")
    log.passes(3600)
    log.call("e2", "pay", arguments={"requestState": state})
    log.passes(3600)
    log.call("e3", "pay")
    assert flows_of(tmp_path) == ["e3", "e1"]


def test_another_agents_state_ties_nothing(tmp_path: Path) -> None:
    log = Written(tmp_path)
    state = "hmac:abcdefghijklmnopqrstuv"
    log.call("e1", "pay", text=state)
    log.call("e2", "pay", arguments={"note": state}, agent={**AGENT, "id": "apiKey:keys:eve", "name": "eve"})
    assert sorted(flows_of(tmp_path)) == ["e1", "e2"]


def test_a_trace_is_a_flow_over_servers_and_pauses(tmp_path: Path) -> None:
    log = Written(tmp_path)
    log.call("e1", "read", flow="trace-T")
    log.call("e2", "read", flow="e2")
    log.passes(3600)
    log.call("e3", "write", flow="trace-T", server="other")
    assert sorted(flows_of(tmp_path)) == ["e2", "trace-T"]


def test_filters_speak_of_one_exchange(tmp_path: Path) -> None:
    log = Written(tmp_path)
    log.call("e1", "read", session="A", flow="A")
    log.call("e2", "drop", session="A", flow="A", effect="deny")
    log.call("e3", "drop", session="B", flow="B")
    assert flows_of(tmp_path, tool="drop") == ["B", "A"]
    assert flows_of(tmp_path, tool="drop", decision="deny") == ["A"]
    assert flows_of(tmp_path, tool="read", decision="deny") == []
    assert flows_of(tmp_path, sessions=frozenset({"B"})) == ["B"]
    assert flows_of(tmp_path, agent="bot", server="desk") == ["B", "A"]
    assert flows_of(tmp_path, agent="eve") == []
    assert flows_of(tmp_path, until_ns=1) == []


def test_what_the_gateway_asks_itself_is_listed_only_when_asked_for(tmp_path: Path) -> None:
    log = Written(tmp_path)
    log.call("e1", "read", agent={"name": "gateway", "id": "gateway", "method": "own"})
    assert flows_of(tmp_path) == []
    assert flows_of(tmp_path, agent="gateway") == ["e1"]


def test_a_flow_is_found_by_its_beginning_and_by_ids_that_agents_are_told(tmp_path: Path) -> None:
    log = Written(tmp_path)
    log.call("exchange-1", "read", session="session-A", flow="session-A")
    log.call("exchange-2", "read", session="session-B", flow="session-B")
    reading = Log([tmp_path])
    for name in ("session-A", "exchange-1", "exchange-1.2"):
        assert find(reading, name).summary.id == "session-A"
    for unknown in ("session-", "none", "ses"):
        with pytest.raises(FlowUnknown):
            find(reading, unknown)


def test_an_exchange_without_an_end_is_shown_as_far_as_it_came(tmp_path: Path) -> None:
    log = Written(tmp_path)
    log.says(
        "e1", "message", dir="agent→gateway", kind="request", mcp={"method": "tools/call", "name": "slow"}, flow="F"
    )
    (exchange,) = exchanges(Log([tmp_path]).entries())
    assert (exchange.flow, exchange.name, exchange.is_ended) == ("F", "slow", False)
