"""Which configured agent a principal is, and the sources of a snapshot made ready. Called by the runtime."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, cast

from openmcp import plugins
from openmcp.config.identities import AgentSpec, SourceSpec
from openmcp.identity.chain import IdentityChain
from openmcp.identity.lasting import Lasting
from openmcp.identity.source import IdentitySource
from openmcp.model.agent import ANONYMOUS, Agent


class SourceFactory(Protocol):
    """What the plugin table holds for an identity source: its class."""

    def from_spec(self, spec: SourceSpec, agents: Sequence[AgentSpec], lasting: Lasting) -> IdentitySource:
        """Return the source as configured, with what the agents' identities say of it."""
        ...


def identity_chain(sources: Iterable[SourceSpec], agents: Sequence[AgentSpec], *, lasting: Lasting) -> IdentityChain:
    """Return the chain of all sources; each is loaded by its method's name from the plugin table."""
    made = [_made(source, agents, lasting) for source in sources]
    lasting.sweep()
    lasting.anchors.follow(made)
    return IdentityChain(made, agents_by_principal(agents), failures=lasting.failures, clock=lasting.clock)


def agents_by_principal(agents: Iterable[AgentSpec]) -> Mapping[str, Agent | None]:
    """Return the configured agents under the ids of the principals that they are; `None` where two claim to be it."""
    found: dict[str, Agent | None] = {}
    for spec in agents:
        agent = Agent(
            name=spec.name,
            principal=ANONYMOUS.principal,
            is_configured=True,
            owner=spec.owner,
            groups=spec.groups,
            labels=spec.labels,
        )
        for identity in spec.identities:
            claimed = found.setdefault(identity.principal_id, agent)
            if claimed is not agent:
                found[identity.principal_id] = None
    return found


def _made(spec: SourceSpec, agents: Sequence[AgentSpec], lasting: Lasting) -> IdentitySource:
    factory = cast("SourceFactory", plugins.load("identity_source", spec.method))
    return factory.from_spec(spec, agents, lasting)
