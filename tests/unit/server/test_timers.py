"""Deadlines on the wheel come after their time, and never before."""

import pytest

from openmcp.server.timers import NEVER, Wheel


class Timed:
    def __init__(self, wheel: Wheel) -> None:
        self.deadline = NEVER
        self.visit = NEVER
        self.due_at: list[int] = []
        self._wheel = wheel

    def on_deadline(self) -> None:
        self.due_at.append(self._wheel.tick)


def turn(wheel: Wheel, ticks: int) -> None:
    for _ in range(ticks):
        wheel.advance()


def test_deadline_is_due_once() -> None:
    wheel = Wheel(1.0)
    timed = Timed(wheel)
    wheel.arm(timed, 3)
    turn(wheel, 10)
    assert timed.due_at == [3]


@pytest.mark.parametrize(("tick_s", "timeout_s", "ticks"), [(1.0, 10.0, 11), (1.0, 0.5, 2), (0.5, 0.6, 3)])
def test_time_is_covered_in_whole_ticks_and_the_begun_one_does_not_count(
    tick_s: float, timeout_s: float, ticks: int
) -> None:
    assert Wheel(tick_s).ticks(timeout_s) == ticks


def test_deadline_that_moves_on_is_due_at_the_last_one() -> None:
    wheel = Wheel(1.0)
    timed = Timed(wheel)
    for _ in range(20):
        wheel.arm(timed, 5)
        turn(wheel, 2)
    turn(wheel, 10)
    assert timed.due_at == [43]


def test_deadline_that_comes_nearer_is_due_at_the_nearer_one_only() -> None:
    wheel = Wheel(1.0)
    timed = Timed(wheel)
    wheel.arm(timed, 50)
    wheel.arm(timed, 3)
    turn(wheel, 100)
    assert timed.due_at == [3]


def test_deadline_that_is_taken_away_is_not_due_and_can_be_set_again() -> None:
    wheel = Wheel(1.0)
    timed = Timed(wheel)
    wheel.arm(timed, 3)
    timed.deadline = NEVER
    turn(wheel, 10)
    wheel.arm(timed, 3)
    turn(wheel, 10)
    assert timed.due_at == [13]


def test_fault_at_one_deadline_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Timed):
        def on_deadline(self) -> None:
            raise LookupError

    wheel = Wheel(1.0)
    timed = Timed(wheel)
    wheel.arm(Faulty(wheel), 1)
    wheel.arm(timed, 1)
    turn(wheel, 2)
    assert timed.due_at == [1]
    assert "LookupError" in caplog.text


class Counted(Timed):
    """Counts how often the wheel has to do with it."""

    def __init__(self, wheel: Wheel) -> None:
        self.touched = 0
        super().__init__(wheel)

    @property
    def visit(self) -> int:
        return self._visit

    @visit.setter
    def visit(self, tick: int) -> None:
        self._visit = tick
        self.touched += 1


def test_connection_that_rests_and_works_by_turns_leaves_no_trail_on_the_wheel() -> None:
    wheel = Wheel(1.0)
    timed = Counted(wheel)
    for _ in range(1000):
        wheel.arm(timed, 75)
        turn(wheel, 12)
        wheel.arm(timed, 10)
        wheel.advance()
    assert timed.touched < 5000
