"""The demo's clients of contract 9, and the server's own client that the web book is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from joserfc.jwk import ECKey

from auth.client import Client, ClientKind
from auth.server.keys import write_private

CITIZEN_SCOPES: Final = (
    "openid",
    "fhirUser",
    "launch/patient",
    "offline_access",
    "patient/*.rs",
    "patient/Consent.cud",
)
EVERYTHING: Final = ("system/*.cruds",)
INSURER_SCOPES: Final = ("system/*.rs", "system/Claim.c", "system/CoverageEligibilityRequest.c")

CONFIDENTIAL: Final[tuple[tuple[str, str, ClientKind, str, tuple[str, ...]], ...]] = (
    ("system", "Administrator", "system", "", EVERYTHING),
    ("hospital-01999", "Bệnh viện Đa khoa Mẫu Hà Nội", "hospital", "01999", EVERYTHING),
    ("hospital-79999", "Bệnh viện Mẫu Thành phố Hồ Chí Minh", "hospital", "79999", EVERYTHING),
    ("clinic-01998", "Phòng khám Đa khoa Mẫu", "hospital", "01998", EVERYTHING),
    ("insurer-bhxh", "Bảo hiểm xã hội Việt Nam (mẫu)", "insurer", "BHXH", INSURER_SCOPES),
    ("insurer-private-01", "Bảo hiểm tư nhân 01 (mẫu)", "insurer", "PRIVATE-01", INSURER_SCOPES),
    ("auditor", "Kiểm toán viên (mẫu)", "auditor", "", ("system/AuditEvent.rs",)),
)
"""Id, name, kind, code and scopes of each demo client that has a key."""


def web_book(origin: str) -> Client:
    """Return the server's own client: the web book's pages."""
    return Client(
        client_id="web-book",
        name="Sổ sức khỏe điện tử (web)",
        kind="app",
        redirect_uris=(f"{origin}/book/callback",),
        scopes=("openid", "fhirUser", "patient/*.rs", "patient/Consent.cud"),
        internal=True,
    )


def make_demo_clients(folder: Path, origin: str) -> list[Client]:
    """Return the demo's clients; the private keys that are missing are made.

    Args:
        folder: Of the keys (FHIR_SERVER_KEYS); those of the demo lie below it in `demo/`.
        origin: The public origin, without a slash at its end.
    """
    demo = folder / "demo"
    demo.mkdir(mode=0o700, parents=True, exist_ok=True)
    clients = [
        Client(
            client_id=client_id,
            name=name,
            kind=kind,
            code=code,
            jwks={"keys": [_public(_private_key(demo / f"{client_id}.jwk.json"))]},
            scopes=scopes,
        )
        for client_id, name, kind, code, scopes in CONFIDENTIAL
    ]
    app = Client(
        client_id="vneid-app",
        name="Ứng dụng VNeID (mẫu)",
        kind="app",
        # RFC 8252, 7.3: any port of the loopback address.
        redirect_uris=("http://127.0.0.1/callback",),
        scopes=CITIZEN_SCOPES,
    )
    return [*clients, app, web_book(origin)]


def _private_key(path: Path) -> dict[str, Any]:
    if not path.exists():
        key = ECKey.generate_key("P-384", private=True, auto_kid=True)
        # Where two processes start at once, one of them makes the key and both use it.
        with suppress(FileExistsError):
            write_private(path, {**key.as_dict(private=True), "alg": "ES384", "use": "sig"})
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])


def _public(key: Mapping[str, Any]) -> dict[str, Any]:
    return {name: key[name] for name in ("kty", "crv", "x", "y", "kid", "alg", "use")}
