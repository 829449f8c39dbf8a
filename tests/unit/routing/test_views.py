"""What is remembered of the lists that agents saw: enough for honest servers, bounded for all others."""

from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.catalogue import Definition
from openmcp.routing.views import MAX_ENTRIES, Views

BOT, EVE = ("desk", "bot"), ("desk", "eve")
TOOL, PROMPT = SubjectKind.TOOL, SubjectKind.PROMPT


def defined(name: str, kind: SubjectKind = TOOL, digest: str = "d") -> Definition:
    return Definition(Subject(kind, name), digest)


def test_pages_beyond_the_bound_on_entries_are_not_remembered() -> None:
    views = Views()
    for page in range(3):
        views.add(BOT, [defined(f"{page}-{number}") for number in range(MAX_ENTRIES // 2)], known={})
    assert views.find(BOT, Subject(TOOL, "1-0")) is not None
    assert views.find(BOT, Subject(TOOL, "2-0")) is None
    # What is known already can still change.
    views.add(BOT, [defined("0-0", digest="new")], known={})
    found = views.find(BOT, Subject(TOOL, "0-0"))
    assert found is not None
    assert found.digest == "new"


def test_names_beyond_the_bound_on_bytes_are_not_remembered() -> None:
    views = Views()
    huge = [f"{number}-" + "x" * (12 << 20) for number in range(3)]
    views.add(BOT, [defined(name) for name in huge], known={})
    assert [views.find(BOT, Subject(TOOL, name)) is not None for name in huge] == [True, True, False]


def test_a_first_page_makes_room_again_for_its_kind_only() -> None:
    views = Views()
    views.add(BOT, [defined("greet", PROMPT)], known={})
    for _ in range(5):
        views.begin(BOT, TOOL)
        views.add(BOT, [defined("x" * (20 << 20)), defined("read")], known={})
        assert views.find(BOT, Subject(TOOL, "read")) is not None
        assert views.find(BOT, Subject(PROMPT, "greet")) is not None


def test_all_views_together_are_bounded_and_the_oldest_goes_first() -> None:
    views = Views(max_total_bytes=3 << 10)
    for who in ("a", "b", "c"):
        views.add(("desk", who), [defined("x" * 1000)], known={})
    held = [views.find(("desk", who), Subject(TOOL, "x" * 1000)) is not None for who in ("a", "b", "c")]
    assert held == [False, True, True]


def test_a_definition_that_the_gateway_read_just_so_is_kept_once() -> None:
    views, own = Views(), defined("read")
    views.add(BOT, [defined("read")], known={own.subject: own})
    views.add(EVE, [defined("read", digest="other")], known={own.subject: own})
    assert views.find(BOT, own.subject) is own
    found = views.find(EVE, own.subject)
    assert found is not None
    assert found.digest == "other"
