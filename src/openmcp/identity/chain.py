"""Asks the identity sources of a server in order, and names the agent.

Called by the gateway right after routing. One answer outwards for every cause of
failure; the true reason is in the record.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from openmcp.errors import Unauthenticated
from openmcp.identity.anchors import Anchored
from openmcp.identity.challenges import Challenges
from openmcp.identity.failures import Failures
from openmcp.identity.source import Absent, IdentitySource, Invalid, Relayed, Twofold
from openmcp.model.agent import ANONYMOUS, Agent, Principal, Trust
from openmcp.model.http import Request
from openmcp.model.server import Server

_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization"})
_AGENTS_CAP = 10_000
"""Agents kept ready. An issuer may vouch for any number of subjects; beyond this all are made again."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A source at its place in a server's order."""

    source: IdentitySource
    passed_over: frozenset[str]
    """Headers that sources before it read, and neither it nor a later one does. What stands there was nobody's."""

    passes_certificate: bool
    """Whether the same is so of a client certificate."""


class IdentityChain:
    """All identity sources of a snapshot."""

    def __init__(
        self,
        sources: Iterable[IdentitySource],
        agents: Mapping[str, Agent | None],
        *,
        failures: Failures | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the sources, and the configured agents by principal id; `None` where two agents claim one."""
        self._sources = {source.name: source for source in sources}
        self._lines: dict[tuple[str, ...], Sequence[Asked]] = {}
        self._agents = agents
        self._named: dict[tuple[str, str], Agent] = {}
        relayed = [source for source in self._sources.values() if isinstance(source, Relayed)]
        self._identity_headers = frozenset[str]().union(*(source.identity_headers for source in relayed))
        self._credential_headers = _CREDENTIAL_HEADERS.union(*(source.headers for source in self._sources.values()))
        self._failures = failures or Failures(clock)
        self._clock = clock
        self.challenges = Challenges(self._sources)

    def cleansed(self, request: Request) -> Request:
        """Return the request without the identity headers that its peer has no business to send."""
        foreign = self._identity_headers
        if not foreign or request.peer.is_trusted or foreign.isdisjoint(request.headers):
            return request
        headers = {name: value for name, value in request.headers.items() if name not in foreign}
        return msgspec.structs.replace(request, headers=headers, repeated=request.repeated - foreign)

    async def identify(self, request: Request, server: Server) -> Agent:
        """Return the agent who sent the request.

        Raises: Unauthenticated if a credential does not verify, or none was presented where one is needed; Overloaded
        if it cannot be verified now.
        """
        names = server.authentication.sources
        line = self._lines.get(names) or self._line(names)
        if server.authentication.is_strict:
            return await self._agreed(request, server, line)
        for asked in line:
            verdict = await asked.source.verify(request, server)
            if isinstance(verdict, Principal):
                if (asked.passed_over and not asked.passed_over.isdisjoint(request.headers)) or (
                    asked.passes_certificate and request.peer.certificate is not None
                ):
                    # A stronger source was to judge it. What it does not know is never saved by a weaker one.
                    raise self._invalid(request, server, "a credential beside this one belongs to no source")
                return self._agent(verdict, request, server)
            if isinstance(verdict, Invalid):
                raise self._invalid(request, server, verdict.why, source=asked.source.name)
            assert verdict is Absent.ABSENT
        return self._stranger(request, server)

    def current(self, agent: Agent, server: Server) -> Agent | None:
        """Return who an agent is that was identified before, perhaps under an older configuration; `None` = nobody.

        Nobody, too, from the moment when the credential ends.
        """
        principal = agent.principal
        if principal.trust is Trust.ANONYMOUS:
            return agent if server.authentication.is_anonymous_allowed else None
        if principal.expires_at is not None and principal.expires_at <= self._clock():
            return None
        source = self._sources.get(principal.source)
        if source is None or source.name not in server.authentication.sources or not source.vouches(principal):
            return None
        return self._named_of(principal)

    def _line(self, names: tuple[str, ...]) -> Sequence[Asked]:
        """Return the sources of these names in order, and keep them: there are no more orders than servers."""
        sources = [self._sources[name] for name in names]
        line: list[Asked] = []
        for place, source in enumerate(sources):
            before = frozenset[str]().union(*(one.headers for one in sources[:place]))
            still = frozenset[str]().union(*(one.headers for one in sources[place:]))
            passes_certificate = _reads_certificates(sources[:place]) and not _reads_certificates(sources[place:])
            line.append(Asked(source, before - still, passes_certificate))
        self._lines[names] = found = tuple(line)
        return found

    async def _agreed(self, request: Request, server: Server, line: Sequence[Asked]) -> Agent:
        """Ask every source; whoever is verified twice has to be the same agent, and nothing may be left over."""
        agents: list[Agent] = []
        unread = self._credential_headers.intersection(request.headers)
        is_certificate_unread = request.peer.certificate is not None
        for asked in line:
            verdict = await asked.source.verify(request, server)
            if isinstance(verdict, Invalid):
                raise self._invalid(request, server, verdict.why, source=asked.source.name)
            if isinstance(verdict, Principal):
                agents.append(self._agent(verdict, request, server))
                is_certificate_unread = is_certificate_unread and not verdict.certificates
                source = asked.source
                unread -= source.headers_read(request) if isinstance(source, Twofold) else source.headers
        if not agents:
            return self._stranger(request, server)
        if unread or is_certificate_unread:
            raise self._invalid(request, server, "a credential beside the verified one belongs to no source")
        first = agents[0]
        if any((one.name, one.is_configured) != (first.name, first.is_configured) for one in agents):
            raise self._invalid(request, server, "the credentials are of different agents")
        if len({one.principal.on_behalf_of for one in agents} - {None}) > 1:
            raise self._invalid(request, server, "the credentials act for different users")
        if len(agents) == 1:
            return first
        beside = "+".join(one.principal.fingerprint for one in agents)
        return self._agent(_together([one.principal for one in agents]), request, server, beside=beside)

    def _stranger(self, request: Request, server: Server) -> Agent:
        """Return `ANONYMOUS` where no credential was presented and the server takes that. Raises: Unauthenticated."""
        # A credential that no source knows is a failed attempt, never an anonymous visit.
        if not self._credential_headers.isdisjoint(request.headers):
            raise self._invalid(request, server, "the credential belongs to no source of this server")
        if request.peer.certificate is not None and server.authentication.is_anonymous_allowed:
            raise self._invalid(request, server, "the certificate belongs to no source of this server")
        if not server.authentication.is_anonymous_allowed:
            headers = self.challenges.of(server, request.public_url)
            raise Unauthenticated(detail="no credential was presented", headers=headers, is_missing=True)
        return ANONYMOUS

    def _agent(self, principal: Principal, request: Request, server: Server, *, beside: str = "") -> Agent:
        agent = self._named_of(principal, beside=beside)
        if agent is None:
            raise self._invalid(request, server, f"two agents claim {principal.id}", source=principal.source)
        return agent

    def _named_of(self, principal: Principal, *, beside: str = "") -> Agent | None:
        """Return the configured agent of this principal, else the principal as its own agent; `None` if two claim it.

        Who comes again with the same credential is the same object: what is decided for an agent is remembered by it.
        """
        key = (principal.id, beside or principal.fingerprint)
        known = self._named.get(key)
        if known is not None and (known.principal is principal or known.principal == principal):
            return known
        template = self._agents.get(principal.id, ANONYMOUS)
        if template is None:
            return None
        if len(self._named) >= _AGENTS_CAP:
            self._named.clear()
        agent = self._named[key] = _as_agent(template, principal)
        return agent

    def _invalid(self, request: Request, server: Server, why: str, *, source: str = "") -> Unauthenticated:
        self._failures.note(request.peer.address)
        detail = f"{source}: {why}" if source else why
        return Unauthenticated(detail=detail, headers=self.challenges.of(server, request.public_url), source=source)


def _reads_certificates(sources: Iterable[IdentitySource]) -> bool:
    return any(isinstance(source, Anchored) for source in sources)


def _as_agent(template: Agent, principal: Principal) -> Agent:
    if template is ANONYMOUS:
        return Agent(name=principal.id, principal=principal, groups=principal.groups)
    return replace(template, principal=principal, groups=template.groups | principal.groups)


def _together(principals: Sequence[Principal]) -> Principal:
    """Return the most trusted of several that agree: it ends with the first that ends."""
    best = max(principals, key=lambda principal: principal.trust)
    ends = [one.expires_at for one in principals if one.expires_at is not None]
    users = [one.on_behalf_of for one in principals if one.on_behalf_of is not None]
    groups = frozenset[str]().union(*(one.groups for one in principals))
    return replace(best, expires_at=min(ends, default=None), on_behalf_of=users[0] if users else None, groups=groups)
