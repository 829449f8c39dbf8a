"""Passwords: checked slowly once, beside the loop, and neither guessed nor flooded."""

import asyncio
import threading
from typing import Any

import pytest

from openmcp.config.identities import AgentSpec, BasicIdentity, BasicSourceSettings, SourceSpec
from openmcp.errors import Overloaded
from openmcp.identity.basic import PARALLEL, WAITING, BasicSource, Passwords, is_right
from openmcp.identity.failures import BURST
from openmcp.identity.lasting import Lasting
from openmcp.identity.source import Absent, Invalid, Verdict
from openmcp.model.agent import Principal, Trust
from openmcp.model.http import Peer
from openmcp.model.server import Authentication, Server
from tests.support.credentials import Clock, argon2id, basic, request

SERVER = Server("desk", "/desk", (), Authentication(("legacy",)))
SPEC = SourceSpec("legacy", 1, "basic", BasicSourceSettings())
HASHES = {"bot": argon2id("correct"), "eve": argon2id("evil")}


def source(lasting: Lasting, **hashes: str) -> BasicSource:
    users = hashes or HASHES
    identities = [
        BasicIdentity(principal_id=f"basic:legacy:{user}", source="legacy", user=user, hashed=hashed)
        for user, hashed in users.items()
    ]
    agents = [AgentSpec(one.user, "", frozenset(), {}, (one,)) for one in identities]
    return BasicSource.from_spec(SPEC, agents, lasting)


async def verdict(source: BasicSource, value: str, **changes: Any) -> Verdict:
    return await source.verify(request({"authorization": value}, **changes), SERVER)


class Counted:
    """The real check, counted; it waits where a test wants to see what happens meanwhile."""

    def __init__(self) -> None:
        self.checks = self.running = self.most = 0
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()

    def lasting(self) -> Lasting:
        """What a source finds that shall check with this."""
        lasting = Lasting(Clock())
        lasting.kept(Passwords, "legacy", lambda: Passwords(lasting.clock, self))
        return lasting

    def __call__(self, hashed: str, password: bytes) -> bool:
        with self._lock:
            self.checks += 1
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            self.gate.wait(10)
            return is_right(hashed, password)
        finally:
            with self._lock:
                self.running -= 1


async def test_the_right_password_names_its_user_and_is_checked_once() -> None:
    counted = Counted()
    users = source(counted.lasting())
    found = [await verdict(users, basic("bot", "correct")) for _ in range(3)]
    assert isinstance(found[0], Principal)
    assert (found[0].id, found[0].trust) == ("basic:legacy:bot", Trust.SHARED_SECRET)
    assert found[0] is found[1] is found[2]
    assert counted.checks == 1


@pytest.mark.parametrize("value", ["", "Basic", "Bearer x", "basicx y"])
async def test_what_is_no_password_is_left_to_others(value: str) -> None:
    assert await verdict(source(Lasting(Clock())), value) is Absent.ABSENT


@pytest.mark.parametrize(
    "value", ["Basic !!!", "Basic Ym90", f"Basic {'A' * 2000}", basic("bot", "wrong"), basic("bot", ""), basic("", "x")]
)
async def test_what_is_not_exactly_right_is_invalid(value: str) -> None:
    found = await verdict(source(Lasting(Clock())), value)
    assert isinstance(found, Invalid)
    assert "wrong'" not in found.why


async def test_an_unknown_user_costs_what_a_known_one_costs_and_is_not_recorded_by_name() -> None:
    counted = Counted()
    found = await verdict(source(counted.lasting()), basic("hunter2", "x"))
    assert isinstance(found, Invalid)
    assert "hunter2" not in found.why
    assert counted.checks == 1


async def test_the_password_of_one_user_is_not_that_of_an_unknown_one() -> None:
    """The decoy is a real hash: whoever knows its password must gain nothing."""
    users = source(Lasting(Clock()))
    assert isinstance(await verdict(users, basic("nobody", "correct")), Invalid)


async def test_wrong_passwords_are_remembered_too() -> None:
    counted = Counted()
    users = source(counted.lasting())
    for _ in range(5):
        assert isinstance(await verdict(users, basic("bot", "wrong")), Invalid)
    assert counted.checks == 1


async def test_many_requests_with_one_password_wait_for_one_check() -> None:
    counted = Counted()
    users = source(counted.lasting())
    found = await asyncio.gather(*[verdict(users, basic("bot", "correct")) for _ in range(50)])
    assert all(isinstance(one, Principal) for one in found)
    assert counted.checks == 1


async def test_a_flood_of_passwords_runs_few_at_a_time_and_the_loop_goes_on() -> None:
    counted = Counted()
    users = source(counted.lasting())
    counted.gate.clear()
    flood = [
        asyncio.ensure_future(verdict(users, basic("bot", f"guess{n}"), peer=Peer(f"192.0.2.{n}"))) for n in range(100)
    ]
    await asyncio.sleep(0.05)
    counted.gate.set()
    found = await asyncio.gather(*flood, return_exceptions=True)
    assert counted.most <= PARALLEL
    assert counted.checks <= WAITING + PARALLEL
    refused = [one for one in found if isinstance(one, Overloaded)]
    assert len(refused) == 100 - counted.checks
    assert isinstance(await verdict(users, basic("bot", "correct")), Principal)


async def test_a_peer_that_guesses_is_not_checked_any_more_but_the_known_come_in() -> None:
    counted = Counted()
    lasting = counted.lasting()
    users = source(lasting)
    await verdict(users, basic("bot", "correct"))
    for _ in range(BURST):
        lasting.failures.note("192.0.2.1")
    found = await verdict(users, basic("bot", "guess"))
    assert isinstance(found, Invalid)
    assert "too many failures" in found.why
    assert counted.checks == 1
    assert isinstance(await verdict(users, basic("bot", "correct")), Principal)


async def test_a_changed_hash_ends_the_old_password_at_once() -> None:
    lasting = Lasting(Clock())
    before = source(lasting)
    found = await verdict(before, basic("bot", "correct"))
    assert isinstance(found, Principal)
    after = source(lasting, bot=argon2id("other"))
    assert isinstance(await verdict(after, basic("bot", "correct")), Invalid)
    assert not after.vouches(found)
    assert before.vouches(found)


async def test_what_is_remembered_holds_no_password() -> None:
    passwords = Passwords(Clock())
    digest = passwords.digest("bot", b"correct")
    await passwords.check(digest, b"correct", HASHES["bot"])
    assert b"correct" not in repr(vars(passwords)).encode()


async def test_a_source_without_users_lets_nobody_in() -> None:
    empty = BasicSource.from_spec(SPEC, (), Lasting(Clock()))
    assert isinstance(await verdict(empty, basic("bot", "")), Invalid)
