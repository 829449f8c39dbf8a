"""Which replicas take new work: passive counting of failures, and the verdicts of probes.

Fed by the upstream client (every exchange) and by the prober; asked by the balancer.
An ejected replica comes back by probe only, or after a while where probing is off.
"""

import logging
from collections.abc import Callable, Iterable

from openmcp.model.server import Health, Replica

log = logging.getLogger(__name__)

_BLIND_RETURN_S = 30.0
"""Without a probe nobody says that a replica is well again: it gets another chance after this time."""


class _State:
    __slots__ = ("ejected_at", "failures", "settings", "successes")

    def __init__(self) -> None:
        self.failures = 0
        self.successes = 0
        self.ejected_at: float | None = None
        self.settings = Health()


class HealthBook:
    """What is known of every replica, by URL; lives longer than a snapshot."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._states: dict[str, _State] = {}

    def configure(self, replicas: Iterable[tuple[Replica, Health]]) -> None:
        """Take the settings of a new snapshot and forget replicas that are gone."""
        states: dict[str, _State] = {}
        for replica, settings in replicas:
            states[replica.url] = self._states.get(replica.url) or _State()
            states[replica.url].settings = settings
        self._states = states

    def observe(self, replica: Replica, ok: bool) -> None:
        """Count the outcome of one exchange."""
        state = self._states.get(replica.url)
        if state is None:
            return
        if ok:
            state.failures = 0
        else:
            self._fail(state, replica)

    def probed(self, replica: Replica, ok: bool) -> None:
        """Take the verdict of one probe; only this brings an ejected replica back."""
        state = self._states.get(replica.url)
        if state is None:
            return
        if not ok:
            self._fail(state, replica)
            return
        state.failures = 0
        state.successes += 1
        if state.successes >= state.settings.healthy_after and state.ejected_at is not None:
            state.ejected_at = None
            log.info("replica-is-back", extra={"replica": replica.url})

    def is_healthy(self, replica: Replica) -> bool:
        """Whether new work may go there."""
        state = self._states.get(replica.url)
        if state is None or state.ejected_at is None:
            return True
        return state.settings.probe == "none" and self._clock() - state.ejected_at >= _BLIND_RETURN_S

    def _fail(self, state: _State, replica: Replica) -> None:
        state.successes = 0
        state.failures += 1
        if state.failures >= state.settings.unhealthy_after:
            if state.ejected_at is None:
                log.warning("replica-ejected", extra={"replica": replica.url, "failures": state.failures})
            state.ejected_at = self._clock()
