"""A log is proved from its bytes: nothing in it can be changed without being found."""

import gzip
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openmcp.audit.reading.files import LogNotReadable, log_files, raw_lines
from openmcp.audit.reading.verify import State, Verdict, signature_check, verify
from openmcp.state.signing import Signer
from tests.unit.audit.reading.written import Written, signer


def made(folder: Path, *, parts: int = 2, calls: int = 3) -> Written:
    log = Written(folder, signer=signer())
    for part in range(parts):
        for number in range(calls):
            log.call(f"e{part}-{number}", "read", flow="f")
        if part < parts - 1:
            log.turn()
    log.close()
    return log


def only(folder: Path, **options: bool) -> Verdict:
    (verdict,) = verify([folder], check_signature=signature_check(signer().public_keys), **options)
    return verdict


def test_whole_log_is_intact(tmp_path: Path) -> None:
    made(tmp_path)
    verdict = only(tmp_path)
    assert (verdict.state, verdict.records, verdict.checkpoints, verdict.signed) == (State.INTACT, 28, 4, 4)


def test_log_of_a_killed_process_ended_uncleanly_and_is_not_broken(tmp_path: Path) -> None:
    log = made(tmp_path, parts=1)
    *lines, _closing = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines)[:-7])
    verdict = only(tmp_path)
    assert (verdict.state, verdict.torn, verdict.broken) == (State.UNCLEAN, log.path, None)


@pytest.mark.parametrize(
    ("before", "after"), [(b'"effect": "allow"', b'"effect": "deny!"'), (b'"prev":"', b'"prev":"x')]
)
def test_first_broken_line_is_named(tmp_path: Path, before: bytes, after: bytes) -> None:
    log = made(tmp_path, parts=1)
    lines = log.path.read_bytes().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if before in line and number > 1)
    lines[place] = lines[place].replace(before, after)
    log.path.write_bytes(b"".join(lines))
    broken = only(tmp_path).broken
    assert broken is not None
    assert (broken.path, broken.number) == (log.path, place + 1)


def test_missing_file_in_the_middle_breaks_the_log(tmp_path: Path) -> None:
    log = made(tmp_path, parts=3)
    (tmp_path / f"{log.writer}-2.jsonl").unlink()
    verdict = only(tmp_path)
    assert verdict.state is State.BROKEN
    assert verdict.broken is not None
    assert "missing before this file" in verdict.broken.why


def test_missing_first_file_is_told_unless_it_was_removed_on_purpose(tmp_path: Path) -> None:
    log = made(tmp_path, parts=3)
    (tmp_path / f"{log.writer}-1.jsonl").unlink()
    assert only(tmp_path).state is State.BROKEN
    assert only(tmp_path, is_retained=True).state is State.INTACT


def test_missing_last_file_is_no_clean_end(tmp_path: Path) -> None:
    log = made(tmp_path, parts=2)
    log.path.unlink()
    assert only(tmp_path).state is State.UNCLEAN


def test_log_made_anew_by_somebody_without_the_key_is_broken(tmp_path: Path) -> None:
    log = Written(tmp_path, signer=Signer((b"x" * 32,)))
    log.call("e1", "read")
    log.close()
    assert only(tmp_path).state is State.BROKEN
    # Without a key from elsewhere it can only be said that one holder signed all of it.
    (alone,) = verify([tmp_path], check_signature=signature_check(()))
    assert alone.state is State.INTACT


def test_unsigned_log_is_broken_for_who_knows_the_key(tmp_path: Path) -> None:
    log = Written(tmp_path)
    log.close()
    assert only(tmp_path).state is State.BROKEN


@pytest.mark.parametrize("damage", ["cut", "cut at a line", "altered"])
def test_compressed_file_is_whole_or_broken(tmp_path: Path, damage: str) -> None:
    log = made(tmp_path, parts=1, calls=400)
    lines = log.path.read_bytes().splitlines(keepends=True)
    path = tmp_path / f"{log.path.name}.zst"
    log.path.unlink()
    # Two frames, as after somebody has joined files.
    frames = [zstandard.ZstdCompressor(write_checksum=True).compress(b"".join(part)) for part in (lines[:9], lines[9:])]
    path.write_bytes(b"".join(frames))
    assert only(tmp_path).state is State.INTACT
    match damage:
        case "cut":
            path.write_bytes(b"".join(frames)[:-50])
        case "cut at a line":
            # All of the first frame, and of the second only its head: what can be read ends with a newline.
            path.write_bytes(frames[0] + frames[1][:8])
        case _:
            path.write_bytes(frames[0] + frames[1][:-100] + bytes(96) + frames[1][-4:])
    assert only(tmp_path).state is State.BROKEN


def test_a_file_that_is_being_compressed_counts_once(tmp_path: Path) -> None:
    log = made(tmp_path)
    first = tmp_path / f"{log.writer}-1.jsonl"
    first.with_name(f"{first.name}.zst").write_bytes(zstandard.ZstdCompressor().compress(first.read_bytes()))
    assert only(tmp_path).state is State.INTACT
    listed = log_files([tmp_path])
    first.unlink()
    assert [line.data for line in raw_lines(listed[0])] == [line.data for line in raw_lines(log_files([tmp_path])[0])]
    assert only(tmp_path).state is State.INTACT


def test_unsigned_checkpoint_in_a_signed_log_is_somebody_elses(tmp_path: Path) -> None:
    log = Written(tmp_path, signer=signer())
    log.call("e1", "read")
    log.chain._signer = None  # As somebody without the key would go on.
    log.close()
    (verdict,) = verify([tmp_path], check_signature=signature_check(()))
    assert verdict.state is State.BROKEN


def test_what_is_no_log_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(LogNotReadable):
        verify([tmp_path])
    with pytest.raises(LogNotReadable):
        verify([tmp_path / "missing.jsonl"])
    (tmp_path / "x.jsonl").write_bytes(gzip.compress(b"{}" * 1000))
    assert verify([tmp_path])[0].state is not State.INTACT


WHOLE = "whole log"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[list[bytes]]:
    log = made(tmp_path_factory.mktemp(WHOLE.replace(" ", "-")), parts=2)
    return [path.read_bytes().splitlines(keepends=True) for path in sorted(log.folder.iterdir())]


def written(folder: Path, parts: list[list[bytes]]) -> Path:
    for number, lines in enumerate(parts, start=1):
        (folder / f"node-1-0-{number}.jsonl").write_bytes(b"".join(lines))
    return folder


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_mutation_is_found(
    data: st.DataObject, parts: list[list[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    mutated = [list(lines) for lines in parts]
    part = data.draw(st.sampled_from(mutated))
    place = data.draw(st.integers(0, len(part) - 1))
    is_tail = False
    match data.draw(st.sampled_from(["change", "remove", "swap", "repeat", "cut", "move"])):
        case "change":
            line = bytearray(part[place])
            at = data.draw(st.integers(0, len(line) - 2))
            line[at] ^= data.draw(st.integers(1, 255))
            part[place] = bytes(line)
            is_tail = part is mutated[-1] and place == len(part) - 1
        case "remove":
            is_tail = part is mutated[-1] and place == len(part) - 1
            del part[place]
        case "swap":
            other = data.draw(st.integers(0, len(part) - 1).filter(lambda other: other != place))
            part[place], part[other] = part[other], part[place]
        case "repeat":
            part.insert(data.draw(st.integers(0, len(part))), part[place])
        case "cut":
            is_tail = part is mutated[-1]
            del part[place:]
        case _:
            target = mutated[1] if part is mutated[0] else mutated[0]
            target.insert(data.draw(st.integers(0, len(target))), part.pop(place))
    verdicts = verify(
        [written(tmp_path_factory.mktemp("mutated"), mutated)],
        check_signature=signature_check(signer().public_keys),
    )
    states = {verdict.state for verdict in verdicts}
    # What was done to the very end looks like a killed process: told, but not called broken.
    assert State.BROKEN in states or (is_tail and states == {State.UNCLEAN}), states
