"""The stand-in VNeID: a strict OpenID provider, with a plain page."""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import quote_plus

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from adapters.vneid.stand_in.person import claims_of, invented
from auth.server.token import challenge
from tests.auth.world import MOTHER, STRANGER, World, query_of

VERIFIER = "v" * 43
CALLBACK = "http://testserver/auth/callback"
BASIC = "Basic " + b64encode(f"fhir-server:{quote_plus('s3cret+/=')}".encode()).decode()


def asked(**changes: str | None) -> dict[str, str]:
    values: dict[str, str | None] = {
        "response_type": "code",
        "client_id": "fhir-server",
        "redirect_uri": CALLBACK,
        "scope": "openid",
        "state": "st",
        "nonce": "no",
        "code_challenge": challenge(VERIFIER),
        "code_challenge_method": "S256",
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


async def log_in(world: World, number: str = MOTHER, **entered: str) -> Any:
    return await world.http.post(
        "/vneid/authorize", params=asked(), data={"cccd": number, **entered}
    )


async def code_of(world: World, number: str = MOTHER, **entered: str) -> str:
    answer = await log_in(world, number, **entered)
    assert answer.status_code == 303, answer.text
    return query_of(answer.headers["location"])["code"]


async def redeem(world: World, code: str, *, basic: str = BASIC, **changes: str) -> Any:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    headers = {"authorization": basic} if basic else {}
    return await world.http.post("/vneid/token", data=form | changes, headers=headers)


async def claims_for(world: World, number: str, **entered: str) -> dict[str, Any]:
    answer = (await redeem(world, await code_of(world, number, **entered))).json()
    keys = KeySet.import_key_set((await world.http.get("/vneid/jwks")).json())
    claims = jwt.decode(answer["id_token"], keys, ["ES256"]).claims
    headers = {"authorization": f"Bearer {answer['access_token']}"}
    more = (await world.http.get("/vneid/userinfo", headers=headers)).json()
    assert more.items() <= claims.items()
    return claims


async def test_discovery_names_what_is_there(world: World) -> None:
    """The issuer's own document, whose endpoints answer."""
    document = (await world.http.get("/vneid/.well-known/openid-configuration")).json()

    assert document["issuer"] == "http://testserver/vneid"
    for name in ("authorization", "token", "userinfo"):
        answer = await world.http.get(document[f"{name}_endpoint"])
        assert answer.status_code in {400, 401, 405}
    assert (await world.http.get(document["jwks_uri"])).status_code == 200


async def test_the_page_is_plain(world: World) -> None:
    """`input[name=cccd]`, `select[name=level]` with 2 chosen, a button; optional name and date."""
    answer = await world.http.get("/vneid/authorize", params=asked())

    assert answer.status_code == 200
    for part in (
        'name="cccd"',
        '<select id="level" name="level">',
        '<option value="2" selected>',
        'button type="submit"',
        'name="name"',
        'name="birthdate"',
        'lang="vi"',
    ):
        assert part in answer.text


async def test_the_holders_claims_are_the_patients(world: World) -> None:
    """Name, birth date and sex of the Patient who holds the number, in VNeID's names."""
    claims = await claims_for(world, MOTHER)

    assert claims["SoDinhDanh"] == MOTHER
    assert claims["HoVaTen"] == "NGUYỄN THỊ MẪU"
    assert claims["NgayThangNamSinh"] == "19950307"
    assert claims["GioiTinh"] == "Nữ"
    assert claims["LoaiTaiKhoan"] == "1"
    assert (claims["acr"], claims["nonce"]) == ("LoA2", "no")
    assert (claims["iss"], claims["aud"]) == ("http://testserver/vneid", "fhir-server")
    assert MOTHER not in claims["sub"]


async def test_an_unknown_number_is_somebody_invented(world: World) -> None:
    """Sex and 1 January of the year that the number says; the same each time."""
    claims = await claims_for(world, STRANGER)

    assert (claims["NgayThangNamSinh"], claims["GioiTinh"]) == ("19800101", "Nam")
    assert claims["HoVaTen"]
    assert claims["HoVaTen"] == (await claims_for(world, STRANGER))["HoVaTen"]


async def test_what_is_filled_in_is_claimed_instead(world: World) -> None:
    """Name and birth date; a number with spaces is read."""
    claims = await claims_for(
        world, " 001195 012345 ", name="NGUYỄN THỊ MỚI", birthdate="1995-03-08", level="1"
    )

    assert (claims["HoVaTen"], claims["NgayThangNamSinh"]) == ("NGUYỄN THỊ MỚI", "19950308")
    assert (claims["SoDinhDanh"], claims["acr"]) == (MOTHER, "LoA1")


@pytest.mark.parametrize(
    "entered",
    [
        {"cccd": "12345678901"},
        {"cccd": "1234567890123"},
        {"cccd": "00119501234x"},
        {"cccd": ""},
        {"cccd": "٠٠١١٩٥٠١٢٣٤٥"},
        {"cccd": MOTHER, "level": "3"},
        {"cccd": MOTHER, "birthdate": "1995-13-01"},
        {"cccd": MOTHER, "birthdate": "2100-01-01"},
        {"cccd": MOTHER, "name": "x" * 101},
    ],
    ids=str,
)
async def test_a_wrong_entry_shows_the_page_again(world: World, entered: dict[str, str]) -> None:
    """400, with what was typed and what is wrong."""
    answer = await world.http.post("/vneid/authorize", params=asked(), data=entered)

    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert 'name="cccd"' in answer.text


async def test_what_was_typed_is_shown_as_text(world: World) -> None:
    """It cannot become markup."""
    answer = await log_in(world, '"><script>x</script>')

    assert "<script" not in answer.text


async def test_the_answer_says_whose_it_is(world: World) -> None:
    """`state` as it came, and `iss` (RFC 9207)."""
    answer = await log_in(world)

    assert answer.headers["location"].startswith(CALLBACK + "?")
    sent = query_of(answer.headers["location"])
    assert (sent["state"], sent["iss"]) == ("st", "http://testserver/vneid")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "other"},
        {"client_id": None},
        {"redirect_uri": None},
        {"redirect_uri": "http://testserver/auth/callback/"},
        {"redirect_uri": "http://evil/"},
    ],
    ids=str,
)
async def test_nothing_is_sent_to_a_place_that_is_not_registered(
    world: World, method: str, changes: dict[str, str | None]
) -> None:
    """400, no redirect, whatever the method."""
    for accept in ("text/html", "application/json"):
        answer = await world.http.request(
            method,
            "/vneid/authorize",
            params=asked(**changes),
            headers={"accept": accept},
            data={"cccd": MOTHER} if method == "POST" else None,
        )
        assert answer.status_code == 400
        assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_told_by_redirect(
    world: World, changes: dict[str, str | None], error: str
) -> None:
    """PKCE with S256 is required."""
    answer = await world.http.get("/vneid/authorize", params=asked(**changes))

    assert query_of(answer.headers["location"])["error"] == error


async def test_a_code_is_used_once_and_its_token_ends_with_the_second_use(world: World) -> None:
    """A replay is refused, and userinfo no longer answers."""
    code = await code_of(world)
    first = (await redeem(world, code)).json()
    headers = {"authorization": f"Bearer {first['access_token']}"}
    assert (await world.http.get("/vneid/userinfo", headers=headers)).status_code == 200

    again = await redeem(world, code)

    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert (await world.http.get("/vneid/userinfo", headers=headers)).status_code == 401


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"code_verifier": "w" * 43}, 400, "invalid_grant"),
        ({"code_verifier": ""}, 400, "invalid_grant"),
        ({"redirect_uri": "http://evil/"}, 400, "invalid_grant"),
        ({"code": "x"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"basic": ""}, 401, "invalid_client"),
        ({"basic": "Basic x"}, 401, "invalid_client"),
        ({"basic": "Basic " + b64encode(b"fhir-server:wrong").decode()}, 401, "invalid_client"),
        ({"basic": "Basic " + b64encode(b"\xff\xfe").decode()}, 401, "invalid_client"),
        ({"basic": "", "client_id": "fhir-server", "client_secret": "s3cret+/="}, 200, None),
        ({"basic": "", "client_id": "fhir-server", "client_secret": "x"}, 401, "invalid_client"),
    ],
    ids=str,
)
async def test_a_token_request_is_checked(
    world: World, changes: dict[str, str], status: int, error: str | None
) -> None:
    """Verifier, redirect URI, code, and the secret either way (RFC 6749, 2.3.1)."""
    form = {"code": await code_of(world)} | changes
    basic = form.pop("basic", BASIC)
    answer = await redeem(world, form.pop("code"), basic=basic, **form)

    assert (answer.status_code, answer.json().get("error")) == (status, error)


async def test_a_code_ends_after_a_minute(world: World) -> None:
    """And an access token after five."""
    code, other = await code_of(world), await code_of(world)
    token = (await redeem(world, other)).json()["access_token"]
    world.clock.pass_by(61)
    assert (await redeem(world, code)).status_code == 400
    world.clock.pass_by(240)

    answer = await world.http.get("/vneid/userinfo", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert "invalid_token" in answer.headers["www-authenticate"]


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer x", "Basic x"])
async def test_userinfo_needs_a_token(world: World, authorization: str) -> None:
    """401 without one of ours."""
    answer = await world.http.get("/vneid/userinfo", headers={"authorization": authorization})

    assert answer.status_code == 401


async def test_another_method_is_refused(world: World) -> None:
    """405 with `Allow`."""
    answer = await world.http.put("/vneid/token")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("number", "born", "gender"),
    [
        ("001093054321", "1993-01-01", "male"),
        ("001195012345", "1995-01-01", "female"),
        ("001225000017", "2025-01-01", "male"),
        ("001318000025", "2018-01-01", "female"),
        ("001400000000", "2100-01-01", "male"),
        ("001999999999", "2399-01-01", "female"),
    ],
)
def test_the_number_says_century_year_and_sex(number: str, born: str, gender: str) -> None:
    """TT 59/2021/TT-BCA: the fourth digit and the two after it."""
    person = invented(number)

    assert (person.birth_date, person.gender) == (born, gender)


def test_a_sex_that_is_not_known_is_not_claimed() -> None:
    """A Patient with another gender, or none: the claim is absent; a year alone stays one."""
    person = type(invented(MOTHER))("A", "1958", "other")
    claims = claims_of(MOTHER, person, issuer="i", acr="LoA2", number_claim="id")

    assert "GioiTinh" not in claims
    assert (claims["NgayThangNamSinh"], claims["id"]) == ("1958", MOTHER)
