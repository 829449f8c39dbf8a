"""What the resource model will have and this version has not: refused with a reason, never ignored.

One table; `config.documents` looks here before it calls a field or a value unknown.
A line leaves when the thing is built.
"""

_KUBERNETES = "it comes with the Kubernetes source"
APPROVAL = "human approval comes later; `deny` what needs it for now"

KINDS: dict[str, str] = {}

FIELDS: dict[str, str] = {
    "* metadata.namespace": _KUBERNETES,
    "GatewayConfig spec.console": "the console comes later",
    "GatewayConfig spec.config.namespaces": _KUBERNETES,
    "GatewayConfig * secretRef": _KUBERNETES,
    "MCPServer spec.upstream.service": _KUBERNETES,
    "MCPServer spec.upstream.credentials[].value.secretRef": _KUBERNETES,
}

VALUES: dict[tuple[str, str], str] = {
    ("GatewayConfig spec.config.source", "kubernetes"): _KUBERNETES,
}


def kind(name: str) -> str | None:
    """Return the fault for a kind that is not built yet, `None` if it is no such kind."""
    return _not_available(name, KINDS.get(name))


def field(document_kind: str, path: str, name: str) -> str | None:
    """Return the fault for the field `name` at `path` (`spec.rules[]`), `None` if the design has none there."""
    places = (f"{document_kind} {path}.{name}", f"* {path}.{name}", f"{document_kind} * {name}")
    return _not_available(name, next((FIELDS[place] for place in places if place in FIELDS), None))


def value(document_kind: str, path: str, given: object) -> str | None:
    """Return the fault for a value at `path` that is not built yet, `None` if it is no such value."""
    return _not_available(str(given), VALUES.get((f"{document_kind} {path}", str(given))))


def _not_available(name: str, why: str | None) -> str | None:
    return None if why is None else f"`{name}` is not available in this version: {why}"
