"""Several credentials at once: which count, which have to agree, and what none of them may cover up."""

import pytest

from openmcp.config.identities import AgentSpec, IdentitySpec
from openmcp.errors import Unauthenticated
from openmcp.identity.agents import agents_by_principal
from openmcp.identity.chain import IdentityChain
from openmcp.identity.failures import BURST, Failures
from openmcp.identity.source import Absent, Invalid, TokenIssuer, Verdict
from openmcp.model.agent import ANONYMOUS, Principal, Trust
from openmcp.model.http import Peer, Request
from openmcp.model.server import Authentication, Server

CERTIFICATE = Principal("x509:partners:bot", "partners", "mtls", Trust.CERTIFICATE)
TOKEN = Principal("jwt:corp:bot", "corp", "jwt", Trust.TOKEN, groups=frozenset({"dev"}), expires_at=100.0)


class Fixed:
    """A source that always gives the same answer."""

    def __init__(self, name: str, verdict: Verdict, header: str = "", issuer: TokenIssuer | None = None) -> None:
        self.name = name
        self.headers = frozenset({header} if header else ())
        self.scheme = "bearer" if issuer else ""
        self.issuer = issuer
        self._verdict = verdict

    async def verify(self, request: Request, server: Server) -> Verdict:
        return self._verdict

    def vouches(self, principal: Principal) -> bool:
        return principal == self._verdict


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def agent(name: str, *ids: str) -> AgentSpec:
    return AgentSpec(name, "", frozenset({"staff"}), {}, tuple(IdentitySpec(principal_id=id) for id in ids))


def server(*sources: str, anonymous: bool = False, strict: bool = True) -> Server:
    return Server("desk", "/desk", (), Authentication(sources, is_anonymous_allowed=anonymous, is_strict=strict))


def request(certificate: bytes | None = None, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", "/desk", named, b"", Peer("192.0.2.1", certificate=certificate))


def chain(*sources: Fixed, agents: tuple[AgentSpec, ...] = (), clock: Clock | None = None) -> IdentityChain:
    return IdentityChain(sources, agents_by_principal(agents), clock=clock or Clock())


async def refusal(chain: IdentityChain, request: Request, server: Server) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        await chain.identify(request, server)
    return caught.value


BOTH = Fixed("partners", CERTIFICATE), Fixed("corp", TOKEN, "authorization")


async def test_a_certificate_of_one_and_a_token_of_another_are_refused() -> None:
    error = await refusal(chain(*BOTH), request(authorization="Bearer t"), server("partners", "corp"))
    assert "different agents" in error.detail


async def test_two_credentials_of_one_agent_agree_and_the_stronger_one_counts() -> None:
    bot = agent("bot", CERTIFICATE.id, TOKEN.id)
    found = await chain(*BOTH, agents=(bot,)).identify(request(authorization="Bearer t"), server("corp", "partners"))
    assert (found.name, found.principal.id, found.principal.trust) == ("bot", CERTIFICATE.id, Trust.CERTIFICATE)
    assert found.groups == {"staff", "dev"}
    assert found.principal.expires_at == TOKEN.expires_at, "together they end with the first that ends"


async def test_whoever_comes_again_with_the_same_credentials_is_the_same_object() -> None:
    """What is decided and encoded for an agent is remembered by it."""
    both = chain(*BOTH, agents=(agent("bot", CERTIFICATE.id, TOKEN.id),))
    shown, strict = request(authorization="Bearer t"), server("corp", "partners")
    first = await both.identify(shown, strict)
    assert await both.identify(shown, strict) is first
    assert (await both.identify(shown, server("partners", strict=False))).principal is CERTIFICATE
    assert await both.identify(shown, strict) is first


async def test_users_who_differ_do_not_agree() -> None:
    one = Fixed("a", Principal("a:bot", "a", "test", Trust.TOKEN, on_behalf_of="ann"))
    two = Fixed("b", Principal("b:bot", "b", "test", Trust.TOKEN, on_behalf_of="bob"))
    error = await refusal(chain(one, two, agents=(agent("bot", "a:bot", "b:bot"),)), request(), server("a", "b"))
    assert "different users" in error.detail


async def test_strict_refuses_when_any_credential_is_invalid() -> None:
    bad = Fixed("bad", Invalid("expired"))
    assert "expired" in (await refusal(chain(BOTH[0], bad), request(), server("partners", "bad"))).detail


async def test_strict_refuses_a_credential_that_no_source_reads() -> None:
    none = Fixed("corp", Absent.ABSENT, "authorization")
    error = await refusal(chain(BOTH[0], none), request(authorization="Bearer t"), server("partners", "corp"))
    assert "belongs to no source" in error.detail


async def test_strict_takes_a_single_credential() -> None:
    none = Fixed("corp", Absent.ABSENT, "authorization")
    assert (await chain(BOTH[0], none).identify(request(), server("partners", "corp"))).principal is CERTIFICATE


async def test_a_token_that_its_source_does_not_know_is_not_saved_by_a_weaker_source() -> None:
    """Both present: the token of an unknown issuer, and a valid key in a header of its own."""
    unknown = Fixed("corp", Absent.ABSENT, "authorization")
    key = Fixed("keys", Principal("key:keys:bot", "keys", "apiKey", Trust.SHARED_SECRET), "x-api-key")
    both = request(authorization="Bearer t", x_api_key="k")
    lenient = server("corp", "keys", strict=False)
    assert "belongs to no source" in (await refusal(chain(unknown, key), both, lenient)).detail
    assert (await chain(unknown, key).identify(request(x_api_key="k"), lenient)).principal.source == "keys"
    later = Fixed("other", TOKEN, "authorization")
    still_to_be_read = server("corp", "keys", "other", strict=False)
    assert (await chain(unknown, key, later).identify(both, still_to_be_read)).principal.source == "keys"


async def test_two_agents_for_one_principal_are_refused_and_both_are_named_nowhere() -> None:
    contested = chain(BOTH[0], agents=(agent("a", CERTIFICATE.id), agent("b", CERTIFICATE.id)))
    error = await refusal(contested, request(), server("partners", strict=False))
    assert error.detail == f"partners: two agents claim {CERTIFICATE.id}"


async def test_a_certificate_that_no_source_knows_is_not_anonymous() -> None:
    nobody = chain(Fixed("partners", Absent.ABSENT))
    open_to_all = server("partners", anonymous=True, strict=False)
    assert await nobody.identify(request(), open_to_all) is ANONYMOUS
    await refusal(nobody, request(certificate=b"DER"), open_to_all)


async def test_who_was_identified_is_nobody_once_the_credential_has_ended() -> None:
    clock = Clock()
    tokens = chain(BOTH[1], clock=clock)
    found = await tokens.identify(request(authorization="Bearer t"), server("corp"))
    assert tokens.current(found, server("corp")) is found
    clock.now = 100.0
    assert tokens.current(found, server("corp")) is None


async def test_the_metrics_learn_who_said_no_and_whether_anything_was_presented() -> None:
    bad = chain(Fixed("bad", Invalid("expired")))
    error = await refusal(bad, request(), server("bad"))
    assert (error.source, error.is_missing) == ("bad", False)
    error = await refusal(chain(Fixed("none", Absent.ABSENT)), request(), server("none"))
    assert (error.source, error.is_missing) == ("", True)


# ------------------------------------------------------------ challenges


async def test_a_route_with_tokens_names_its_metadata_and_no_other_does() -> None:
    tokens = chain(Fixed("corp", Invalid("x"), "authorization", TokenIssuer("https://login.example.com", ("mcp",))))
    told = Request("POST", "/desk", {}, b"", Peer("192.0.2.1"), public_url="https://mcp.example.com")
    ((name, value),) = (await refusal(tokens, told, server("corp"))).headers
    assert name == "WWW-Authenticate"
    assert 'resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/desk"' in value
    assert 'scope="mcp"' in value
    plain = chain(Fixed("keys", Invalid("x"), "authorization"))
    assert (await refusal(plain, told, server("keys"))).headers == (("WWW-Authenticate", 'Bearer realm="openmcp"'),)


def test_the_metadata_names_the_route_as_it_is_configured() -> None:
    issuer = TokenIssuer("https://login.example.com", ("mcp",))
    challenges = chain(Fixed("corp", Absent.ABSENT, "authorization", issuer), Fixed("keys", Absent.ABSENT)).challenges
    assert challenges.metadata(server("corp", "keys"), "https://mcp.example.com") == {
        "resource": "https://mcp.example.com/desk",
        "authorization_servers": ["https://login.example.com"],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["mcp"],
    }
    assert challenges.metadata(server("keys"), "https://mcp.example.com") is None


# ------------------------------------------------------------ failures


def test_a_peer_that_fails_too_often_has_to_wait_and_nobody_else_has() -> None:
    clock = Clock()
    failures = Failures(clock)
    for _ in range(BURST):
        assert failures.may_try("192.0.2.1")
        failures.note("192.0.2.1")
    assert not failures.may_try("192.0.2.1")
    assert failures.may_try("192.0.2.2")
    clock.now += 2
    assert failures.may_try("192.0.2.1")


def test_one_host_cannot_use_all_addresses_of_its_network() -> None:
    failures = Failures(Clock())
    for number in range(BURST):
        failures.note(f"2001:db8::{number:x}")
    assert not failures.may_try("2001:db8::ffff")
    assert failures.may_try("2001:db8:0:1::1")


def test_the_memory_of_failures_is_bounded() -> None:
    failures = Failures(Clock())
    for number in range(20_000):
        failures.note(f"10.0.{number >> 8}.{number & 255}")
    assert len(failures) <= 10_000
    assert failures.may_try("10.0.0.1")
