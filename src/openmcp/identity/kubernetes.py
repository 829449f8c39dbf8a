"""Service-account tokens of a Kubernetes cluster: the `jwt` source with the cluster's issuer and keys.

The gateway asks for no review of each token (TokenReview): a token is believed until it
ends, which is why short-lived projected tokens with the route as audience are demanded.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from openmcp.config.identities import AgentSpec, KubernetesSourceSettings, SourceSpec
from openmcp.identity.discovery import keys_of
from openmcp.identity.jwt import Memory, Naming, TokenSource
from openmcp.identity.lasting import Lasting
from openmcp.identity.source import IdentitySource
from openmcp.identity.tokens import BadToken, text_at
from openmcp.model.agent import Principal, Trust

_LABEL: Final = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_SUBJECT: Final = re.compile(rf"system:serviceaccount:({_LABEL}):({_LABEL}(?:\.{_LABEL})*)")
"""Neither name can hold a colon, so that no two accounts are one principal."""


class KubernetesSource(TokenSource):
    """Takes the tokens of one cluster's service accounts."""

    @classmethod
    def from_spec(cls, spec: SourceSpec, agents: Iterable[AgentSpec], lasting: Lasting) -> "KubernetesSource":
        """Return the source; keys and checked tokens are those of an earlier snapshot with the same settings."""
        settings = spec.settings
        assert isinstance(settings, KubernetesSourceSettings)
        return cls(
            spec,
            settings,
            keys_of(settings, lasting),
            naming=_naming(spec.name),
            memory=lasting.kept(Memory, (spec.name, settings.revision), Memory),
            failures=lasting.failures,
            clock=lasting.clock,
        )


def _naming(source: str) -> Naming:
    def principal(claims: Mapping[str, object]) -> Principal:
        # On verified claims only: this is no expression on traffic.
        account = _SUBJECT.fullmatch(text_at(claims, "sub"))
        if account is None:
            raise BadToken("the subject is no service account")
        namespace, name = account[1], account[3]
        return Principal(
            id=f"k8s:{source}:{namespace}:{name}",
            source=source,
            method="kubernetes",
            trust=Trust.TOKEN,
            attributes={"namespace": namespace, "serviceAccount": name},
        )

    return principal


_: type[IdentitySource] = KubernetesSource
