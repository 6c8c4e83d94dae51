"""The pages of the web book, over a real store and policy, with a session of the tests."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from html.parser import HTMLParser
from typing import Any

import httpx2 as httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from fhir_server.interactions.context import Context
from fhir_server.model.outcome import Unavailable
from fhir_server.model.primitives import VIETNAM
from fhir_server.web.book import Session, book_routes
from fhir_server.web.pages import error_page, logged_out_page
from fhir_server.web.words import Speech, words
from tests.conftest import World, citizen
from tests.fhir_server.operations import record


@dataclass(frozen=True)
class Child:
    """A child of the session."""

    patient_id: str
    name: str


@dataclass(frozen=True)
class LogIn:
    """A session of these tests: real Contexts and policies, no cookie."""

    world: World
    patient_id: str = "mother"
    children: tuple[Child, ...] = (Child("child", "TRẦN BẢO MẪU"),)
    kept_apart: tuple[str, ...] = ()
    csrf: str = "csrf-of-the-session"

    def context(self, patient_id: str | None = None) -> Context:
        """Return a new Context of the citizen or child."""
        return self.world.context(citizen(patient_id or self.patient_id))


@dataclass
class Browser:
    """A client, and who is logged in with it."""

    client: httpx.AsyncClient
    session: Session | None
    world: World
    log: list[str] = field(default_factory=list)

    async def get(self, path: str) -> httpx.Response:
        """Open a page."""
        return await self.client.get(path)


@pytest.fixture
async def browser(world: World) -> AsyncIterator[Browser]:
    """The mother's browser; she has a visit, her child a visit and doses, the stranger nothing."""
    world.clock.at = datetime(2026, 11, 25, 9, tzinfo=VIETNAM)
    child = record.patient(
        "child",
        identifier=[{"system": "urn:x", "value": "2"}],
        name=[{"text": "TRẦN BẢO MẪU"}],
        birthDate="2025-03-25",
        gender="male",
    )
    stranger = record.patient(
        "stranger",
        identifier=[{"system": "urn:x", "value": "3"}],
        name=[{"text": "LÊ VĂN LẠ"}],
        birthDate="1980",
    )
    resources = [
        *record.people(),
        child,
        stranger,
        *record.visit(),
        record.guardian(),
        record.immunization("bcg", "19", 1, "2025-03-25"),
        record.encounter("v9", "2026-01-02T08:00:00+07:00", None, of="child", status="in-progress"),
        record.condition("v9", "B34.9", "Sốt siêu vi", of="child"),
    ]
    for one in resources:
        await world.put(one)
    holder: dict[str, Any] = {}

    async def session_of(_request: Request) -> Session | None:  # noqa: RUF029 - the port is async
        return holder["browser"].session

    app = Starlette(routes=book_routes(session_of, lambda request: f"/login?{request.url.path}"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        holder["browser"] = Browser(client, LogIn(world), world)
        yield holder["browser"]


async def accesses(world: World) -> list[tuple[str, ...]]:
    """Return whom each AuditEvent names, newest first."""
    return [entry.patients for entry in await world.store.audit()]


async def test_the_own_book_shows_person_card_and_visits(browser: Browser) -> None:
    """The page has name, card with validity and level, diagnosis, drug and result of the visit."""
    page = await browser.get("/book")

    assert page.status_code == 200
    for text in (
        "NGUYỄN THỊ MẪU",
        "31 tuổi",
        "DN4010123456789",
        "Còn giá trị",
        "đến 31/12/2026",
        "80%",
        "Viêm họng cấp",
        "J02.9",
        "Paracetamol 500mg",
        "5.40 mmol/L",
        "Bệnh viện Đa khoa Mẫu Hà Nội",
    ):
        assert text in page.text
    assert 'href="/book/children/child"' in page.text
    assert 'href="/book/visits/v1"' in page.text


async def test_the_visit_page_shows_all_of_it(browser: Browser) -> None:
    """Diagnosis, dose, quantity, result, advice, outcome and doctor are there."""
    page = await browser.get("/book/visits/v1")

    assert page.status_code == 200
    for text in (
        "08:15, 20/11/2023",
        "1 viên/lần * 3 lần/ngày * 5 ngày",
        "15 Viên",
        "Ho, sốt 2 ngày",
        "tái khám khi sốt cao",
        "Đỡ",
        "BS. PHẠM MẪU",
    ):
        assert text in page.text


async def test_the_childs_page_shows_doses_given_due_and_overdue(browser: Browser) -> None:
    """The child's book has the schedule; the mother's records are not in it."""
    page = await browser.get("/book/children/child")

    assert page.status_code == 200
    for text in ("TRẦN BẢO MẪU", "20 tháng tuổi", "Quá hạn", "Sởi - Rubella (MR)", "Lao (BCG)"):
        assert text in page.text
    assert "hạn 25/09/2026" in page.text
    assert "Sốt siêu vi" in page.text
    assert "Viêm họng cấp" not in page.text


async def test_english_is_kept_in_every_link(browser: Browser) -> None:
    """With lang=en the words are English, and every link of the book says so too."""
    page = await browser.get("/book/children/child?lang=en")

    assert "Overdue" in page.text
    assert "Quá hạn" not in page.text
    assert page.headers["Content-Language"] == "en"
    links = re.findall(r'href="(/book[^"]*)"', page.text)
    own = [link for link in links if "/static/" not in link]
    assert [link for link in own if not link.endswith("lang=en")] == ["/book/children/child"]


@pytest.mark.parametrize("path", ["/book/visits/v9", "/book/visits/v9?lang=en"])
async def test_a_childs_visit_opens_for_the_guardian(browser: Browser, path: str) -> None:
    """The link leads back to the child's book."""
    page = await browser.get(path)

    assert page.status_code == 200
    assert "Sốt siêu vi" in page.text
    assert "/book/children/child" in page.text


@pytest.mark.parametrize(
    "path",
    [
        "/book/visits/v1",
        "/book/visits/never",
        "/book/visits/%00",
        "/book/children/child",
        "/book/children/mother",
        "/book/children/never",
    ],
)
async def test_what_is_a_strangers_is_404(browser: Browser, path: str) -> None:
    """Another's visit or child, and what never was, give the same page; the look is audited."""
    browser.session = LogIn(browser.world, "stranger", ())
    before = len(await accesses(browser.world))

    page = await browser.get(path)

    never = await browser.get("/book/visits/none-such")
    assert page.status_code == 404
    assert "MẪU" not in page.text
    assert page.text.replace(path, "") == never.text.replace("/book/visits/none-such", "") or (
        "%" in path
    )
    assert len(await accesses(browser.world)) == before + 2


@pytest.mark.parametrize("path", ["/book", "/book/visits/v1", "/book/children/child"])
async def test_without_a_session_there_is_only_the_login(browser: Browser, path: str) -> None:
    """303 to the log-in, nothing cached."""
    browser.session = None

    page = await browser.get(path)

    assert (page.status_code, page.headers["location"]) == (303, f"/login?{path}")
    assert page.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "whom"),
    [
        ("/book", "mother"),
        ("/book/visits/v1", "mother"),
        ("/book/children/child", "child"),
        ("/book/visits/v9", "child"),
    ],
)
async def test_every_page_leaves_one_audit_event(browser: Browser, path: str, whom: str) -> None:
    """It names the patient whose book was shown, and nobody else."""
    before = len(await accesses(browser.world))

    await browser.get(path)

    after = await accesses(browser.world)
    assert len(after) == before + 1
    assert after[0] == (whom,)


class Tags(HTMLParser):
    """Collects the names of elements and of event attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.handlers: set[str] = set()
        self.styles: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.names.add(tag)
        self.handlers |= {name for name, _ in attrs if name.startswith("on")}
        self.styles |= {name for name, _ in attrs if name == "style"}


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
async def test_nothing_from_a_record_becomes_markup(browser: Browser, hostile: str) -> None:
    """Names, notes, drugs, results and cards are text, whatever is in them."""
    world = browser.world
    text = record.result("v1")
    text["code"]["text"] = hostile
    await world.put(record.patient(name=[{"text": hostile}], address=[{"text": hostile}]))
    await world.put(record.drug("v1", hostile))
    await world.put(record.condition("v1", "J02.9", hostile))
    await world.put(text)
    await world.put({**record.organization("01999", hostile)})
    browser.session = LogIn(world, children=(Child("child", hostile),), kept_apart=(hostile,))

    for path in ("/book", "/book/visits/v1", "/book/children/child", "/book?lang=en"):
        tags = Tags()
        tags.feed((await browser.get(path)).text)
        assert "script" not in tags.names
        assert tags.handlers == set()
        assert tags.styles == set()
        if path == "/book":
            assert "alert" in (await browser.get(path)).text


async def test_pages_are_guarded_by_their_headers(browser: Browser) -> None:
    """No script, no frame, no cache, no sniffing; only the server's own style."""
    page = await browser.get("/book")

    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    for link in re.findall(r'(?:src|href)="(/book/static/[^"]+)"', page.text):
        assert (await browser.get(link)).status_code == 200
    assert not re.search(r'(?:src|href)="https?:', page.text)


async def test_the_logout_button_posts_the_sessions_token(browser: Browser) -> None:
    """The form goes to /book/logout with the CSRF token."""
    page = await browser.get("/book")

    assert re.search(r'<form method="post" action="/book/logout">', page.text)
    assert 'name="csrf" value="csrf-of-the-session"' in page.text


async def test_what_was_kept_apart_is_told_without_its_content(browser: Browser) -> None:
    """The citizen learns which facilities to ask: by name and code, where the name is known."""
    browser.session = LogIn(browser.world, kept_apart=("01999", "01998"))

    page = await browser.get("/book")

    assert "Bệnh viện Đa khoa Mẫu Hà Nội (01999), 01998" in page.text


@pytest.mark.parametrize("language", ["vi", "en"])
async def test_a_diagnosis_without_words_is_shown_as_a_code(
    browser: Browser, language: str
) -> None:
    """A bare ICD-10 code is said to be one, once, on every page."""
    condition = record.condition("v1", "E78.5", "")
    condition["code"].pop("text", None)
    await browser.world.put(condition)
    word = {"vi": "Mã bệnh", "en": "ICD code"}[language]

    for path in ("/book", "/book/visits/v1"):
        text = (await browser.get(f"{path}?lang={language}")).text
        assert f'{word} <span class="code" translate="no">E78.5</span>' in text
        assert not re.search(r"E78\.5\W+E78\.5", re.sub("<[^>]*>", "", text))


async def test_a_slash_at_the_end_leads_to_the_book(browser: Browser) -> None:
    """`/book/` is the book too, in the language asked for."""
    plain, english = await browser.get("/book/"), await browser.get("/book/?lang=en")

    assert (plain.status_code, plain.headers["location"]) == (303, "/book")
    assert english.headers["location"] == "/book?lang=en"


async def test_an_empty_book_is_a_page_too(browser: Browser) -> None:
    """A person with a birth year alone, no card and no visit has a page."""
    browser.session = LogIn(browser.world, "stranger", ())

    page = await browser.get("/book")

    assert page.status_code == 200
    assert "LÊ VĂN LẠ · Sổ sức khỏe điện tử" in page.text
    assert "1980" in page.text
    assert "Chưa có đợt khám chữa bệnh nào" in page.text


async def test_a_store_that_cannot_answer_is_told_on_a_page(browser: Browser) -> None:
    """503 is a page in the citizen's words, without a trace."""

    class Broken(LogIn):
        def context(self, patient_id: str | None = None) -> Context:  # noqa: ARG002 - the port
            raise Unavailable("The store cannot be reached.")

    browser.session = Broken(browser.world)

    page = await browser.get("/book")

    assert page.status_code == 503
    assert "Tạm thời gián đoạn" in page.text
    assert "store" not in page.text


@pytest.mark.parametrize("status", [404, 500, 503])
@pytest.mark.parametrize("query", [b"", b"lang=en"])
def test_error_pages_need_no_session(status: int, query: bytes) -> None:
    """They are made of a request alone, for app.py to use."""
    request = Request({
        "type": "http", "method": "GET", "path": "/book/x", "query_string": query, "headers": [],
        "server": ("testserver", 80), "scheme": "http",
    })  # fmt: skip

    page = error_page(request, status)

    assert page.status_code == status
    assert b"logout" not in page.body


@pytest.mark.parametrize(("query", "text"), [(b"", "Đã đăng xuất"), (b"lang=en", "logged out")])
def test_the_logged_out_page_leads_back_to_the_login(query: bytes, text: str) -> None:
    """It has no session's words any more, and a way back."""
    request = Request({
        "type": "http", "method": "GET", "path": "/book/logged-out", "query_string": query,
        "headers": [], "server": ("testserver", 80), "scheme": "http",
    })  # fmt: skip

    page = logged_out_page(request).body.decode()

    assert text in page
    assert 'class="button" href="/book' in page


def test_both_languages_have_the_same_words() -> None:
    """A text that one language has, the other has too, with the same places to fill."""
    vi, en = words("vi"), words("en")

    assert {part: set(vi[part]) for part in vi} == {part: set(en[part]) for part in en}
    for part, texts in vi.items():
        for key, text in texts.items():
            assert re.findall(r"{\w+}", text) == re.findall(r"{\w+}", en[part][key])


@pytest.mark.parametrize(
    ("born", "on", "vi", "en"),
    [
        ("2026-11-01", "2026-11-25", "24 ngày tuổi", "24 days"),
        ("2026-10-25", "2026-11-25", "1 tháng tuổi", "1 month"),
        ("2026-10-26", "2026-11-25", "30 ngày tuổi", "30 days"),
        ("2023-11-26", "2026-11-25", "35 tháng tuổi", "35 months"),
        ("2023-11-25", "2026-11-25", "3 tuổi", "3 years"),
        ("1995-03-07", "2026-11-25", "31 tuổi", "31 years"),
        ("2027-01-01", "2026-11-25", "", ""),
    ],
)
def test_ages_are_told_as_people_tell_them(born: str, on: str, vi: str, en: str) -> None:
    """In days, in months under three years, then in years."""
    days = datetime.fromisoformat(born).date(), datetime.fromisoformat(on).date()

    assert (Speech("vi").age(*days), Speech("en").age(*days)) == (vi, en)


def test_a_session_of_the_tests_is_what_the_pages_ask_for() -> None:
    """The protocol is the one that web.session's BookSession has."""
    session: Session = LogIn(World())

    assert replace(session, csrf="x").csrf == "x"
