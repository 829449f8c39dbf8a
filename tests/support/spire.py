"""A SPIFFE agent: the Workload API over a Unix socket, served by the `spiffe` package's own gRPC stubs.

What it tells of can be changed while it runs; every open stream hears of it, as with a real agent.
"""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jws
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from spiffe._proto import workload_pb2, workload_pb2_grpc

from tests.support.certificates import Authority, Made

_SIGNS = x509.KeyUsage(True, False, False, False, False, False, False, False, False)


@dataclass
class TrustDomain:
    """A trust domain: its authority for certificates, and its key for tokens."""

    name: str
    authority: Authority = field(default_factory=lambda: Authority("SPIFFE CA"))
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "k1"}))

    def svid(self, path: str = "/bot", **how: Any) -> Made:
        """An X.509-SVID of a workload."""
        extensions = (*how.pop("extensions", ()), (_SIGNS, True))
        name = x509.UniformResourceIdentifier(f"spiffe://{self.name}{path}")
        return self.authority.issue(name, extensions=extensions, **how)

    def token(self, path: str = "/bot", *, key: ECKey | None = None, header: Any = None, **claims: Any) -> str:
        """A JWT-SVID; a claim or header that is `None` is left out."""
        signer = key or self.key
        named = {"alg": "ES256", "kid": signer.kid, "typ": "JWT", **(header or {})}
        said = {"sub": f"spiffe://{self.name}{path}", **claims}
        payload = json.dumps({name: value for name, value in said.items() if value is not None})
        header = {name: value for name, value in named.items() if value is not None}
        registry = JWSRegistry(algorithms=["ES256"], strict_check_header=False)
        return jws.serialize_compact(header, payload.encode(), signer, registry=registry)

    @property
    def jwks(self) -> bytes:
        """The keys of its tokens, as an agent tells of them."""
        return json.dumps({"keys": [{**self.key.as_dict(private=False), "use": "jwt-svid"}]}).encode()


class Agent(workload_pb2_grpc.SpiffeWorkloadAPIServicer):
    """Tells of one own trust domain and those federated with it."""

    def __init__(self, socket: Path, own: TrustDomain, *federated: TrustDomain) -> None:
        self.address = f"unix://{socket}"
        self._own = own
        self._federated = federated
        self._changed = threading.Condition()
        self._version = 0
        self._is_open = False
        self._server: Any = None
        self.metadata: list[tuple[str, str]] = []
        """What the last caller sent with its question."""

    def start(self) -> None:
        """Answer from now on."""
        self._is_open = True
        self._server = grpc.server(ThreadPoolExecutor(8))
        add: Any = workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server
        add(self, self._server)
        self._server.add_insecure_port(self.address)
        self._server.start()

    def stop(self) -> None:
        """Be gone, as an agent that is restarted."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
        self._server.stop(grace=0).wait(5)

    def tell(self, own: TrustDomain, *federated: TrustDomain) -> None:
        """Tell everybody who listens of other bundles."""
        with self._changed:
            self._own, self._federated = own, federated
            self._version += 1
            self._changed.notify_all()

    def FetchX509SVID(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802 – gRPC's name
        self.metadata = [(key, str(value)) for key, value in context.invocation_metadata()]
        for _ in self._versions(context):
            gateway = self._own.svid("/gateway")
            yield workload_pb2.X509SVIDResponse(
                svids=[
                    workload_pb2.X509SVID(
                        spiffe_id=f"spiffe://{self._own.name}/gateway",
                        x509_svid=gateway.der,
                        x509_svid_key=gateway.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
                        bundle=self._own.authority.der,
                    )
                ],
                federated_bundles={one.name: one.authority.der for one in self._federated},
            )

    def FetchJWTBundles(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802 – gRPC's name
        for _ in self._versions(context):
            yield workload_pb2.JWTBundlesResponse(bundles={one.name: one.jwks for one in (self._own, *self._federated)})

    def _versions(self, context: Any) -> Iterator[int]:
        seen = -1
        while True:
            with self._changed:
                while self._version == seen and self._is_open and context.is_active():
                    self._changed.wait(timeout=1)
                if not self._is_open or not context.is_active():
                    return
                seen = self._version
            yield seen
