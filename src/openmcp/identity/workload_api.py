"""The SPIFFE Workload API over its Unix socket, by the `spiffe` library.

The library calls back from threads of its own; what it says is handed to the event loop.
Reconnecting is left to `workload`, which has to know when the agent is down.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, RSAKey
from spiffe import JwtBundleSet, WorkloadApiClient
from spiffe.errors import PySpiffeError
from spiffe.workloadapi.workload_api_client import StreamCancelHandler
from spiffe.workloadapi.x509_context import X509Context

from openmcp.config.identities import Bundle
from openmcp.identity.workload import Agent, AgentUnreachable, Told

Start = Callable[[Callable[[Told], None], Callable[[Exception], None]], StreamCancelHandler]


class WorkloadApi:
    """One agent, by the address of its socket."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def x509_bundles(self) -> AsyncGenerator[Told]:
        """Yield the authorities of all trust domains, and again after each rotation."""
        with self._client() as client:

            def start(put: Callable[[Told], None], fail: Callable[[Exception], None]) -> StreamCancelHandler:
                return client.stream_x509_contexts(lambda context: put(_authorities(context)), fail, False)

            async with aclosing(_stream(start)) as stream:
                async for told in stream:
                    yield told

    async def jwt_bundles(self) -> AsyncGenerator[Told]:
        """Yield the keys of all trust domains, and again after each rotation."""
        with self._client() as client:

            def start(put: Callable[[Told], None], fail: Callable[[Exception], None]) -> StreamCancelHandler:
                return client.stream_jwt_bundles(lambda found: put(_keys(found)), fail, False)

            async with aclosing(_stream(start)) as stream:
                async for told in stream:
                    yield told

    @contextlib.contextmanager
    def _client(self) -> Generator[WorkloadApiClient]:
        try:
            client = WorkloadApiClient(self._address)
        except PySpiffeError as error:
            raise AgentUnreachable(detail=str(error)) from None
        try:
            yield client
        finally:
            client.close()


async def _stream(start: Start) -> AsyncGenerator[Told]:
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Told | Exception] = asyncio.Queue()

    def put(item: Told | Exception) -> None:
        # The loop may be gone when the last word comes.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(queue.put_nowait, item)

    handler = start(put, put)
    try:
        while True:
            item = await queue.get()
            if isinstance(item, Exception):
                raise AgentUnreachable(detail=str(item))
            yield item
    finally:
        handler.cancel()


def _authorities(context: X509Context) -> Told:
    return {
        bundle.trust_domain.name: Bundle(
            tuple(sorted(one.public_bytes(Encoding.DER) for one in bundle.x509_authorities))
        )
        for bundle in context.x509_bundle_set.bundles
    }


def _keys(found: JwtBundleSet) -> Told:
    told: dict[str, Bundle] = {}
    for bundle in found.bundles:
        authorities = sorted(bundle.jwt_authorities.items())
        keys = [_jwk(kid, key) for kid, key in authorities if isinstance(key, RSAPublicKey | EllipticCurvePublicKey)]
        told[bundle.trust_domain.name] = Bundle(jwt_keys=json.dumps({"keys": keys}) if keys else "")
    return told


def _jwk(kid: str, key: RSAPublicKey | EllipticCurvePublicKey) -> Mapping[str, object]:
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    made = RSAKey.import_key(pem) if isinstance(key, RSAPublicKey) else ECKey.import_key(pem)
    return {**made.as_dict(private=False), "kid": kid}


_: type[Agent] = WorkloadApi
