"""An OpenID provider on loopback that gives signed access tokens (RFC 9068) for the resource asked for (RFC 8707)."""

import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import flask
import werkzeug.serving
from joserfc import jwk, jwt

with warnings.catch_warnings():
    # The provider's own libraries move on; that is not what is tested.
    warnings.simplefilter("ignore")
    import oidc_provider_mock  # type: ignore[import-untyped]
    from oidc_provider_mock._storage import storage  # type: ignore[import-untyped]


@dataclass
class Issuer:
    """A running provider."""

    url: str
    app: flask.Flask
    given: list[dict[str, Any]] = field(default_factory=list)
    """The claims of every access token that it gave."""

    lifetime_s: int = 300


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    app = flask.Flask("issuer")
    issuer = Issuer("", app)

    def access_token(client: Any, grant_type: str, user: Any, scope: str) -> str:
        now = int(time.time())
        claims = {
            "iss": issuer.url,
            "sub": user.sub,
            "aud": flask.request.form.get("resource", ""),
            "iat": now,
            "exp": now + issuer.lifetime_s,
            "client_id": client.get_client_id(),
        }
        issuer.given.append(claims)
        key = jwk.RSAKey.import_key(storage.jwk.as_dict(is_private=True))
        return jwt.encode({"alg": "RS256", "kid": key.kid, "typ": "at+jwt"}, claims, key)

    app.config["OAUTH2_ACCESS_TOKEN_GENERATOR"] = access_token
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oidc_provider_mock.init_app(app)
        app.debug = False
    app.secret_key = b"of the tests"
    server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True)
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
