"""`/auth/authorize` and the callback: the code flow, and attacks on it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import httpx2
import pytest

from adapters.vneid.client import Registration, VneidClient
from adapters.vneid.stand_in.person import Person
from auth.client import Client
from auth.ports import Claims, Settled
from fhir_server.model.outcome import Conflict, FhirError, Unavailable
from tests.auth.world import APP_REDIRECT, FATHER, MOTHER, STRANGER, World, query_of

VERIFIER = "v" * 43


async def test_the_browser_is_sent_to_vneid(world: World) -> None:
    """With our own state, nonce and PKCE, asking for level 2; nothing of the app's."""
    answer = await world.http.get("/auth/authorize", params=world.asked(VERIFIER, nonce="app-n"))

    assert answer.status_code == 303
    assert answer.headers["cache-control"] == "no-store"
    url = answer.headers["location"]
    assert url.startswith("http://testserver/vneid/authorize?")
    sent = query_of(url)
    assert sent["redirect_uri"] == "http://testserver/auth/callback"
    assert sent["code_challenge_method"] == "S256"
    assert sent["acr_values"] == "LoA2"
    assert sent["state"] != "the-state"
    assert sent["nonce"] != "app-n"
    assert sent["code_challenge"] != world.asked(VERIFIER)["code_challenge"]


async def test_the_app_gets_its_code(world: World) -> None:
    """With its own state and our issuer (RFC 9207), at its redirect URI."""
    given = await world.code_for(MOTHER)

    assert set(given) == {"code", "state", "iss"}
    assert (given["state"], given["iss"]) == ("the-state", world.origin)


async def test_a_request_may_be_posted(world: World) -> None:
    """SMART's authorize-post."""
    answer = await world.http.post("/auth/authorize", data=world.asked(VERIFIER))

    assert answer.status_code == 303
    assert "/vneid/authorize" in answer.headers["location"]


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": "nobody"},
        {"client_id": "hospital-01999"},
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": "http://127.0.0.1:5555/callback/../x"},
        {"redirect_uri": "http://127.0.0.1:5555/callback#x"},
        {"redirect_uri": "http://127.0.0.1:5555@evil.example/callback"},
        {"redirect_uri": "//evil.example/callback"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "http://127.0.0.1:5555/callback\r\nX: y"},
        {"redirect_uri": "http://testserver/book/callback"},
    ],
    ids=str,
)
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
async def test_nothing_is_sent_to_a_place_that_is_not_registered(
    world: World, changes: dict[str, str | None], accept: str
) -> None:
    """400 without a redirect: JSON to a program, a page to a browser."""
    answer = await world.http.get(
        "/auth/authorize", params=world.asked(VERIFIER, **changes), headers={"accept": accept}
    )

    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert "evil" not in answer.text
    if accept == "text/html":
        assert "<h1>" in answer.text
    else:
        assert answer.json()["error"] == "invalid_request"


async def test_a_parameter_that_comes_twice_is_refused(world: World) -> None:
    """Two redirect URIs: neither is used."""
    query = [*world.asked(VERIFIER).items(), ("redirect_uri", "https://evil.example/")]

    answer = await world.http.get("/auth/authorize", params=query)

    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "unsupported_response_type"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "v" * 44}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"aud": None, "resource": "http://evil.example/fhir"}, "invalid_request"),
        ({"aud": "http://evil.example/fhir"}, "invalid_request"),
        ({"aud": "http://testserver"}, "invalid_request"),
        ({"aud": "http://testserver/fhir/x"}, "invalid_request"),
        ({"scope": "system/*.rs"}, "invalid_scope"),
        ({"scope": "user/*.rs nonsense"}, "invalid_scope"),
        ({"scope": "launch/patient offline_access"}, "invalid_scope"),
        ({"scope": "nothing"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?category=laboratory"}, "invalid_scope"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"request": "x.y.z"}, "request_not_supported"),
        ({"request_uri": "https://x"}, "request_uri_not_supported"),
        ({"prompt": "none"}, "login_required"),
        ({"nonce": "x" * 3000}, "invalid_request"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_told_to_the_app(
    world: World, changes: dict[str, str | None], error: str
) -> None:
    """By redirect with its state; nobody is asked to log in."""
    answer = await world.http.get("/auth/authorize", params=world.asked(VERIFIER, **changes))

    assert answer.status_code == 303
    assert answer.headers["location"].startswith(APP_REDIRECT + "?")
    told = query_of(answer.headers["location"])
    assert (told["error"], told["state"], told["iss"]) == (error, "the-state", world.origin)


@pytest.mark.parametrize(
    "asked",
    [
        {"aud": "http://testserver/fhir"},
        {"aud": "http://testserver/fhir/"},
        {"aud": None, "resource": "http://testserver/fhir"},
        {"aud": None, "scope": "openid fhirUser"},
        {"aud": None},
    ],
    ids=str,
)
async def test_aud_is_the_fhir_base(world: World, asked: dict[str, str | None]) -> None:
    """With or without a slash at its end; who asks for no resource may leave it out."""
    answer = await world.http.get("/auth/authorize", params=world.asked(VERIFIER, **asked))

    assert "/vneid/authorize" in answer.headers["location"]


async def test_scopes_are_narrowed_to_what_is_registered(world: World) -> None:
    """What the app is not registered for is left out of the grant."""
    answer = await world.citizen(MOTHER, scope="patient/*.cruds system/*.rs openid profile")

    assert answer["scope"] == "patient/*.rs patient/Consent.cud openid"


async def test_openid_alone_says_who_it_is_and_opens_nothing(world: World) -> None:
    """An OpenID relying party gets an id_token; its access token shows no resource."""
    answer = await world.citizen(MOTHER, scope="openid fhirUser")
    access = await world.access(answer["access_token"])

    assert answer["id_token"]
    assert access.policy.narrow("read", "Patient") is None
    assert access.policy.narrow("$health-book", "Patient") is None


async def test_a_state_is_sent_back_as_it_came(world: World) -> None:
    """Whatever is in it: it cannot add a parameter or a header."""
    state = "a&code=x#y \r\nSet-Cookie: z=1 ế"

    assert (await world.code_for(MOTHER, state=state))["state"] == state


async def test_a_disabled_app_is_refused(world: World) -> None:
    """Disabled is unknown, also between the log-in and the code."""
    async with world.new_http() as browser:
        start = await browser.get("/auth/authorize", params=world.asked(VERIFIER))
        await world.grants.disable("vneid-app")
        answer = await world.log_in(browser, start, STRANGER)

    assert answer.status_code == 400
    again = await world.http.get("/auth/authorize", params=world.asked(VERIFIER))
    assert again.status_code == 400


# --- the callback ------------------------------------------------------------------------


async def callback_url(world: World, browser, number: str = MOTHER) -> str:
    """Where the stand-in sends the browser after the log-in, not yet opened."""
    start = await browser.get("/auth/authorize", params=world.asked(VERIFIER))
    answer = await browser.post(start.headers["location"], data={"cccd": number})
    assert answer.status_code == 303
    return answer.headers["location"]


async def test_a_login_is_taken_up_once(world: World) -> None:
    """The same callback again is refused, and sends nobody anywhere."""
    async with world.new_http() as browser:
        url = await callback_url(world, browser, STRANGER)
        first = await browser.get(url)
        again = await browser.get(url)

    assert first.headers["location"].startswith(APP_REDIRECT)
    assert again.status_code == 400
    assert "location" not in again.headers


async def test_another_browser_cannot_finish_a_login(world: World) -> None:
    """A victim who opens an attacker's callback is not logged in to the attacker's book."""
    async with world.new_http() as attacker, world.new_http() as victim:
        url = await callback_url(world, attacker, STRANGER)
        await victim.get("/auth/authorize", params=world.asked(VERIFIER))

        answer = await victim.get(url)
        own = await attacker.get(url)

    assert answer.status_code == 400
    assert own.headers["location"].startswith(APP_REDIRECT)


async def test_two_logins_in_one_browser_do_not_disturb_each_other(world: World) -> None:
    """Two windows, two log-ins."""
    async with world.new_http() as browser:
        first = await callback_url(world, browser, STRANGER)
        second = await callback_url(world, browser, STRANGER)

        assert (await browser.get(first)).headers["location"].startswith(APP_REDIRECT)
        assert (await browser.get(second)).headers["location"].startswith(APP_REDIRECT)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "state=x&code=y",
        "code=y",
        "state=&code=",
        "state=a&state=b",
        "state=%E1%BA%BF&code=%E1%BA%BF",
    ],
)
async def test_a_callback_that_nobody_waits_for_is_refused(world: World, query: str) -> None:
    """An unknown state gives a page or an error, never a redirect."""
    answer = await world.http.get(f"/auth/callback?{query}")

    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_a_login_ends_after_a_quarter_of_an_hour(world: World) -> None:
    """Who waits longer starts again."""
    async with world.new_http() as browser:
        url = await callback_url(world, browser)
        world.clock.pass_by(901)

        assert (await browser.get(url)).status_code == 400


@pytest.mark.parametrize("change", ["iss=http%3A%2F%2Fevil.example", "iss=", "code=other"])
async def test_a_mixed_up_answer_is_refused(world: World, change: str) -> None:
    """Another provider's answer, or another code: access_denied, and no grant."""
    async with world.new_http() as browser:
        url = await callback_url(world, browser)
        name = change.partition("=")[0]
        answer = await browser.get(re.sub(rf"{name}=[^&]*", change, url))

    assert query_of(answer.headers["location"])["error"] == "access_denied"
    assert await world.ledger.scan("family") == []


async def test_a_refused_login_is_told_to_the_app(world: World) -> None:
    """VNeID's `error` becomes access_denied."""
    async with world.new_http() as browser:
        url = await callback_url(world, browser)
        state = query_of(url)["state"]
        answer = await browser.get(f"/auth/callback?state={state}&error=access_denied")

    assert query_of(answer.headers["location"])["error"] == "access_denied"


@pytest.mark.parametrize(
    "refusal", [Unavailable("The store is down."), Conflict("Too many at once.")]
)
async def test_a_number_that_cannot_be_settled_now_is_told_to_the_app(
    world: World, refusal: FhirError
) -> None:
    """temporarily_unavailable, and no grant; the person may try again."""

    async def settle(_claims: Claims) -> Settled:  # noqa: RUF029 - the port's shape
        raise refusal

    world.citizens.settle = settle  # type: ignore[method-assign]
    async with world.new_http() as browser:
        answer = await browser.get(await callback_url(world, browser))

    assert query_of(answer.headers["location"])["error"] == "temporarily_unavailable"
    assert await world.ledger.scan("family") == []


async def test_a_token_endpoint_that_does_not_answer_is_told_to_the_app(world: World) -> None:
    """Down between the log-in and the code: temporarily_unavailable."""
    async with world.new_http() as browser:
        url = await callback_url(world, browser)
        await world.back_http.aclose()
        world.provider._http = httpx2.AsyncClient(
            transport=httpx2.MockTransport(lambda _: httpx2.Response(503))
        )
        answer = await browser.get(url)

    assert query_of(answer.headers["location"])["error"] == "temporarily_unavailable"


async def test_level_1_is_told_what_to_do(world: World) -> None:
    """A page in both languages, with a way back to the app and a way to log in again."""
    async with world.new_http() as browser:
        start = await browser.get("/auth/authorize", params=world.asked(VERIFIER))
        answer = await world.log_in(browser, start, MOTHER, level="1")

        assert answer.status_code == 403
        assert "mức độ 2" in answer.text
        assert "level-2" in answer.text
        assert world.citizens.claimed == []
        links = [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]+)"', answer.text)]
        assert query_of(links[1]) == {
            "error": "access_denied",
            "state": "the-state",
            "iss": world.origin,
        }
        again = await browser.get(links[0])
        finished = await world.log_in(browser, again, MOTHER, patient="mother")

    code = query_of(finished.headers["location"])["code"]
    assert (await world.redeem(code)).status_code == 200


async def test_a_birth_date_in_the_future_is_refused_on_a_page(world: World) -> None:
    """Nothing is settled, no grant is opened; the page says why and leads back to the app."""

    async def born_later(_number: str) -> Person:  # noqa: RUF029 - the lookup's shape
        return Person("TRẦN MẪU", "2100-01-01", "male")

    object.__setattr__(world.idp, "lookup", born_later)
    async with world.new_http() as browser:
        start = await browser.get("/auth/authorize", params=world.asked(VERIFIER))
        answer = await world.log_in(browser, start, MOTHER)

    assert answer.status_code == 403
    assert "tương lai" in answer.text
    assert "in the future" in answer.text
    links = [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]+)"', answer.text)]
    assert query_of(links[-1])["error"] == "access_denied"
    assert world.citizens.claimed == []
    assert await world.ledger.scan("family") == []


async def test_a_provider_that_does_not_answer_is_told_to_the_app(world: World) -> None:
    """temporarily_unavailable; the server itself goes on."""
    nobody = Registration("http://testserver/nobody", "c", "s")
    object.__setattr__(
        world.server,
        "provider",
        VneidClient(nobody, world.back_http, world.jwks_cache, world.clock),
    )

    answer = await world.http.get("/auth/authorize", params=world.asked(VERIFIER))

    assert query_of(answer.headers["location"])["error"] == "temporarily_unavailable"


# --- whose book --------------------------------------------------------------------------


async def whose(world: World, browser, number: str = MOTHER) -> tuple[str, str]:
    """The page that asks whose book, and its handle."""
    start = await browser.get("/auth/authorize", params=world.asked(VERIFIER))
    answer = await world.log_in(browser, start, number)
    handle = re.search(r'name="login" value="([^"]+)"', answer.text)
    assert handle is not None, answer.text
    return answer.text, handle[1]


async def test_a_guardian_is_asked_whose_book(world: World) -> None:
    """Own first and chosen, then the children by name."""
    async with world.new_http() as browser:
        text, _ = await whose(world, browser)

    assert re.findall(r'<option value="([^"]+)"', text) == ["mother", "bao"]
    assert 'value="mother" selected' in text
    assert "TRẦN BẢO MẪU" in text


async def test_who_has_no_children_is_not_asked(world: World) -> None:
    """The code comes at once."""
    answer = await world.citizen(STRANGER)

    assert answer["patient"] == "stranger"


async def test_who_does_not_ask_for_launch_patient_gets_the_own_book(world: World) -> None:
    """Without launch/patient nobody is asked."""
    answer = await world.citizen(MOTHER, scope="patient/*.rs")

    assert answer["patient"] == "mother"


@pytest.mark.parametrize("patient", ["father", "stranger", "", "bao/../mother", "Patient/bao"])
async def test_a_strangers_book_cannot_be_chosen(world: World, patient: str) -> None:
    """An id that is not on the page is refused, and the log-in ends."""
    async with world.new_http() as browser:
        _, handle = await whose(world, browser)
        answer = await browser.post("/auth/patient", data={"login": handle, "patient": patient})

    assert answer.status_code == 400
    assert await world.ledger.scan("family") == []


async def test_a_child_whose_guardianship_has_just_ended_cannot_be_chosen(world: World) -> None:
    """It is asked again when the form comes."""
    async with world.new_http() as browser:
        _, handle = await whose(world, browser, FATHER)
        world.citizens.links[FATHER] = ()
        answer = await browser.post("/auth/patient", data={"login": handle, "patient": "bao"})

    assert answer.status_code == 400


async def test_the_choice_is_this_browsers_and_made_once(world: World) -> None:
    """A forged form from another browser is refused; so is the form sent twice."""
    async with world.new_http() as browser, world.new_http() as other:
        _, handle = await whose(world, browser)
        form = {"login": handle, "patient": "mother"}
        forged = await other.post("/auth/patient", data=form)
        first = await browser.post("/auth/patient", data=form)
        again = await browser.post("/auth/patient", data=form)

    assert forged.status_code == again.status_code == 400
    assert first.status_code == 303


async def test_a_login_under_way_is_no_choice(world: World) -> None:
    """The state sent to VNeID cannot be used to skip VNeID."""
    async with world.new_http() as browser:
        start = await browser.get("/auth/authorize", params=world.asked(VERIFIER))
        state = query_of(start.headers["location"])["state"]
        answer = await browser.post("/auth/patient", data={"login": state, "patient": "mother"})

    assert answer.status_code == 400
    assert await world.ledger.scan("family") == []


async def test_pages_let_nothing_else_in(world: World) -> None:
    """A strict Content-Security-Policy, no script, no frame, nothing from elsewhere."""
    async with world.new_http() as browser:
        start = await browser.get("/auth/authorize", params=world.asked(VERIFIER))
        login = await browser.get(start.headers["location"])
        answer = await world.log_in(browser, start, MOTHER)

    for page in (login, answer):
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-frame-options"] == "DENY"
        assert "<script" not in page.text
        assert "src=" not in page.text
        assert 'name="viewport"' in page.text
    assert "form-action 'self' http://127.0.0.1:5555" in answer.headers["content-security-policy"]


async def test_a_name_is_shown_as_text(world: World) -> None:
    """A child's name cannot become markup."""
    child = world.citizens.links[MOTHER][0]
    world.citizens.links[MOTHER] = (type(child)("x", "l", '"><script>alert(1)</script>'),)
    async with world.new_http() as browser:
        text, _ = await whose(world, browser)

    assert "<script" not in text


async def test_the_cookie_of_a_login_is_hard_to_steal(world: World) -> None:
    """HttpOnly, Lax, and of `/auth` alone; its value is not the state."""
    answer = await world.http.get("/auth/authorize", params=world.asked(VERIFIER))

    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert "Path=/auth" in cookie
    assert query_of(answer.headers["location"])["state"] not in cookie


async def test_over_tls_cookies_are_secure(tmp_path) -> None:
    """`Secure`, and with the prefix that no other host of the domain can set."""
    world = await World(tmp_path, origin="https://book.example").start()
    answer = await world.http.get("/auth/authorize", params=world.asked(VERIFIER))
    await world.stop()

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-login=")
    assert "Secure" in cookie
    assert "Path=/;" in cookie


async def test_an_apps_own_scheme_gets_its_answer(world: World) -> None:
    """A registered private scheme is exact, and allowed by the page's policy."""
    await world.grants.register(
        Client(
            client_id="native",
            name="N",
            kind="app",
            redirect_uris=("vn.example.app:/cb?x=1",),
            scopes=("launch/patient", "patient/*.rs"),
        )
    )
    changes = {"client_id": "native", "redirect_uri": "vn.example.app:/cb?x=1"}
    async with world.new_http() as browser:
        start = await browser.get("/auth/authorize", params=world.asked(VERIFIER, **changes))
        page = await world.log_in(browser, start, MOTHER)
        answer = await world.log_in(
            browser,
            await browser.get("/auth/authorize", params=world.asked(VERIFIER, **changes)),
            MOTHER,
            patient="bao",
        )

    assert "vn.example.app:" in page.headers["content-security-policy"]
    assert urlsplit(answer.headers["location"]).scheme == "vn.example.app"
    assert answer.headers["location"].startswith("vn.example.app:/cb?x=1&code=")
