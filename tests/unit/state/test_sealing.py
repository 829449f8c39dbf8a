"""Keys and sealed values: nobody without a key can make, alter or read one."""

import string
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from openmcp.state import keys
from openmcp.state.sealing import KEY_BYTES, Keyring, load_or_make

OLD, NEW, HASHING = (bytes([n]) * KEY_BYTES for n in (1, 2, 3))
RING = Keyring(sealing=[NEW, OLD], hashing=HASHING)
PAYLOAD = b"server\0replica\0session"


def test_a_key_is_made_once_and_read_ever_after(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "sealing"
    key = load_or_make(path)
    assert len(key) == KEY_BYTES
    assert load_or_make(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_all_who_start_together_get_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: load_or_make(tmp_path / "keys" / "k"), range(64)))
    assert len(set(made)) == 1


@pytest.mark.parametrize("content", [b"", b"short", bytes(KEY_BYTES + 1)])
def test_a_file_that_is_no_key_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(ValueError, match="exactly 32 bytes"):
        load_or_make(tmp_path / "k")
    assert (tmp_path / "k").read_bytes() == content


def test_what_was_sealed_opens_and_the_same_gives_the_same() -> None:
    sealed = RING.seal("session", PAYLOAD)
    assert RING.open("session", sealed) == PAYLOAD
    assert RING.seal("session", PAYLOAD) == sealed
    assert set(sealed) <= set(string.ascii_letters + string.digits + "-_")
    assert PAYLOAD.hex() not in sealed


def test_another_purpose_another_key_and_another_payload_give_another_text() -> None:
    other = Keyring(sealing=[OLD], hashing=HASHING)
    texts = {
        RING.seal("session", PAYLOAD),
        RING.seal("event", PAYLOAD),
        RING.seal("session", PAYLOAD + b"x"),
        other.seal("session", PAYLOAD),
    }
    assert len(texts) == 4


def test_it_opens_only_for_its_purpose() -> None:
    assert RING.open("event", RING.seal("session", PAYLOAD)) is None


def test_a_retired_key_still_opens_and_a_foreign_one_does_not() -> None:
    assert RING.open("s", Keyring(sealing=[OLD], hashing=HASHING).seal("s", PAYLOAD)) == PAYLOAD
    assert RING.open("s", Keyring(sealing=[HASHING], hashing=HASHING).seal("s", PAYLOAD)) is None


def test_every_single_altered_character_closes_it() -> None:
    sealed = RING.seal("s", PAYLOAD)
    alphabet = string.ascii_letters + string.digits + "-_"
    for place in range(len(sealed)):
        for character in alphabet:
            altered = sealed[:place] + character + sealed[place + 1 :]
            assert altered == sealed or RING.open("s", altered) is None


@pytest.mark.parametrize("change", ["{}=", "{}==", " {}", "{}\n", "{}A", "\x00{}", "ü{}"])
def test_other_spellings_of_the_same_bytes_are_foreign(change: str) -> None:
    # Payloads of three lengths, so that every form of the last group occurs.
    for payload in (b"12", b"123", b"1234"):
        assert RING.open("s", change.format(RING.seal("s", payload))) is None


def test_plain_base64_is_not_taken_for_the_url_form() -> None:
    sealed = next(s for n in range(1000) if {"-", "_"} <= set(s := RING.seal("s", b"%d" % n)))
    assert RING.open("s", sealed.replace("-", "+").replace("_", "/")) is None


@pytest.mark.parametrize("text", ["", "A", "AAAA", "A" * 21, "A" * 22, "A" * 23, "!" * 40, "A" * 5000])
def test_garbage_is_foreign(text: str) -> None:
    assert RING.open("s", text) is None


def test_what_is_too_long_is_not_even_looked_at() -> None:
    sealed = RING.seal("s", bytes(3000))
    assert RING.open("s", sealed) is None
    assert RING.open("s", sealed, max_chars=5000) == bytes(3000)


def test_a_digest_needs_the_key_and_the_purpose() -> None:
    digest = RING.digest("session", b"id")
    assert len(digest) == 16
    assert RING.digest("session", b"id") == digest
    assert RING.digest("event", b"id") != digest
    assert Keyring(sealing=[NEW], hashing=OLD).digest("session", b"id") != digest


@pytest.mark.parametrize(("sealing", "hashing"), [([], HASHING), ([b"short"], HASHING), ([OLD], b"short")])
def test_a_keyring_without_proper_keys_is_refused(sealing: list[bytes], hashing: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Keyring(sealing=sealing, hashing=hashing)


def test_a_keyring_shows_no_key() -> None:
    assert OLD.hex() not in repr(RING)
    assert repr(OLD) not in repr(RING)


def test_the_key_of_a_session_tells_neither_id_nor_server_and_differs_by_both() -> None:
    made = {keys.session_key(RING.digest, server, id) for server in ("a", "ab") for id in ("id", "bid")}
    assert len(made) == 4
    assert {len(key) for key in made} == {22}
