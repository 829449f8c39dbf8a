"""`openmcp key new`: makes an API key and the resources that know its digest."""

import hashlib
import re
import secrets
import string

import click

_ALPHABET = string.ascii_letters + string.digits
_SECRET_CHARS = 44
"""44 of 62 characters are 261 random bits; letters and digits survive every shell and form."""

_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")

_SNIPPET = """\
---  # leave this one out where the source is there already
apiVersion: openmcp.dev/v1alpha1
kind: IdentitySource
metadata: {{name: {source}}}
spec: {{apiKey: {{header: Authorization}}}}
---
apiVersion: openmcp.dev/v1alpha1
kind: Agent
metadata: {{name: {name}}}
spec:
  identities:
  - apiKey: {{source: {source}, id: {name}, sha256: "{digest}"}}
"""


def run(name: str, source: str) -> int:
    """Print the key, and behind it the resources to configure."""
    if not _ID.fullmatch(name):
        raise click.UsageError(
            f"`{name[:80]}` cannot be a name here: use 1 to 63 lower-case letters, digits and `-`, no `-` at the ends"
        )
    if not _NAME.fullmatch(source):
        raise click.UsageError(f"`{source[:80]}` cannot be the name of an IdentitySource")
    key = new_key(name)
    digest = hashlib.sha256(key.encode()).hexdigest()
    click.echo("This key is shown once and kept nowhere: give it to the agent now.", err=True)
    click.echo(key)
    click.echo(_SNIPPET.format(source=source, name=name, digest=digest), nl=False)
    return 0


def new_key(key_id: str) -> str:
    """Return a new key `omcp_<id>_<secret>`."""
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARS))
    return f"omcp_{key_id}_{secret}"
