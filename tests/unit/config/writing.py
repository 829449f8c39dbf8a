"""Writes configuration for tests of the loader: small valid documents, and what came of loading them."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

from openmcp.config.loader import Loaded, attempt
from openmcp.errors import Misconfigured

HEAD = "apiVersion: openmcp.dev/v1alpha1\n"

DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

ENV = {"TOKEN": "t0ken", "SEALING": "s" * 40, "SEALING_OLD": "o" * 32, "HASHING": "h" * 64}


def resource(kind: str, name: str, spec: str) -> str:
    """One document; its `spec` is flow YAML on line 4, from column 7."""
    return f"{HEAD}kind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def server(name: str = "github", spec: str = "", *, upstream: str = "") -> str:
    inner = f'upstream: {{replicas: ["http://127.0.0.1:1/mcp"]{upstream}}}'
    return resource("MCPServer", name, "{" + inner + spec + "}")


def source(name: str = "keys") -> str:
    return resource("IdentitySource", name, "{apiKey: {}}")


def policy(rules: str, name: str = "p", *, spec: str = "") -> str:
    return resource("Policy", name, f"{{rules: [{rules}]{spec}}}")


def agent(name: str, identities: str) -> str:
    return resource("Agent", name, f"{{identities: [{identities}]}}")


def key(key_id: str, *, source: str = "keys", digest: str = DIGEST) -> str:
    return f'{{apiKey: {{source: {source}, id: {key_id}, sha256: "{digest}"}}}}'


def write(folder: Path, *documents: str, name: str = "g.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("---\n".join(textwrap.dedent(document) for document in documents), encoding="utf-8")
    return path


def outcome(*paths: Path, env: Mapping[str, str] = ENV) -> Loaded | Misconfigured:
    return attempt(paths, env=env).outcome


def loaded(*paths: Path, env: Mapping[str, str] = ENV) -> Loaded:
    result = outcome(*paths, env=env)
    assert isinstance(result, Loaded), result
    return result


def faults(*paths: Path, env: Mapping[str, str] = ENV) -> list[tuple[str, str]]:
    """(place without folder, text) of every fault."""
    result = outcome(*paths, env=env)
    assert isinstance(result, Misconfigured), result
    return [(fault.place.removeprefix(f"{paths[0].parent}/"), fault.text) for fault in result.faults]


def warnings(*paths: Path) -> list[tuple[str, str]]:
    return [(w.place.removeprefix(f"{paths[0].parent}/"), w.text) for w in loaded(*paths).warnings]
