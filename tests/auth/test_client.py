"""OAuth clients and their registration files."""

from __future__ import annotations

from typing import Any

import pytest
from joserfc.jwk import ECKey

from auth.client import BadClient, Client, decode, encode, parse_client

KEY = ECKey.generate_key("P-384", auto_kid=True)
HOSPITAL: dict[str, Any] = {
    "client_id": "hospital-12345",
    "client_name": "Bệnh viện",
    "kind": "hospital",
    "facility": "12345",
    "jwks": {"keys": [KEY.as_dict(private=False)]},
    "scope": "system/*.rs system/Bundle.c",
}
APP = {
    "id": "app",
    "name": "App",
    "kind": "app",
    "redirect_uris": ["https://app.example/cb"],
    "scopes": ["openid", "patient/*.rs"],
}


def test_a_registration_file_is_read_and_kept_whole() -> None:
    """A hospital's file gives its client, and the ledger gives it back."""
    client = parse_client(HOSPITAL)

    assert (client.principal_kind, client.code, client.public) == ("facility", "12345", False)
    assert client.scopes == ("system/*.rs", "system/Bundle.c")
    assert decode(encode(client)) == client


def test_a_private_key_is_refused() -> None:
    """A private key that came along by mistake is no secret any more: refused, never stored."""
    wrong = HOSPITAL | {"jwks": {"keys": [KEY.as_dict(private=True)]}}

    with pytest.raises(BadClient) as refusal:
        parse_client(wrong)

    assert "private" in str(refusal.value)
    assert str(KEY.as_dict(private=True)["d"]) not in str(refusal.value)


def test_short_names_are_read_too() -> None:
    """`id`, `name`, `scopes` and `payer` are understood."""
    insurer = parse_client({
        "id": "i",
        "name": "I",
        "kind": "insurer",
        "payer": "PRIVATE-01",
        "jwks_url": "https://i.example/jwks",
        "scopes": ["system/Claim.rs"],
    })

    assert (insurer.client_id, insurer.code, insurer.private) == ("i", "PRIVATE-01", True)
    assert insurer.jwks_uri == "https://i.example/jwks"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "robber"},
        {"kind": None},
        {"client_id": ""},
        {"client_id": "../x"},
        {"client_id": "a|b"},
        {"client_name": ""},
        {"facility": "1234"},
        {"facility": "12345x"},
        {"jwks": {}},
        {"jwks": {"keys": []}},
        {"jwks": {"keys": [{"kty": "oct", "kid": "1", "k": "x"}]}},
        {"jwks": {"keys": [{"kty": "EC"}]}},
        {"jwks": {"keys": [{"kty": "EC", "kid": "1", "crv": "P-384", "x": 1, "y": "y"}]}},
        {"jwks": {"keys": [{"kty": "RSA", "kid": "1", "n": "n"}]}},
        {"jwks": None},
        {"scope": "patient/*.rs"},
        {"scope": "system/*.rx"},
        {"redirect_uris": "https://x"},
        {"kind": "insurer", "facility": "a b"},
        {"redirect_uris": ["https://x/#f"]},
        {"redirect_uris": ["https://*.x/"]},
        {"redirect_uris": ["javascript:alert(1)"]},
        {"redirect_uris": ["/relative"]},
    ],
    ids=str,
)
def test_a_wrong_file_is_refused(change: dict[str, Any]) -> None:
    """What is missing or wrong is said, and nothing is registered."""
    with pytest.raises(BadClient):
        parse_client(HOSPITAL | change)


def test_every_fault_of_a_file_is_said() -> None:
    """One a line, each once, so that a file is right at the second try."""
    wrong = {
        "kind": "hospital",
        "facility": "1",
        "jwks": {"keys": [{"kty": "oct"}]},
        "redirect_uris": "https://x",
        "scope": "patient/*.rs patient/Patient.rs system/*.rx",
    }

    with pytest.raises(BadClient) as refusal:
        parse_client(wrong)

    assert [line.split()[0] for line in str(refusal.value).splitlines()] == [
        "every", "redirect_uris", "facility", "scopes", "client_id", "name", "scopes",
    ]  # fmt: skip


def test_a_single_key_needs_no_kid() -> None:
    """Of one key it is clear which is meant; of several each has a kid."""
    bare = {k: v for k, v in KEY.as_dict(private=False).items() if k != "kid"}

    assert parse_client(HOSPITAL | {"jwks": {"keys": [bare]}}).jwks == {"keys": [bare]}
    with pytest.raises(BadClient, match="kid"):
        parse_client(HOSPITAL | {"jwks": {"keys": [bare, KEY.as_dict(private=False)]}})


def test_an_app_without_a_redirect_uri_is_refused() -> None:
    """An app must say where its answers go; its scopes are a patient's."""
    assert parse_client(APP).public
    for change in ({"redirect_uris": []}, {"scopes": ["system/*.rs"]}):
        with pytest.raises(BadClient):
            parse_client(APP | change)


@pytest.mark.parametrize(
    ("uri", "is_taken"),
    [
        ("https://app.example/cb", True),
        ("https://app.example/cb/", False),
        ("https://app.example/cb?x=1", False),
        ("https://app.example:443/cb", False),
        ("https://app.example.evil/cb", False),
        ("https://APP.example/cb", False),
        ("https://app.example/cb#f", False),
        ("http://127.0.0.1/callback", True),
        ("http://127.0.0.1:1/callback", True),
        ("http://127.0.0.1:65535/callback", True),
        ("http://127.0.0.1:65536/callback", False),
        ("http://127.0.0.1:123456/callback", False),
        ("http://127.0.0.1:80/callback/", False),
        ("http://127.0.0.1:80/callback?x", False),
        ("http://127.0.0.1:80/callback\n", False),
        ("http://127.0.0.1:80@evil.example/callback", False),
        ("http://127.0.0.1.evil.example/callback", False),
        ("http://127.0.0.1:80/../callback", False),
        ("http://localhost:80/callback", False),
        ("https://127.0.0.1:80/callback", False),
        ("http://[::1]:80/callback", False),
        ("http://127.0.0.1:/callback", False),
        ("http://127.0.0.1:٣/callback", False),
        ("", False),
    ],
)
def test_redirect_uris_are_compared_as_written(uri: str, is_taken) -> None:
    """Exact, but for the port of the loopback address (RFC 8252, 7.3)."""
    client = Client(
        client_id="a",
        name="A",
        kind="app",
        redirect_uris=("https://app.example/cb", "http://127.0.0.1/callback"),
    )

    assert client.takes_redirect(uri) is is_taken


def test_a_registered_loopback_port_is_exact() -> None:
    """Where a port is registered, it is that port alone."""
    client = Client(client_id="a", name="A", kind="app", redirect_uris=("http://127.0.0.1:7/cb",))

    assert client.takes_redirect("http://127.0.0.1:7/cb")
    assert not client.takes_redirect("http://127.0.0.1:8/cb")
