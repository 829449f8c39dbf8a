"""Which replicas are tried, in which order."""

from collections import Counter

import pytest

from openmcp.errors import UnknownSession
from openmcp.model.server import Affinity, AffinityMode, Balance, Health, Replica, Server
from openmcp.routing.balancer import Balancer
from openmcp.routing.health import HealthBook
from tests.unit.routing.made import REPLICAS, Clock, server


class Balanced:
    """A balancer whose load and health the test decides."""

    def __init__(self, balance: Balance) -> None:
        self.load: Counter[str] = Counter()
        self.health = HealthBook(Clock())
        self.health.configure((replica, Health(unhealthy_after=1)) for replica in REPLICAS)
        self.server: Server = server(balance=balance)
        self._balancer = Balancer(self.health, lambda replica: self.load[replica.url])

    def order(self, bound_to: str | None = None) -> list[Replica]:
        return list(self._balancer.candidates(self.server, bound_to, holder="bot"))

    def candidates(self, server: Server, holder: str) -> tuple[Replica, ...]:
        return self._balancer.candidates(server, None, holder=holder)

    def fails(self, *replicas: Replica) -> None:
        for replica in replicas:
            self.health.probed(replica, ok=False)


@pytest.mark.parametrize("balance", Balance)
def test_every_healthy_replica_is_tried_once(balance: Balance) -> None:
    balanced = Balanced(balance)
    balanced.fails(REPLICAS[1])
    for _ in range(20):
        assert sorted(replica.port for replica in balanced.order()) == [1, 3]


@pytest.mark.parametrize("balance", Balance)
def test_the_first_choice_is_spread(balance: Balance) -> None:
    balanced = Balanced(balance)
    firsts = Counter(balanced.order()[0].url for _ in range(300))
    assert set(firsts) == {replica.url for replica in REPLICAS}
    if balance is not Balance.RANDOM:
        assert set(firsts.values()) == {100}


def test_least_requests_prefers_who_has_the_least_to_do() -> None:
    balanced = Balanced(Balance.LEAST_REQUESTS)
    balanced.load.update({REPLICAS[0].url: 5, REPLICAS[1].url: 1, REPLICAS[2].url: 3})
    for _ in range(3):
        assert [replica.port for replica in balanced.order()] == [2, 3, 1]


@pytest.mark.parametrize("balance", Balance)
def test_if_none_is_healthy_all_are_tried(balance: Balance) -> None:
    balanced = Balanced(balance)
    balanced.fails(*REPLICAS)
    assert sorted(replica.port for replica in balanced.order()) == [1, 2, 3]


def test_a_bound_exchange_goes_to_its_replica_however_it_feels() -> None:
    balanced = Balanced(Balance.ROUND_ROBIN)
    balanced.fails(REPLICAS[2])
    assert balanced.order(REPLICAS[2].url) == [REPLICAS[2]]


def test_a_bound_exchange_is_never_moved() -> None:
    balanced = Balanced(Balance.ROUND_ROBIN)
    with pytest.raises(UnknownSession):
        balanced.order("http://127.0.0.1:4/mcp")


def test_a_hashing_server_spreads_agents_and_moves_only_those_whose_replica_is_lost() -> None:
    balanced = Balanced(Balance.RANDOM)
    hashing = server(affinity=Affinity(mode=AffinityMode.HASH))
    agents = [f"bot-{number}" for number in range(300)]

    def homes() -> dict[str, str]:
        return {agent: balanced.candidates(hashing, agent)[0].url for agent in agents}

    before = homes()
    assert before == homes()
    # The addresses are the same in every run, and so is the outcome.
    assert all(80 <= count <= 120 for count in Counter(before.values()).values())
    balanced.fails(REPLICAS[0])
    after = homes()
    assert REPLICAS[0].url not in after.values()
    assert all(after[agent] == home for agent, home in before.items() if home != REPLICAS[0].url)
