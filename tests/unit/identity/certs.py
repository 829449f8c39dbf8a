"""What tests of certificate sources share: a movable clock, and requests that present something."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from openmcp.identity.lasting import Lasting
from openmcp.identity.source import Invalid, Verdict
from openmcp.model.agent import Principal
from openmcp.model.http import Peer, Request
from openmcp.model.server import Authentication, Server
from tests.support.certificates import Made

SERVER = Server("desk", "/desk", (), Authentication(("certs",)))
STRICT = Server("desk", "/desk", (), Authentication(("certs",), is_strict=True))
NO_FILE = Path("/nonexistent")


@dataclass
class Clock:
    """Unix seconds that stand still until they are moved."""

    now: float

    def __call__(self) -> float:
        return self.now


def lasting(at: float | None = None) -> Lasting:
    """What outlives snapshots, with a clock of its own where a time is given."""
    return Lasting() if at is None else Lasting(Clock(at))


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def presenting(
    made: Made | None,
    *,
    chain: tuple[bytes, ...] | None = None,
    headers: Mapping[str, str] | None = None,
    public_url: str = "https://gw.example",
) -> Request:
    """A request on a connection whose client has shown this certificate, and its intermediates."""
    certificate = made.der if made is not None else None
    beside = tuple(der(one) for one in made.intermediates) if made is not None and chain is None else chain or ()
    peer = Peer("192.0.2.1", certificate=certificate, chain=beside)
    return Request("POST", "/desk", dict(headers or {}), b"", peer, public_url=public_url)


def who(verdict: Verdict) -> str:
    """The principal's id, `absent`, or why it is invalid."""
    if isinstance(verdict, Principal):
        return verdict.id
    return f"invalid: {verdict.why}" if isinstance(verdict, Invalid) else "absent"
