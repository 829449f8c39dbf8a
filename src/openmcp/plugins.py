"""The table of extension points: what can be plugged in, and where each built-in lives.

Six kinds, each one protocol of the house. Built-ins are dotted names that are imported
on use; others come from installed packages through entry points `openmcp.<kind>`, by
the same door. This module imports nothing of the house.
"""

from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

BUILT_IN: dict[str, dict[str, str]] = {
    "identity_source": {
        "apiKey": "openmcp.identity.api_key:ApiKeySource",
        "basic": "openmcp.identity.basic:BasicSource",
        "jwt": "openmcp.identity.jwt:JwtSource",
        "kubernetes": "openmcp.identity.kubernetes:KubernetesSource",
        "signature": "openmcp.identity.signature:SignatureSource",
        "mesh": "openmcp.identity.mesh:MeshSource",
        "mtls": "openmcp.identity.mtls:MtlsSource",
        "spiffe": "openmcp.identity.spiffe:SpiffeSource",
    },
    "config_source": {
        "file": "openmcp.config.sources.file:FileSource",
    },
    "store": {
        "memory": "openmcp.state.memory:MemoryStore",
        "sqlite": "openmcp.state.sqlite:SqliteStore",
    },
    "channel": {},
    "detector": {
        "us-ssn": "openmcp.inspection.detectors.personal:US_SSN",
        "credit-card": "openmcp.inspection.detectors.personal:CREDIT_CARD",
        "iban": "openmcp.inspection.detectors.personal:IBAN",
        "email": "openmcp.inspection.detectors.personal:EMAIL",
        "phone": "openmcp.inspection.detectors.personal:PHONE",
        "ipv4-private": "openmcp.inspection.detectors.personal:IPV4_PRIVATE",
        "aws-access-key": "openmcp.inspection.detectors.secrets:AWS_ACCESS_KEY",
        "github-token": "openmcp.inspection.detectors.secrets:GITHUB_TOKEN",
        "gitlab-token": "openmcp.inspection.detectors.secrets:GITLAB_TOKEN",
        "slack-token": "openmcp.inspection.detectors.secrets:SLACK_TOKEN",
        "stripe-key": "openmcp.inspection.detectors.secrets:STRIPE_KEY",
        "openai-key": "openmcp.inspection.detectors.secrets:OPENAI_KEY",
        "anthropic-key": "openmcp.inspection.detectors.secrets:ANTHROPIC_KEY",
        "google-api-key": "openmcp.inspection.detectors.secrets:GOOGLE_API_KEY",
        "npm-token": "openmcp.inspection.detectors.secrets:NPM_TOKEN",
        "private-key": "openmcp.inspection.detectors.secrets:PRIVATE_KEY",
        "jwt": "openmcp.inspection.detectors.secrets:JWT",
        "generic-high-entropy": "openmcp.inspection.detectors.secrets:GENERIC_HIGH_ENTROPY",
        "hidden-unicode": "openmcp.inspection.detectors.manipulation:HIDDEN_UNICODE",
        "prompt-injection-phrases": "openmcp.inspection.detectors.manipulation:PROMPT_INJECTION_PHRASES",
    },
    "audit_sink": {
        "file": "openmcp.audit.sinks.file:FileSink",
        "stdout": "openmcp.audit.sinks.stdout:StdoutSink",
        "http": "openmcp.audit.sinks.http:HttpSink",
        "otlp": "openmcp.audit.sinks.otlp:OtlpSink",
    },
}
"""Kind → name, as configuration writes it → where it is."""


class UnknownPlugin(LookupError):
    """There is no extension of this kind and name; the message lists those that are."""


def names(kind: str) -> list[str]:
    """Return the names of all extensions of a kind, sorted.

    Raises: UnknownPlugin if there is no such kind.
    """
    return sorted({*_built_in(kind), *(point.name for point in _installed(kind))})


def load(kind: str, name: str) -> object:
    """Return the class behind a name; its module is imported now.

    A built-in cannot be replaced by a package that uses its name.

    Raises: UnknownPlugin if there is none; ImportError if its module lacks something.
    """
    place = _built_in(kind).get(name)
    if place is not None:
        module, _, attribute = place.partition(":")
        return getattr(import_module(module), attribute)
    found = [point for point in _installed(kind) if point.name == name]
    if not found:
        raise UnknownPlugin(f"there is no {kind} `{name}`; known: {', '.join(names(kind)) or 'none'}")
    if len({point.value for point in found}) > 1:
        places = ", ".join(point.value for point in found)
        raise UnknownPlugin(f"several installed packages bring a {kind} `{name}`: {places}; keep one of them")
    loaded: object = found[0].load()
    return loaded


def _built_in(kind: str) -> dict[str, str]:
    if kind not in BUILT_IN:
        raise UnknownPlugin(f"there is no kind of extension `{kind}`; known: {', '.join(BUILT_IN)}")
    return BUILT_IN[kind]


def _installed(kind: str) -> Iterable[EntryPoint]:
    return entry_points(group=f"openmcp.{kind}")
