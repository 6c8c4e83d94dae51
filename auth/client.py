"""An OAuth client: who it is, what it is registered for, and the file that registers it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from auth import scopes as smart
from auth.principal import Kind

ClientKind = Literal["hospital", "insurer", "app", "auditor", "system"]

PRINCIPALS: Final[dict[ClientKind, Kind]] = {
    "hospital": "facility",
    "insurer": "payer",
    "app": "citizen",
    "auditor": "auditor",
    "system": "system",
}
"""What each kind of client calls as."""

SOCIAL_INSURER: Final = "BHXH"
"""The payer code of the social insurer; every other payer is private."""

_KINDS: Final[dict[str, ClientKind]] = {kind: kind for kind in PRINCIPALS}
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FACILITY: Final = re.compile(r"[0-9A-Z]{5}")
_PAYER: Final = re.compile(r"[0-9A-Z][0-9A-Z-]{0,31}")
_LOOPBACK: Final = re.compile(r"http://127\.0\.0\.1(?P<port>:[0-9]{1,5})?(?P<path>/[^?#]*)")
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Members of a JWK that are secret (RFC 7518, 6)."""

_PARTS: Final = {"EC": ("crv", "x", "y"), "RSA": ("n", "e")}
"""Members that a public key has at least (RFC 7518, 6.2.1 and 6.3.1)."""

_MAX_PORT: Final = 65535


class BadClient(ValueError):
    """A client's file is not right; the text is one sentence for each fault, one a line."""


class Client(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A registered client.

    Attributes:
        code: The facility's code (hospital) or the payer's (insurer).
        jwks: Its public keys; or `jwks_uri`, where they are. A client with neither is public.
        redirect_uris: Exact; of `http://127.0.0.1/path` any port is taken (RFC 8252, 7.3).
        scopes: What it may ask for at most.
        internal: One of the server's own, which no token request comes from.
    """

    client_id: str
    name: str
    kind: ClientKind
    code: str = ""
    jwks: dict[str, Any] | None = None
    jwks_uri: str = ""
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    disabled: bool = False
    internal: bool = False

    @property
    def public(self) -> bool:
        """Whether the client can keep no secret: it proves itself by PKCE alone."""
        return self.jwks is None and not self.jwks_uri

    @property
    def principal_kind(self) -> Kind:
        """What the client calls as."""
        return PRINCIPALS[self.kind]

    @property
    def private(self) -> bool:
        """Whether it is a payer that is not the social insurer."""
        return self.kind == "insurer" and self.code != SOCIAL_INSURER

    def takes_redirect(self, uri: str) -> bool:
        """Return whether an answer may be sent to this URI: compared as written."""
        if uri in self.redirect_uris:
            return True
        asked = _LOOPBACK.fullmatch(uri)
        if asked is None or (asked["port"] and int(asked["port"][1:]) > _MAX_PORT):
            return False
        # RFC 8252, 7.3: any port of the loopback address, where it is registered without one.
        return f"http://127.0.0.1{asked['path']}" in self.redirect_uris


def encode(client: Client) -> bytes:
    """Return the client as the ledger keeps it."""
    return msgspec.json.encode(client)


@lru_cache(maxsize=1024)
def decode(data: bytes) -> Client:
    """Return a client from the ledger; the same bytes are the same client."""
    return msgspec.json.decode(data, type=Client)


def parse_client(data: Mapping[str, Any]) -> Client:
    """Return the client that a registration file describes.

    Both OAuth's names (RFC 7591: `client_id`, `client_name`, `scope` …) and the short ones
    (`id`, `name`, `facility`, `payer`, `scopes`) are read.

    Raises:
        BadClient: Something is missing or wrong; every fault is said.
    """
    faults: list[str] = []
    kind = _KINDS.get(str(data.get("kind", "")))
    if kind is None:
        faults.append(f"kind must be one of {', '.join(_KINDS)}.")
    client = Client(
        client_id=str(data.get("client_id") or data.get("id") or ""),
        name=str(data.get("client_name") or data.get("name") or ""),
        # Of what is of no known kind the rest is looked at as of one that needs nothing more.
        kind=kind or "system",
        code=str(data.get("facility") or data.get("payer") or data.get("code") or ""),
        jwks=_jwks(data.get("jwks"), faults),
        jwks_uri=str(data.get("jwks_uri") or data.get("jwks_url") or ""),
        redirect_uris=_strings(data, "redirect_uris", faults),
        scopes=_scopes(data, faults),
        disabled=bool(data.get("disabled", False)),
    )
    faults += _faults_of_kind(client, data) if kind else ()
    faults += _faults(client)
    if faults:
        raise BadClient("\n".join(dict.fromkeys(faults)))
    return client


def _faults(client: Client) -> Iterator[str]:
    """What is wrong with a client of any kind."""
    if not ID.fullmatch(client.client_id):
        yield "client_id must be 1 to 64 letters, digits, dots, hyphens."
    if not client.name:
        yield "name is missing."
    for uri in client.redirect_uris:
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*:[^\s#*]+", uri) or uri.startswith((
            "javascript:",
            "data:",
        )):
            yield "redirect_uris must be absolute URIs without a fragment."
    for word in client.scopes:
        if smart.parse(word) is None and "/" in word and not word.startswith("launch/"):
            yield "scopes must be SMART v2 scopes."


def _faults_of_kind(client: Client, data: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a client of its kind."""
    if client.kind == "hospital" and not _FACILITY.fullmatch(client.code):
        yield "facility must be the five-character facility code."
    if client.kind == "insurer" and not _PAYER.fullmatch(client.code):
        yield "payer must be the payer's code."
    if client.kind == "app":
        if not data.get("redirect_uris"):
            yield "redirect_uris must name at least one URI."
    elif data.get("jwks") is None and not client.jwks_uri:
        yield "jwks or jwks_uri is missing."
    level = "patient" if client.kind == "app" else "system"
    for word in client.scopes:
        scope = smart.parse(word)
        if scope is not None and scope.level != level:
            yield f"scopes of a client of this kind begin with {level}/."


def _scopes(data: Mapping[str, Any], faults: list[str]) -> tuple[str, ...]:
    value = data.get("scopes") or data.get("scope") or ""
    if isinstance(value, str):
        return smart.words(value)
    return _strings({"scopes": value}, "scopes", faults)


def _strings(data: Mapping[str, Any], name: str, faults: list[str]) -> tuple[str, ...]:
    value = data.get(name) or ()
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        faults.append(f"{name} must be a list of strings.")
        return ()
    return tuple(value)


def _jwks(value: object, faults: list[str]) -> dict[str, Any] | None:
    """The public keys; a private part means that the key is no secret any more."""
    if value is None:
        return None
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list) or not keys:
        faults.append("jwks must be a JSON Web Key Set with at least one key.")
        return None
    public = []
    for key in keys:
        if not isinstance(key, dict) or key.get("kty") not in {"EC", "RSA"}:
            faults.append("every key of jwks must be EC or RSA.")
            continue
        if not key.get("kid") and len(keys) > 1:
            faults.append("every key of jwks must have a kid, where there are several.")
        if not _PRIVATE.isdisjoint(key):
            faults.append(
                "jwks must hold public keys alone; this key's private part is known now: make a"
                " new key, and give its public part."
            )
        if not all(isinstance(key.get(name), str) for name in _PARTS[key["kty"]]):
            faults.append("a key of jwks is not whole.")
        public.append({
            name: key[name]
            for name in ("kty", "kid", "alg", "use", "crv", "x", "y", "n", "e")
            if name in key
        })
    return {"keys": public}
