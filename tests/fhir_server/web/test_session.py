"""The web book's log-in and session, and attacks on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from auth.server.demo import web_book
from fhir_server.model.outcome import UnknownResource
from tests.auth.world import MOTHER, STRANGER, World, query_of


@pytest.fixture
async def access(tmp_path: Path) -> AsyncIterator[World]:
    """Access, whole, with a small book."""
    world = await World(tmp_path).start()
    yield world
    await world.stop()


@pytest.fixture
async def browser(access: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with access.new_http() as browser:
        yield browser


async def open_book(
    world: World, browser: httpx2.AsyncClient, number: str = MOTHER
) -> httpx2.Response:
    return await world.log_in(browser, await browser.get("/book"), number)


async def test_without_a_session_a_page_leads_to_the_login(
    access: World, browser: httpx2.AsyncClient
) -> None:
    """303, through the authorization server to VNeID."""
    answer = await browser.get("/book")

    assert (answer.status_code, answer.headers["location"]) == (303, "/book/login")
    begun = await browser.get("/book/login")
    asked = query_of(begun.headers["location"])
    assert begun.headers["location"].startswith(f"{access.origin}/auth/authorize?")
    assert (asked["client_id"], asked["redirect_uri"]) == (
        "web-book",
        "http://testserver/book/callback",
    )
    assert asked["code_challenge_method"] == "S256"
    assert "launch/patient" not in asked["scope"]


async def test_a_login_opens_the_own_book(access: World, browser: httpx2.AsyncClient) -> None:
    """Level 2, the children of today, what was kept apart; nobody is asked whose book."""
    access.citizens.apart = ("79999",)
    answer = await open_book(access, browser)

    book = answer.json()
    assert (book["patient"], book["level"], book["children"]) == ("mother", 2, ["bao"])
    assert book["kept_apart"] == ["79999"]
    assert book["sees_links"] is True
    assert (await browser.get("/book")).json()["patient"] == "mother"


async def test_a_server_of_another_origin_does_not_close_the_book(
    access: World, browser: httpx2.AsyncClient
) -> None:
    """Its start has registered the web book for itself; here it opens, and leads nowhere else."""
    await access.grants.register(web_book("https://other.example"))

    answer = await open_book(access, browser)
    elsewhere = access.asked(
        "v" * 43, client_id="web-book", redirect_uri="https://other.example/book/callback"
    )
    refused = await browser.get("/auth/authorize", params=elsewhere)

    assert answer.json()["patient"] == "mother"
    assert refused.status_code == 400


async def test_a_guardian_opens_a_childs_book(access: World, browser: httpx2.AsyncClient) -> None:
    """As the child's Patient, by the guardian."""
    await open_book(access, browser)

    answer = await browser.get("/book/children/bao")

    assert answer.json() == {"patient": "bao", "by": "Patient/mother"}


async def test_a_strangers_book_is_unknown(access: World, browser: httpx2.AsyncClient) -> None:
    """Also a child's whose guardianship ended while the session went on."""
    await open_book(access, browser)
    with pytest.raises(UnknownResource):
        await browser.get("/book/children/stranger")

    access.citizens.links[MOTHER] = ()
    with pytest.raises(UnknownResource):
        await browser.get("/book/children/bao")


async def test_the_page_asked_for_comes_after_the_login(
    access: World, browser: httpx2.AsyncClient
) -> None:
    """A link into the book, with its language."""
    start = await browser.get("/book/children/bao?lang=en&x=1")
    assert (
        start.headers["location"]
        == f"/book/login?page={quote('/book/children/bao?lang=en', safe='')}"
    )

    answer = await access.log_in(browser, start, MOTHER)

    assert str(answer.url) == "http://testserver/book/children/bao?lang=en"


@pytest.mark.parametrize(
    "page",
    [
        "https://evil.example",
        "//evil.example",
        "/book//evil.example",
        "/book/../auth",
        "/bookx",
        "/book\\evil",
        "/book?lang=en&x=1",
        "javascript:x",
        "/book/a b",
        "/vneid",
        "/book\n",
    ],
)
async def test_a_login_leads_to_pages_of_the_book_alone(
    access: World, browser: httpx2.AsyncClient, page: str
) -> None:
    """No open redirect."""
    start = await browser.get("/book/login", params={"page": page})

    answer = await access.log_in(browser, start, STRANGER)

    assert answer.url.host == "testserver"
    assert answer.url.path == "/book"


async def test_the_cookie_is_opaque_and_new_at_every_login(
    access: World, browser: httpx2.AsyncClient
) -> None:
    """HttpOnly, Lax; a cookie planted before the log-in is worth nothing after it."""
    browser.cookies.set("book", "planted-by-an-attacker")
    await open_book(access, browser)
    first = [cookie for cookie in browser.cookies.jar if cookie.name == "book"]
    value = first[-1].value
    assert value != "planted-by-an-attacker"
    assert value is not None
    assert len(value) == 43
    assert first[-1].has_nonstandard_attr("HttpOnly")
    assert "mother" not in value

    browser.cookies.clear()
    browser.cookies.set("book", "planted-by-an-attacker")
    assert (await browser.get("/book")).status_code == 303


async def test_a_second_login_ends_the_first_session(
    access: World, browser: httpx2.AsyncClient
) -> None:
    """The old cookie opens nothing any more."""
    await open_book(access, browser)
    old = browser.cookies["book"]
    answer = await access.log_in(browser, await browser.get("/book/login"), STRANGER)
    assert answer.json()["patient"] == "stranger"

    async with access.new_http() as thief:
        thief.cookies.set("book", old)
        assert (await thief.get("/book")).status_code == 303


async def test_a_logout_ends_session_and_grant(access: World, browser: httpx2.AsyncClient) -> None:
    """The cookie opens nothing afterwards, wherever it was copied."""
    csrf = (await open_book(access, browser)).json()["csrf"]
    value = browser.cookies["book"]

    answer = await browser.post("/book/logout", data={"csrf": csrf})

    assert answer.status_code == 303
    assert "book" not in browser.cookies
    assert "đăng xuất" in (await browser.get(answer.headers["location"])).text
    browser.cookies.set("book", value)
    assert (await browser.get("/book")).status_code == 303
    families = [
        family for family in await access.ledger.scan("family") if b'"revoked":true' in family
    ]
    assert len(families) == 1


@pytest.mark.parametrize("form", [{"csrf": ""}, {"csrf": "x"}, {"csrf": "ế"}])
async def test_a_forged_form_is_refused(
    access: World, browser: httpx2.AsyncClient, form: dict[str, str]
) -> None:
    """Without the session's own token nothing is changed."""
    await open_book(access, browser)

    assert (await browser.post("/book/logout", data=form)).status_code == 403
    assert (await browser.post("/book/notes", data=form)).json() == {"holds": False}
    assert (await browser.get("/book")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
async def test_a_logout_from_another_site_is_refused(
    access: World, browser: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    """Where a browser says that the form is another's, it needs the session's own token."""
    await open_book(access, browser)

    assert (await browser.post("/book/logout", headers=headers)).status_code == 403
    assert (await browser.get("/book")).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"origin": "http://testserver"}], ids=str)
async def test_a_logout_without_the_field_is_taken(
    access: World, browser: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    """The cookie is not sent from other sites: a bare POST of the own site ends the session."""
    await open_book(access, browser)

    assert (await browser.post("/book/logout", headers=headers)).status_code == 303
    assert (await browser.get("/book")).status_code == 303
    assert (await browser.post("/book/notes")).json() == {"holds": False}


async def test_another_sessions_token_is_no_proof(
    access: World, browser: httpx2.AsyncClient
) -> None:
    """A form carries the token of its own session."""
    csrf = (await open_book(access, browser)).json()["csrf"]
    assert (await browser.post("/book/notes", data={"csrf": csrf})).json() == {"holds": True}

    async with access.new_http() as other:
        await open_book(access, other, STRANGER)
        assert (await other.post("/book/notes", data={"csrf": csrf})).json() == {"holds": False}
        assert (await other.post("/book/logout", data={"csrf": csrf})).status_code == 403


async def test_logging_out_without_a_session_does_no_harm(browser: httpx2.AsyncClient) -> None:
    """It says that nobody is logged in."""
    answer = await browser.post("/book/logout")

    assert (answer.status_code, answer.headers["location"]) == (303, "/book/logged-out")


async def test_what_ends_the_grant_ends_the_session(
    access: World, browser: httpx2.AsyncClient
) -> None:
    """A revocation, a disabled client, the time: at the next request."""
    await open_book(access, browser)
    await access.grants.disable("web-book")
    assert (await browser.get("/book")).status_code == 303


async def test_a_session_ends_after_four_hours(access: World, browser: httpx2.AsyncClient) -> None:
    """Then the person logs in again."""
    await open_book(access, browser)
    access.clock.pass_by(4 * 3600 - 1)
    assert (await browser.get("/book")).status_code == 200
    access.clock.pass_by(2)
    assert (await browser.get("/book")).status_code == 303


async def test_another_browser_cannot_take_up_the_login(
    access: World, browser: httpx2.AsyncClient
) -> None:
    """An attacker's callback does not log a victim in to the attacker's book."""
    begun = await browser.get("/book/login")
    login = await access.follow(browser, begun)
    answer = await browser.post(str(login.url), data={"cccd": STRANGER})
    to_book = await browser.get(answer.headers["location"])
    url = to_book.headers["location"]
    assert "/book/callback?code=" in url

    async with access.new_http() as victim:
        await victim.get("/book/login")
        assert (await victim.get(url)).status_code == 400
        assert (await victim.get("/book")).status_code == 303
    assert (await browser.get(url)).status_code == 303


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=x&state=y",
        "error=access_denied&state=y",
        "code=x&state=%E1%BA%BF",
        "code=x&code=y&state=z",
    ],
)
async def test_a_callback_that_nobody_waits_for_is_refused(
    browser: httpx2.AsyncClient, query: str
) -> None:
    """A page, no session."""
    await browser.get("/book/login")
    answer = await browser.get(f"/book/callback?{query}")

    assert answer.status_code == 400
    assert "book" not in browser.cookies


@pytest.mark.parametrize("cookie", ["", "x", "e30", "eyJzdGF0ZSI6IiJ9", "ÿ"])
async def test_a_broken_cookie_is_no_login(access: World, cookie: str) -> None:
    """Whatever a browser sends: a page, never a 500."""
    async with access.new_http() as browser:
        header = f"book-login={cookie}; book={cookie}".encode("latin-1")
        answer = await browser.get("/book/callback?code=x&state=", headers={b"cookie": header})

    assert answer.status_code == 400


async def test_the_web_books_code_is_not_taken_from_outside(
    access: World, browser: httpx2.AsyncClient
) -> None:
    """`web-book` is the server's own: no token request comes from it."""
    form = {"grant_type": "authorization_code", "client_id": "web-book", "code": "x"}

    answer = await browser.post("/auth/token", data=form)

    assert answer.json()["error"] == "unauthorized_client"


async def test_over_tls_the_cookies_are_secure(tmp_path: Path) -> None:
    """`Secure`, with the prefix that no other host of the domain can set."""
    world = await World(tmp_path, origin="https://book.example").start()
    async with world.new_http() as browser:
        answer = await browser.get("/book/login")
        book = await world.log_in(browser, answer, STRANGER)
        names = {cookie.name: cookie.secure for cookie in browser.cookies.jar}
    await world.stop()

    assert book.json()["patient"] == "stranger"
    assert names["__Host-book"] is True
    assert "Secure" in answer.headers["set-cookie"]
