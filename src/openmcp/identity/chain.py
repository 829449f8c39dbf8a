"""Asks the identity sources of a server in order, and names the agent.

Called by the gateway right after routing. One answer outwards for every cause of
failure; the true reason is in the record.
"""

from collections.abc import Iterable, Mapping, Sequence

from openmcp.errors import Unauthenticated
from openmcp.identity.source import Absent, IdentitySource, Invalid
from openmcp.model.agent import ANONYMOUS, Agent, Principal, Trust
from openmcp.model.http import Request
from openmcp.model.server import Server

CHALLENGE = (("WWW-Authenticate", 'Bearer realm="openmcp"'),)
_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization"})


class IdentityChain:
    """All identity sources of a snapshot."""

    def __init__(self, sources: Iterable[IdentitySource], agents: Mapping[str, Agent]) -> None:
        """Take the sources, and the configured agents by principal id (each agent with that principal's id)."""
        self._sources = {source.name: source for source in sources}
        self._ordered: dict[tuple[str, ...], Sequence[IdentitySource]] = {}
        self._agents = agents
        self._named: dict[str, Agent] = {}
        self._credential_headers = _CREDENTIAL_HEADERS.union(*(source.headers for source in self._sources.values()))

    async def identify(self, request: Request, server: Server) -> Agent:
        """Return the agent who sent the request.

        Raises: Unauthenticated if a credential does not verify, or none was presented where one is needed.
        """
        names = server.authentication.sources
        sources = self._ordered.get(names)
        for source in sources if sources is not None else self._order(names):
            verdict = await source.verify(request, server)
            if isinstance(verdict, Principal):
                return self._agent(verdict)
            if isinstance(verdict, Invalid):
                raise Unauthenticated(detail=f"{source.name}: {verdict.why}", headers=CHALLENGE)
            assert verdict is Absent.ABSENT
        # A credential that no source knows is a failed attempt, never an anonymous visit.
        if not self._credential_headers.isdisjoint(request.headers):
            raise Unauthenticated(detail="the credential belongs to no source of this server", headers=CHALLENGE)
        if not server.authentication.is_anonymous_allowed:
            raise Unauthenticated(detail="no credential was presented", headers=CHALLENGE)
        return ANONYMOUS

    def current(self, agent: Agent, server: Server) -> Agent | None:
        """Return who an agent is that was identified before, perhaps under an older configuration; `None` = nobody."""
        principal = agent.principal
        if principal.trust is Trust.ANONYMOUS:
            return agent if server.authentication.is_anonymous_allowed else None
        source = self._sources.get(principal.source)
        if source is None or source.name not in server.authentication.sources or not source.vouches(principal):
            return None
        return self._agent(principal)

    def _order(self, names: tuple[str, ...]) -> Sequence[IdentitySource]:
        """Return the sources of these names, and keep them: there are no more orders than servers."""
        found = self._ordered[names] = tuple(self._sources[name] for name in names)
        return found

    def _agent(self, principal: Principal) -> Agent:
        """Return the configured agent of this principal, else the principal as its own agent."""
        known = self._named.get(principal.id)
        if known is not None and (known.principal is principal or known.principal == principal):
            return known
        template = self._agents.get(principal.id)
        agent = _as_agent(template, principal)
        self._named[principal.id] = agent
        return agent


def _as_agent(template: Agent | None, principal: Principal) -> Agent:
    if template is None:
        return Agent(name=principal.id, principal=principal)
    return Agent(
        name=template.name,
        principal=principal,
        is_configured=True,
        owner=template.owner,
        groups=template.groups,
        labels=template.labels,
    )
