"""The whole way in a real browser: push, log in, own book, the child's vaccinations, log out."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from playwright.sync_api import Page

from fhir_server.demo_dossiers import CASES, envelope, visit
from tests.people import MOTHER, MOTHER_PERSON, STRANGER, now
from tests.server import Server

pytestmark = pytest.mark.browser


def sign_in(page: Page, server: Server, cccd: str) -> None:
    """Log in at the stand-in, and choose the own book where a page asks."""
    page.goto(f"{server.url}/book")
    page.fill("input[name=cccd]", cccd)
    page.click("button[type=submit]")
    if page.locator("select[name=patient]").count():
        page.click("button[type=submit]")


def test_the_whole_way(server: Server, page: Page) -> None:
    """A pushed visit is on the mother's page, the child's overdue dose too; log-out ends it."""
    start = (now() - timedelta(days=1)).replace(hour=2, minute=0, tzinfo=None)
    body = visit(MOTHER_PERSON, "01999", "BROWSER-1", start, CASES[2], Random(5))
    pushed = server.client(server.token(client="hospital-01999")).post(
        "/submissions",
        content=envelope("01999", [body]),
        headers={"Content-Type": "application/xml"},
    )

    sign_in(page, server, MOTHER)
    own = page.inner_text("body")
    visit_id = pushed.json()["dossiers"][0]["encounter"].partition("/")[2]
    page.goto(f"{server.url}/book/visits/{visit_id}")
    detail = page.inner_text("body")
    page.goto(f"{server.url}/book")
    children = page.eval_on_selector_all(
        "a[href*='/book/children/']", "links => links.map(a => a.href)"
    )
    texts = []
    for link in dict.fromkeys(children):
        page.goto(link)
        texts.append(page.inner_text("body"))
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.click("form[action*='logout'] button")
    page.goto(f"{server.url}/book")

    assert "NGUYỄN THỊ MẪU" in own
    assert "Viêm mũi dị ứng" in own
    assert "Loratadin" in detail
    assert any("Sởi" in text and "quá hạn" in text.lower() for text in texts)
    assert wide <= 390
    assert page.locator("input[name=cccd]").count() == 1


def test_another_citizens_visit_is_not_there(server: Server, page: Page) -> None:
    """A stranger who has the link of the mother's visit gets a 404 page that says nothing."""
    mother = server.client(server.token(citizen=MOTHER))
    visit_id = mother.get("/fhir/Encounter", params={"_count": "1"}).json()["entry"][0]["resource"][
        "id"
    ]

    sign_in(page, server, STRANGER)
    answer = page.goto(f"{server.url}/book/visits/{visit_id}")

    assert answer is not None
    assert answer.status == 404
    assert "MẪU" not in page.inner_text("body")
