"""YAML as we read it: version 1.2, with places, and bounded."""

from pathlib import Path

import pytest

from openmcp.config.yaml_file import MAX_DEPTH, Node, locate, parse, pruned, read

PATH = Path("f.yaml")


def value(text: str) -> object:
    file = parse(text, PATH)
    assert file.faults == ()
    (document,) = file.documents
    return document.plain()


def places(text: str) -> list[str]:
    return [fault.place for fault in parse(text, PATH).faults]


@pytest.mark.parametrize(
    "word", ["on", "off", "yes", "no", "y", "n", "On", "NO", "1:30", "2026-11-23", "1_000", "0b1", "="]
)
def test_words_that_only_yaml_1_1_converts_are_strings(word: str) -> None:
    assert value(f"a: {word}") == {"a": word}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("False", False),
        ("10", 10),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ('"10"', "10"),
        ("'true'", "true"),
        ("!!str 10", "10"),
        ("! 10", "10"),
        ("|\n  x\n  y", "x\ny"),
        ("[1, a]", [1, "a"]),
    ],
)
def test_scalars_follow_the_core_schema(text: str, expected: object) -> None:
    result = value(f"a: {text}")
    assert result == {"a": expected}
    assert isinstance(result, dict)
    assert type(result["a"]) is type(expected)


def test_a_row_of_digits_that_is_no_number_anybody_meant_stays_a_string() -> None:
    assert value(f"a: {'9' * 5000}") == {"a": "9" * 5000}


def test_every_document_of_a_file_is_read_and_empty_ones_are_left_out() -> None:
    file = parse("a: 1\n---\n---\n# only a comment\n---\nb: 2\n...\n", PATH)
    assert [document.plain() for document in file.documents] == [{"a": 1}, {"b": 2}]


def test_an_alias_stands_for_its_anchor_but_has_its_own_place() -> None:
    (document,) = parse("a: &x {k: v}\nb: *x\n", PATH).documents
    assert document.plain() == {"a": {"k": "v"}, "b": {"k": "v"}}
    assert locate(document, ("b",)) == (2, 4)
    assert locate(document, ("b", "k")) == (1, 11)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1"),
        ("{a: 1, a: 2}", "f.yaml:1:8"),
        ("x:\n  1: a\n", "f.yaml:2:3"),
        ("x: {true: a}", "f.yaml:1:5"),
        ("? [a]\n: 1\n", "f.yaml:1:3"),
        ("b: {}\n<<: {a: 1}\n", "f.yaml:2:1"),
        ("a: !!python/object:os.system x\n", "f.yaml:1:4"),
        ("a: !mine {b: 1}\n", "f.yaml:1:4"),
        ("a: !!binary aGk=\n", "f.yaml:1:4"),
        ("a: *nowhere\n", "f.yaml:1:4"),
        ("a: &x [*x]\n", "f.yaml:1:8"),
        ("a: b: c\n", "f.yaml:1:5"),
        ("a: [1\nb: 2\n", "f.yaml:2:2"),
        ("a: 1\n\tb: 2\n", "f.yaml:2:1"),
        ("a: x\x07\n", "f.yaml:1:5"),
    ],
)
def test_what_is_wrong_as_yaml_is_a_fault_with_its_place(text: str, place: str) -> None:
    assert places(text) == [place]


def test_several_faults_of_one_file_are_all_reported() -> None:
    assert places("a: 1\na: 2\nb: !x 1\nc: *y\n") == ["f.yaml:2:1", "f.yaml:3:4", "f.yaml:4:4"]


def test_documents_before_a_syntax_error_are_still_there() -> None:
    file = parse("a: 1\n---\nb: [1\n", PATH)
    assert [document.plain() for document in file.documents] == [{"a": 1}]
    assert len(file.faults) == 1


def test_an_alias_bomb_is_refused_without_being_written_out() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert places("\n".join(lines)) == ["f.yaml:6:55"]


@pytest.mark.parametrize("text", ["[" * 50_000, "- " * 50_000, "{a: " * 50_000, "? " * 50_000])
def test_bottomless_nesting_is_refused(text: str) -> None:
    assert len(places(text)) == 1


def test_aliases_cannot_nest_deeper_than_anything_else() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, MAX_DEPTH + 5)]
    assert places("\n".join(lines)) == [f"f.yaml:{MAX_DEPTH - 1}:6"]


def test_a_file_that_is_not_utf_8_names_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    assert [fault.place for fault in read(path).faults] == [f"{path}:2:4"]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert [document.plain() for document in read(path).documents] == [{"a": 1}]


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    assert [fault.place for fault in read(tmp_path / "no.yaml").faults] == [str(tmp_path / "no.yaml")]


@pytest.mark.parametrize(
    ("loc", "at_key", "place"),
    [
        ((), False, (1, 1)),
        (("a",), False, (2, 3)),
        (("a",), True, (1, 1)),
        (("a", "b", 1), False, (2, 10)),
        (("a", "@tag", "b", 1), False, (2, 10)),
        (("a", "missing"), False, (2, 3)),
        (("a", "b", 7), False, (2, 6)),
        (("a", "b", "[key]"), False, (2, 3)),
    ],
)
def test_a_place_is_that_of_the_value_or_of_what_is_around_it(
    loc: tuple[int | str, ...], at_key: bool, place: tuple[int, int]
) -> None:
    (document,) = parse("a:\n  b: [x, y]\n", PATH).documents
    assert locate(document, loc, at_key=at_key) == place


def test_pruning_keeps_the_places_of_what_stays() -> None:
    (document,) = parse("a: [x, y, z]\nb: {c: 1, d: 2}\n", PATH).documents
    rest: Node = pruned(document, [("a", 0), ("b", "c")])
    assert rest.plain() == {"a": ["y", "z"], "b": {"d": 2}}
    assert locate(rest, ("a", 0)) == (1, 8)
    assert document.plain() == {"a": ["x", "y", "z"], "b": {"c": 1, "d": 2}}
