"""When a replica is ejected, and how it comes back."""

import pytest

from openmcp.model.server import Health
from openmcp.routing.health import HealthBook
from tests.unit.routing.made import REPLICAS, Clock

ONE, TWO, _ = REPLICAS


@pytest.fixture
def clock() -> Clock:
    return Clock()


def book(clock: Clock, **settings: object) -> HealthBook:
    health = HealthBook(clock)
    health.configure([(ONE, Health(**settings)), (TWO, Health(**settings))])  # type: ignore[arg-type]
    return health


def test_so_many_failures_in_a_row_eject(clock: Clock) -> None:
    health = book(clock, unhealthy_after=3)
    seen: list[bool] = []
    for ok in (False, False, True, False, False, False):
        health.observe(ONE, ok)
        seen.append(health.is_healthy(ONE))
    assert seen == [True, True, True, True, True, False]
    assert health.is_healthy(TWO)


def test_failed_probes_and_failed_exchanges_count_together(clock: Clock) -> None:
    health = book(clock, unhealthy_after=2)
    health.observe(ONE, False)
    health.probed(ONE, ok=False)
    assert not health.is_healthy(ONE)


def test_only_probes_bring_an_ejected_replica_back(clock: Clock) -> None:
    health = book(clock, unhealthy_after=1, healthy_after=2)
    health.observe(ONE, False)
    health.observe(ONE, True)
    clock.now += 1e6
    assert not health.is_healthy(ONE)
    health.probed(ONE, ok=True)
    assert not health.is_healthy(ONE)
    health.probed(ONE, ok=True)
    assert health.is_healthy(ONE)


def test_good_probes_count_only_in_a_row(clock: Clock) -> None:
    health = book(clock, unhealthy_after=1, healthy_after=2)
    for ok in (False, True, False, True):
        health.probed(ONE, ok=ok)
    assert not health.is_healthy(ONE)
    health.probed(ONE, ok=True)
    assert health.is_healthy(ONE)


def test_good_probes_of_better_days_bring_nothing_back(clock: Clock) -> None:
    health = book(clock, unhealthy_after=2, healthy_after=3)
    for ok in (True, True, True, False, False, True, True):
        health.probed(ONE, ok=ok)
    assert not health.is_healthy(ONE)
    health.probed(ONE, ok=True)
    assert health.is_healthy(ONE)


def test_without_probes_it_gets_another_chance_after_a_while(clock: Clock) -> None:
    health = book(clock, probe="none", unhealthy_after=1)
    health.observe(ONE, False)
    assert not health.is_healthy(ONE)
    clock.now += 30
    assert health.is_healthy(ONE)
    health.observe(ONE, False)
    assert not health.is_healthy(ONE)


def test_without_probes_success_after_that_counts(clock: Clock) -> None:
    health = book(clock, probe="none", unhealthy_after=2)
    for _ in range(2):
        health.observe(ONE, False)
    clock.now += 30
    health.observe(ONE, True)
    health.observe(ONE, False)
    assert health.is_healthy(ONE)


def test_what_is_known_outlives_a_snapshot_but_not_the_replica(clock: Clock) -> None:
    health = book(clock, unhealthy_after=1)
    health.observe(ONE, False)
    health.configure([(ONE, Health(unhealthy_after=1))])
    assert not health.is_healthy(ONE)
    health.observe(TWO, False)
    assert health.is_healthy(TWO)
    health.configure([])
    health.configure([(ONE, Health())])
    assert health.is_healthy(ONE)
