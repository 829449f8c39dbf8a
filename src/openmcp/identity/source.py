"""What every identity source is: a question with three answers.

Each source says *not present* (the next one is asked), *verified* (stop), or *invalid*
(refused at once, never a weaker source). Built-ins and plugins fill the same Protocol.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from openmcp.model.agent import Principal
from openmcp.model.http import Request
from openmcp.model.server import Server


class Absent(Enum):
    """Nothing of this source's kind was presented."""

    ABSENT = "not present"


@dataclass(frozen=True, slots=True)
class Invalid:
    """A credential of this source's kind was presented and does not verify."""

    why: str
    """For the record only."""


Verdict = Principal | Invalid | Absent


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """An OAuth authorization server whose access tokens a source takes."""

    url: str
    scopes: Sequence[str] = ()
    """What clients are told to ask for."""


class IdentitySource(Protocol):
    """One trusted way to learn who the agent is."""

    @property
    def name(self) -> str:
        """Name of the `IdentitySource` resource."""
        ...

    @property
    def headers(self) -> frozenset[str]:
        """Lower-case names of the headers that carry its credentials."""
        ...

    async def verify(self, request: Request, server: Server) -> Verdict:
        """Say whether the request carries a credential of this kind, and whose it is.

        Raises: Overloaded if it cannot be verified now.
        """
        ...

    def vouches(self, principal: Principal) -> bool:
        """Whether a principal that this source verified, perhaps under an older configuration, still holds."""
        ...


@runtime_checkable
class Relayed(Protocol):
    """A source that believes a header which anybody could write: from trusted peers only."""

    @property
    def identity_headers(self) -> frozenset[str]:
        """Lower-case names; taken out of the requests of all other peers before anything else looks at them."""
        ...


@runtime_checkable
class Twofold(Protocol):
    """A source whose credentials come in two ways, of which a request can show both."""

    def headers_read(self, request: Request) -> frozenset[str]:
        """Return those of its headers that it has judged; what else stands there is another source's."""
        ...


@runtime_checkable
class Advertised(Protocol):
    """A source that a 401 can tell clients of; the others (certificates, mesh headers) are arranged beforehand."""

    @property
    def scheme(self) -> str:
        """How its credential is shown in `Authorization`: `bearer` or `basic`; `""` = in a header of its own."""
        ...

    @property
    def issuer(self) -> TokenIssuer | None:
        """Where OAuth clients get its tokens; `None` where that is no OAuth."""
        ...
