"""Distributed traces: who is whose parent, what a span tells, and what an agent may not say."""

from collections.abc import Iterator

import pytest

from openmcp.telemetry.traces import OtlpTracer
from tests.conversation.replica import Offers
from tests.conversation.site import ERAS, Setting, allow, deny, site_of
from tests.support.otlp import Collector, collecting

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
CLAIM = f"00-{TRACE}-{PARENT}-01"
UNWANTED = f"00-{TRACE}-{PARENT}-00"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def tracer(collector: Collector, *, ratio: float = 1.0) -> OtlpTracer:
    return OtlpTracer(
        collector.url, headers={"X-Token": "collector-token"}, ratio=ratio, service="openmcp", instance="test"
    )


def place(traceparent: str) -> tuple[str, str, bool]:
    """Trace, span, and whether it is kept; another bit of the flags says that a trace id is random."""
    _, trace, span, flags = traceparent.split("-")
    return trace, span, bool(int(flags, 16) & 1)


def meta(agent_meta: dict[str, object], traceparent: str) -> dict[str, object]:
    return {**agent_meta, "traceparent": traceparent, "tracestate": "vendor=1"}


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_has_a_span_and_the_try_within_it_another(collector: Collector, era: str) -> None:
    tracing = tracer(collector)
    async with site_of(allow(), tracer=tracing) as site:
        bot = await site.connected(era)
        call = bot.calls_tool("read", id="an-argument")
        asked = await site.replica.takes("tools/call")
        asked.answers({"content": []})
        await call.result()
        ended = [line for line in await site.lines() if line["type"] == "exchange"][-1]
        tracing.close()
    served, tried = collector.of(ended["trace"]["trace"], 2)
    assert (served.name, served.is_server, tried.name, tried.is_client) == (
        "tools/call read",
        True,
        "tools/call",
        True,
    )
    assert (served.parent, tried.parent, tried.trace) == ("", served.id, served.trace)
    assert place(asked.headers["traceparent"]) == (tried.trace, tried.id, True)
    if era == "modern":
        assert asked.params["_meta"]["traceparent"] == asked.headers["traceparent"]
    assert ended["trace"] == {"trace": served.trace, "span": served.id, "isSampled": True}
    assert served.attributes["gen_ai.tool.name"] == "read"
    assert served.attributes["openmcp.agent"] == "bot"
    assert served.attributes["openmcp.exchange"] == ended["exchange"]
    assert served.attributes["http.response.status_code"] == 200
    assert served.events["openmcp.decision"]["openmcp.decision.effect"] == "allow"
    assert not served.is_error
    assert "an-argument" not in str(collector.spans)
    assert collector.headers[0]["x-token"] == "collector-token"
    assert collector.resources[0]["service.name"] == "openmcp"


@pytest.mark.parametrize("where", ["meta", "header"])
async def test_the_trace_of_the_agent_goes_on(collector: Collector, where: str) -> None:
    tracing = tracer(collector)
    async with site_of(allow(), tracer=tracing) as site:
        bot = site.agent("modern")
        given = meta(bot.meta, CLAIM) if where == "meta" else bot.meta
        headers = {"traceparent": CLAIM} if where == "header" else {}
        call = bot.asks("tools/list", headers=headers, _meta=given)
        asked = await site.replica.takes("tools/list")
        asked.answers({"tools": []})
        await call.result()
        tracing.close()
    served, tried = collector.gets(2)
    assert (served.trace, served.parent, tried.trace) == (TRACE, PARENT, TRACE)
    assert place(asked.params["_meta"]["traceparent"]) == (TRACE, tried.id, True)
    if where == "meta":
        assert asked.params["_meta"]["tracestate"] == "vendor=1"


async def test_meta_says_more_than_the_header(collector: Collector) -> None:
    tracing = tracer(collector)
    async with site_of(allow(), tracer=tracing) as site:
        bot = site.agent("modern")
        other = f"00-{'1' * 32}-{'2' * 16}-01"
        call = bot.asks("tools/list", headers={"traceparent": other}, _meta=meta(bot.meta, CLAIM))
        (await site.replica.takes("tools/list")).answers({"tools": []})
        await call.result()
        tracing.close()
    assert {span.trace for span in collector.gets(2)} == {TRACE}


async def test_a_server_that_links_has_traces_of_its_own(collector: Collector) -> None:
    tracing = tracer(collector)
    async with site_of(allow(), tracer=tracing, setting=Setting(server={"is_trace_continued": False})) as site:
        bot = site.agent("modern")
        call = bot.asks("tools/list", _meta=meta(bot.meta, CLAIM))
        asked = await site.replica.takes("tools/list")
        asked.answers({"tools": []})
        await call.result()
        tracing.close()
    served, tried = collector.gets(2)
    assert served.trace == tried.trace != TRACE
    assert (served.parent, served.links) == ("", (TRACE,))
    assert TRACE not in asked.params["_meta"]["traceparent"]
    assert "tracestate" not in asked.params["_meta"]


@pytest.mark.parametrize("claim", [CLAIM, UNWANTED])
@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_whether_a_trace_is_kept_is_not_the_agents_to_say(collector: Collector, claim: str, ratio: float) -> None:
    tracing = tracer(collector, ratio=ratio)
    async with site_of(allow(), tracer=tracing) as site:
        bot = site.agent("modern")
        call = bot.asks("tools/list", _meta=meta(bot.meta, claim))
        asked = await site.replica.takes("tools/list")
        asked.answers({"tools": []})
        await call.result()
        tracing.close()
    assert len(collector.spans) == 2 * ratio
    trace, _, is_kept = place(asked.headers["traceparent"])
    assert (trace, is_kept) == (TRACE, bool(ratio))


@pytest.mark.parametrize("claim", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", "00-" + "f" * 600, 7, None])
async def test_what_is_no_place_in_a_trace_begins_a_new_one(collector: Collector, claim: object) -> None:
    tracing = tracer(collector)
    async with site_of(allow(), tracer=tracing) as site:
        bot = site.agent("modern")
        call = bot.asks("tools/list", _meta={**bot.meta, "traceparent": claim})
        asked = await site.replica.takes("tools/list")
        asked.answers({"tools": []})
        await call.result()
        tracing.close()
    served, tried = collector.gets(2)
    assert served.parent == ""
    assert place(asked.params["_meta"]["traceparent"]) == (served.trace, tried.id, True)


async def test_a_legacy_message_without_a_trace_gets_none_into_its_body(collector: Collector) -> None:
    tracing = tracer(collector)
    async with site_of(allow(), tracer=tracing) as site:
        bot = await site.connected()
        call = bot.asks("tools/list")
        asked = await site.replica.takes("tools/list")
        asked.answers({"tools": []})
        await call.result()
        tracing.close()
    assert "_meta" not in asked.params
    assert "traceparent" in asked.headers


async def test_a_refusal_has_a_span_that_names_it(collector: Collector) -> None:
    tracing = tracer(collector)
    async with site_of(deny(reason="no"), tracer=tracing) as site:
        denied = site.agent("modern").calls_tool("wipe")
        await denied.result()
        stranger = site.agent("modern", name=None)
        stranger.path = "/desk"
        refused = stranger.calls_tool("wipe")
        await refused.ended()
        tracing.close()
    found = {span.attributes.get("error.type") for span in collector.gets(2)}
    assert found == {"denied", "unauthenticated"}
    assert all(span.is_error for span in collector.spans)


async def test_each_try_at_a_replica_has_a_span(collector: Collector) -> None:
    tracing = tracer(collector)
    async with site_of(allow(), replicas=2, tracer=tracing, offers=Offers(era="modern")) as site:
        await site.replicas[0].stops()
        await site.replicas[1].stops()
        call = site.agent("modern").asks("tools/list")
        await call.ended()
        tracing.close()
    served, *tries = collector.gets(3)
    assert served.attributes["error.type"] == "upstream-unreachable"
    assert [tried.attributes["error.type"] for tried in tries] == ["upstream-unreachable"] * 2
    assert {tried.parent for tried in tries} == {served.id}
    assert {tried.attributes["server.port"] for tried in tries} == {r.address.port for r in site.replicas}
