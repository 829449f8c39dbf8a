"""Headers that the gateway presents to others: their secrets read, and fit for a header."""

from collections.abc import Sequence
from typing import Protocol

from openmcp.config.documents import Placed
from openmcp.config.resources.base import Document, SecretRef
from openmcp.config.secrets import Secrets, without_newline
from openmcp.model.server import Credential


class Written(Protocol):
    """One header as configuration writes it."""

    @property
    def header(self) -> str: ...

    @property
    def prefix(self) -> str: ...

    @property
    def value(self) -> SecretRef: ...


def credentials(
    placed: Placed[Document], written: Sequence[Written], secrets: Secrets, *, loc: tuple[int | str, ...]
) -> tuple[Credential, ...]:
    """Return the headers with their secrets; a secret that cannot be had or sent is reported at its place."""
    made: list[Credential] = []
    for index, credential in enumerate(written):
        place = (*loc, index, "value")
        value = credential.prefix.encode() + without_newline(secrets.read(placed, credential.value, *place))
        if any(byte < 0x20 or byte > 0x7E for byte in value):
            secrets.report(placed, "the secret holds characters that a header cannot carry", *place)
        made.append(Credential(credential.header, value.decode("latin-1")))
    return tuple(made)
