"""What every detector has to fulfil, built-in or brought by a package: the suite runs on all that are installed.

For a detector of your own: put its texts into `CORPUS` under its name.
"""

import msgspec
import pytest

from openmcp import plugins
from openmcp.inspection.registry import named
from openmcp.inspection.scanner import Candidates, Scanner
from openmcp.language.detector import Detector
from openmcp.language.regexes import Expression
from tests.support.corpus import CORPUS
from tests.support.work import calls_of

NAMES = plugins.names("detector")
CASES = [(name, text) for name in NAMES for text in CORPUS[name].match]
CONTEXTS = ["{}", "before {} after", "\n{}\n", '{{"value": "{}"}}', "漢字{}漢字", "({}), see above", "é {} é"]
HOSTILE = {
    "digits": b"4111111111111111" * 8_192,
    "digits with spaces": b"41 11 " * 20_000,
    "groups of a card": b"4111 " * 25_000,
    "dashes": b"123-45-" * 18_000,
    "at signs": b"a@" * 64_000,
    "dots": b"a@b." * 32_000,
    "one letter": b"a" * 131_072,
    "words that announce": b"password: " * 13_000,
    "prefixes": b"ghp_AKIAsk-ant-eyJ" * 7_000,
    "begins of keys": b"-----BEGIN PRIVATE KEY-----" * 5_000,
    "orders": b"ignore all " * 12_000,
    "accounts": b"DE89 3704 0044 0532 " * 6_500,
    "hidden": "\u200b".encode() * 43_000,
    "no text": bytes(range(256)) * 512,
}


def spans(detector: Detector, text: str) -> list[tuple[int, int]]:
    sights = Scanner([detector]).look(text.encode(), Candidates((detector,), ()))
    return [sight.span for sight in sights if sight.span is not None]


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name: str) -> None:
    detector = named(name)
    assert detector.name == name
    assert detector.description.endswith(".")
    assert detector.patterns


@pytest.mark.parametrize("name", NAMES)
def test_its_patterns_are_taken_by_the_engine_and_match_no_empty_text(name: str) -> None:
    detector = named(name)
    for source in (*detector.patterns, *detector.sieve):
        Expression(source)
    assert not any(Expression(source).is_anchored for source in detector.sieve)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(("name", "text"), CASES)
def test_it_finds_what_it_is_for_wherever_it_stands(name: str, text: str, context: str) -> None:
    found = spans(named(name), context.replace("{{", "{").replace("}}", "}").replace("{}", text))
    assert found


@pytest.mark.parametrize(("name", "text"), CASES)
def test_its_sieve_lets_through_what_its_patterns_match(name: str, text: str) -> None:
    detector = named(name)
    raw = msgspec.json.encode({"a": [text, {"b": f"x\n{text}\ty"}]})
    assert detector in Scanner([detector]).sift(raw).plain


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in NAMES for text in CORPUS[name].no_match])
def test_it_leaves_alone_what_only_looks_like_it(name: str, text: str) -> None:
    assert spans(named(name), text) == []


@pytest.mark.parametrize("name", NAMES)
def test_what_it_finds_lies_in_the_text_and_is_found_again(name: str) -> None:
    detector = named(name)
    for text in CORPUS[name].match:
        found = spans(detector, text)
        assert all(0 <= start < end <= len(text.encode()) for start, end in found)
        assert spans(detector, text) == found


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", NAMES)
def test_its_work_grows_with_the_text_and_not_faster(name: str, hostile: str) -> None:
    detector = named(name)
    scanner, text = Scanner([detector]), HOSTILE[hostile]
    # Some calls per byte at most, whatever stands there: a match costs some dozen, and is some dozen bytes long.
    calls_of(lambda: scanner.look(text, Candidates((detector,), ())), most=6 * len(text))
