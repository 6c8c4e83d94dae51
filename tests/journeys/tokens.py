"""Tokens by the flows that apps and systems go through, over HTTP, without `fhir-server token`."""

from __future__ import annotations

import json
import secrets
import time

from joserfc import jwt
from joserfc.jwk import ECKey

from tests.journeys.conftest import answer_pages
from tests.server import Server


def assertion(server: Server, client_id: str) -> str:
    """Return a JWT by which a demo's client proves itself (RFC 7523), signed ES384."""
    file = server.folder / "keys" / "demo" / f"{client_id}.jwk.json"
    key = ECKey.import_key(json.loads(file.read_text(encoding="utf-8")))
    now = int(time.time())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": _token_endpoint(server),
        "exp": now + 200,
        "iat": now,
        "jti": secrets.token_urlsafe(16),
    }
    return jwt.encode({"alg": "ES384", "kid": key.kid}, claims, key, algorithms=["ES384"])


def system_token(server: Server, client_id: str = "system") -> str:
    """Return an access token of SMART Backend Services."""
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion(server, client_id),
    }
    answer = server.client().post(_token_endpoint(server), data=form)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    return answer.json()["access_token"]


def called_back(server: Server, url: str, cccd: str) -> str:
    """Log in at an app's authorize URL without a browser; return the URL that it is called at.

    Args:
        server: The server.
        url: Its `redirect_uri` is at an address of loopback that answers, be it by a 404.
        cccd: The citizen.
    """
    browser = server.client(follow_redirects=True)
    return str(answer_pages(browser, browser.get(url), cccd).url)


def _token_endpoint(server: Server) -> str:
    found = server.client().get("/fhir/.well-known/smart-configuration").json()
    return found["token_endpoint"]
