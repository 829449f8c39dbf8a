"""The way to the replicas: one exchange at a time, retried only where nothing can have run twice.

Called by the gateway and by the probes it permits. What is sent and to whom was decided
before: a `Permitted` comes in, a `Reply` goes out. Knows nothing of affinity, health or
records; what it learns of a replica's health it tells through `observe`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType, TracebackType
from typing import TypeAlias

from openmcp import errors
from openmcp.mcp import message
from openmcp.model.decision import Permitted
from openmcp.model.server import IdentityHeader, Replica, Server
from openmcp.telemetry import spans
from openmcp.upstream import propagation, redirect
from openmcp.upstream.deadlines import Deadlines
from openmcp.upstream.head import HeadTemplate
from openmcp.upstream.pool import Connection, Manner, Pool
from openmcp.upstream.reply import Reply
from openmcp.upstream.tls import Contexts

_NOT_TOLD = IdentityHeader.NONE

REDIRECTS_CAP = 2
"""How often one exchange follows a 307 or 308."""

_TEMPLATES_CAP = 8192
"""Heads kept ready; servers and replicas that are gone are forgotten all at once."""

_NO_POOLS: Mapping[Manner, Pool] = MappingProxyType({})

Introduce: TypeAlias = Callable[[Permitted, Replica, bytes | None], tuple[tuple[str, str], ...]]
"""Returns the headers that tell a replica who the agent is; the bytes are the body as it is sent."""

Observe: TypeAlias = Callable[[Replica, bool], None]
"""Told after each attempt whether the replica did its part."""


class Client:
    """Sends what is permitted; keeps the connections."""

    def __init__(self, *, observe: Observe, tick_s: float = 15.0, introduce: Introduce | None = None) -> None:
        self.observe = observe
        self.tick_s = tick_s
        self.introduce = introduce
        self._pools: dict[str, dict[Manner, Pool]] = {}
        self._contexts = Contexts()
        self._templates: dict[tuple[str, str], HeadTemplate] = {}
        self._deadlines: Deadlines | None = None
        self._is_closed = False

    def send(self, permitted: Permitted, replicas: Sequence[Replica]) -> AbstractAsyncContextManager[Reply]:
        """The exchange as a context: entered when the answer is there, cut off when left before its end.

        Replicas are tried in order, at most `retry_attempts` of them, the next one only
        after a connect failed. An answer that is no stream is whole on entry.

        Raises (on entry):
            Malformed: a header cannot be sent.
            UpstreamUnreachable: nothing was sent.
            UpstreamTimeout, OutcomeUnknown: the request was sent and may have run.
            UpstreamBroken: the answer cannot be used.
        """
        return _Sending(self, permitted, replicas)

    def in_flight(self, replica: Replica) -> int:
        """How many exchanges, streams included, this client has open with the replica."""
        # Nearly always one pool; two while new certificates take over.
        return sum([pool.in_flight for pool in self._pools.get(replica.url, _NO_POOLS).values()])

    async def close(self) -> None:
        """Close all connections; exchanges under way fail, further ones are refused."""
        self._is_closed = True
        await asyncio.gather(*[pool.close() for pools in list(self._pools.values()) for pool in list(pools.values())])
        if self._deadlines:
            self._deadlines.close()

    # ------------------------------------------------------------ for one sending

    def pool(self, server: Server, replica: Replica) -> Pool:
        """The connections to this replica, in this server's manner.

        Raises: UpstreamUnreachable after `close`, and where TLS cannot be set up.
        """
        # One address may have several names, each with its own `Host` and certificate.
        manner = (server.tls if replica.is_tls else None, server.http2, replica.called)
        pool = self._pools.get(replica.url, _NO_POOLS).get(manner)
        return pool if pool is not None else self._open(replica, manner)

    def _open(self, replica: Replica, manner: Manner) -> Pool:
        if self._is_closed:
            raise errors.UpstreamUnreachable(detail=f"{replica.url}: the client is closed")
        try:
            calling, version, _ = manner
            context = self._contexts.get(calling, version) if calling is not None else None
        except (OSError, ValueError) as error:
            raise errors.UpstreamUnreachable(detail=f"{replica.url}: TLS cannot be set up: {error}") from error
        loop = asyncio.get_running_loop()
        self._deadlines = self._deadlines or Deadlines(loop)
        pool = Pool(replica, manner, context=context, deadlines=self._deadlines, loop=loop, emptied=self._forget)
        self._pools.setdefault(replica.url, {})[manner] = pool
        return pool

    def template(self, server: Server, replica: Replica) -> HeadTemplate:
        """The unchanging part of the head for this server and replica."""
        key = (server.name, replica.url)
        template = self._templates.get(key)
        if template is None or template.server is not server:
            if len(self._templates) >= _TEMPLATES_CAP:
                self._templates.clear()
            template = self._templates[key] = HeadTemplate(server, replica)
        return template

    def _forget(self, pool: Pool) -> None:
        pools = self._pools.get(pool.replica.url, {})
        pools.pop(pool.manner, None)
        if not pools:
            self._pools.pop(pool.replica.url, None)


class _Sending:
    """One exchange, from the first attempt until its context is left."""

    __slots__ = ("_attempt", "_client", "_connection", "_permitted", "_pool", "_replicas", "_reply")

    def __init__(self, client: Client, permitted: Permitted, replicas: Sequence[Replica]) -> None:
        self._client = client
        self._permitted = permitted
        self._replicas = replicas
        self._pool: Pool | None = None
        self._connection: Connection | None = None
        self._reply: Reply | None = None
        self._attempt: spans.Attempt | None = None

    async def __aenter__(self) -> Reply:
        server = self._permitted.server
        failure: errors.UpstreamUnreachable | None = None
        for replica in self._replicas[: server.retry_attempts]:
            pool = self._pool = self._client.pool(server, replica)
            pool.in_flight += 1
            try:
                reply = await self._exchange(pool, self._request(pool, pool.replica.target))
                return reply if not 300 <= reply.status < 400 else await self._follow(pool, reply)
            except errors.UpstreamUnreachable as error:
                self._leave(fault=error.kind)
                failure = error
            except BaseException as error:
                # Cancelled while waiting: nobody else would cut the exchange off.
                self._leave(fault=error.kind if isinstance(error, errors.OpenMCPError) else "cancelled")
                raise
        raise failure or errors.UpstreamUnreachable(detail=f"{server.name}: there is no replica to send to")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self, *, fault: str = "") -> None:
        if self._attempt is not None:
            self._attempt.end(status=0, fault=fault)
            self._attempt = None
        if self._connection is not None and self._reply is not None:
            self._connection.abandon(self._reply)
            self._connection = None
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.in_flight -= 1
            if not pool.in_flight:
                pool.tidy()

    def _request(self, pool: Pool, target: str) -> bytes:
        permitted = self._permitted
        # What the gateway asks for itself, perhaps for the next thousand exchanges too, belongs to nobody's trace.
        span = spans.current() if permitted.agent is not None else None
        sent, headers = permitted.message, permitted.headers
        if span is not None:
            self._attempt = span.attempt(permitted.arrival.method, host=pool.replica.host, port=pool.replica.port)
            sent, headers = propagation.carry(self._attempt, permitted)
        body = message.encode(sent) if sent is not None else None
        if permitted.server.identity_header is not _NOT_TOLD and self._client.introduce is not None:
            headers = (*headers, *self._client.introduce(permitted, pool.replica, body))
        template = self._client.template(permitted.server, pool.replica)
        return template.render(permitted.http_method, target, headers=headers, body=body)

    async def _follow(self, pool: Pool, reply: Reply) -> Reply:
        """The final answer of a replica that redirects to itself."""
        permitted, target = self._permitted, pool.replica.target
        hosts = self._client.template(permitted.server, pool.replica).sent_hosts(permitted.headers)
        for _ in range(REDIRECTS_CAP):
            target = redirect.target(reply, target, hosts=hosts)
            reply = await self._exchange(pool, self._request(pool, target))
            if not 300 <= reply.status < 400:
                return reply
        raise errors.UpstreamBroken(detail=f"{pool.replica.url}: more than {REDIRECTS_CAP} redirects")

    async def _exchange(self, pool: Pool, data: bytes) -> Reply:
        client, server, replica = self._client, self._permitted.server, pool.replica
        try:
            connection = pool.take() or await pool.dial(server.timeouts.connect_s)
            reply = Reply(replica, server, loop=pool.loop, tick_s=client.tick_s)
            self._connection, self._reply = connection, reply
            connection.begin(reply, data, server=server)
            await reply.settled()
            if self._attempt is not None:
                self._attempt.end(status=reply.status)
                self._attempt = None
        except errors.UpstreamTimeout:
            # One slow call says nothing of the replica, and an agent could choose slow calls.
            raise
        except errors.UpstreamFailed:
            client.observe(replica, False)
            raise
        # Likewise with a server's own faults; these two are what stands in front of a dead one.
        client.observe(replica, reply.status not in (502, 503))
        return reply
