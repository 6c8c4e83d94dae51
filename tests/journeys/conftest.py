"""A demo server for the journeys, and a log-in as a browser without a screen would do it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import httpx2 as httpx
import pytest
from playwright.sync_api import Page, sync_playwright

from tests.server import ENGINES, STARTED, Server

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""How Chromium is started, so that it asks nobody but the pages."""


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Over what the servers of a journey run."""
    return request.param


@pytest.fixture(scope="session")
def server(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A demo server that the journeys over one engine share, and their tokens."""
    server = Server(tmp_path_factory.mktemp("journey"), engine=engine, tokens={})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own(engine: str, tmp_path: Path) -> Server:
    """A demo server of a journey's own, which it starts."""
    return Server(tmp_path / "own", engine=engine)


@pytest.fixture(autouse=True)
def no_server_is_left() -> Iterator[None]:
    """A server that a failing test left running is ended, and its clients are closed."""
    before = set(STARTED)
    yield
    for name in STARTED.keys() - before:
        STARTED[name].end()


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of Debian's Chromium at a phone's width."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser.new_page(viewport={"width": 390, "height": 844})
        browser.close()


def field_values(html: str) -> dict[str, str]:
    """Return the hidden inputs of a page's form."""
    fields = {}
    for tag in re.findall(r"<input[^>]*>", html):
        name, value = (re.search(rf'{a}="([^"]*)"', tag) for a in ("name", "value"))
        if name:
            fields[unescape(name[1])] = unescape(value[1]) if value else ""
    return fields


def form_action(html: str, url: str) -> str:
    """Return where a page's first form is posted."""
    found = re.search(r'<form[^>]*action="([^"]*)"', html)
    return urljoin(url, unescape(found[1])) if found else url


def answer_pages(
    browser: httpx.Client, page: httpx.Response, cccd: str, *, level: str = "2", **claims: str
) -> httpx.Response:
    """Answer VNeID's page, and the one that asks whose book, as this citizen; return what comes."""
    assert 'name="cccd"' in page.text, page.text[:500]
    fields = field_values(page.text) | {"cccd": cccd, "level": level} | claims
    answer = browser.post(form_action(page.text, str(page.url)), data=fields)
    if 'name="patient"' in answer.text and "<select" in answer.text:
        first = re.search(r'<option[^>]*value="([^"]*)"', answer.text)
        assert first
        chosen = field_values(answer.text) | {"patient": unescape(first[1])}
        answer = browser.post(form_action(answer.text, str(answer.url)), data=chosen)
    return answer


def log_in(server: Server, cccd: str, *, level: str = "2", **claims: str) -> httpx.Client:
    """Return a browser-like client that has logged in at /book as this citizen."""
    browser = server.client(follow_redirects=True)
    answer = answer_pages(browser, browser.get("/book"), cccd, level=level, **claims)
    assert answer.status_code == 200 or level != "2", answer.text[:2000]
    return browser


@pytest.fixture
def two(engine: str, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Two servers over one new store, with one public origin."""
    folder = tmp_path / "shared"
    first = Server(folder, engine=engine, tokens={})
    second = Server(folder, engine=engine)
    for server in (first, second):
        server.extra["FHIR_SERVER_BASE_URL"] = first.url
        server.start()
    yield first, second
    for server in (first, second):
        server.end()
