"""Clients of npm that others wrote do their whole job (`javascript/`): each script is one's job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests import javascript
from tests.journeys.conftest import answer_pages
from tests.journeys.tokens import assertion, system_token
from tests.people import MOTHER
from tests.server import Server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the scripts and their packages."""
    return tmp_path_factory.mktemp("javascript")


@pytest.fixture(scope="module")
def node(folder: Path) -> list[str]:
    """How Node.js is started there."""
    return javascript.workshop(folder)


def job(server: Server, **more: Any) -> dict[str, Any]:
    """What each script is told."""
    return {"origin": server.url, "base": f"{server.url}/fhir", **more}


def test_fhir_kit_client(server: Server, node: list[str], folder: Path) -> None:
    """Discovery, CRUD, patch, history, searches, pages to and fro, resolve, Bundles, operations."""
    told = job(server, token=system_token(server))
    assert javascript.run(node, "fhir_kit_client.mjs", folder, told) == "done\n"


def test_medplum_core(server: Server, node: list[str], folder: Path) -> None:
    """Log-in by an assertion, CRUD, JSON Patch, searches and pages, history, batches."""
    told = job(server, client="system", assertion=assertion(server, "system"))
    assert javascript.run(node, "medplum_core.mjs", folder, told) == "done\n"


def through_the_log_in(server: Server, address: str) -> dict[str, Any]:
    """Start an app as the mother, without a browser; return what its last page answers."""
    browser = server.client(follow_redirects=True)
    page = answer_pages(browser, browser.get(f"{address}/launch"), MOTHER)
    assert page.status_code == 200, page.text
    assert str(page.url).startswith(f"{address}/callback?")
    return page.json()


def test_fhirclient_of_smart(server: Server, node: list[str], folder: Path) -> None:
    """A citizen's app: discovery, authorize, PKCE, token, reads, pages, refresh."""
    with javascript.app(node, "fhirclient_app.mjs", folder, job(server)) as address:
        seen = through_the_log_in(server, address)

    patient = seen["patient"]
    assert patient["name"][0]["text"] == "NGUYỄN THỊ MẪU"
    assert seen["visits"][0] == 4
    assert sum(seen["visits"]) >= 8
    assert seen["claims"] == 4
    assert seen["fhirUser"] == f"Patient/{patient['id']}"
    assert seen["user"] == patient["id"]
    assert seen["claimsOfToken"]["aud"] == "vneid-app"
    assert seen["refreshed"] is True
    assert seen["version"] == "4.0.1"
    assert seen["inCompartment"] == "Bundle"
    assert (seen["stranger"], seen["written"]) == (404, 403)


def test_openid_client(server: Server, node: list[str], folder: Path) -> None:
    """A certified relying party: a citizen's log-in, and a system's by its key."""
    file = server.folder / "keys" / "demo" / "hospital-01999.jwk.json"
    key = json.loads(file.read_text(encoding="utf-8"))
    told = job(server, client="hospital-01999", key=key)
    with javascript.app(node, "openid_app.mjs", folder, told) as address:
        seen = through_the_log_in(server, address)
        system = server.client().get(f"{address}/system")

    assert seen["claims"]["iss"] == server.url
    assert seen["claims"]["fhirUser"] == f"Patient/{seen['patient']}"
    assert seen["patients"] == 1
    assert (seen["after"], seen["again"]) == (401, "invalid_grant")
    assert system.status_code == 200, system.text
    assert system.json() == {"scope": "system/*.rs", "active": True, "client": "hospital-01999"}


@pytest.mark.browser
def test_fhirclient_in_a_browser(server: Server, node: list[str], folder: Path, page: Page) -> None:
    """The same library in a page of another origin: all that it asks and is told goes by CORS."""
    with javascript.app(node, "browser_app.mjs", folder, job(server)) as address:
        page.goto(f"{address}/launch")
        page.fill("input[name=cccd]", MOTHER)
        page.click("button[type=submit]")
        if page.locator("select[name=patient]").count():
            page.click("button[type=submit]")
        page.wait_for_function("document.querySelector('pre')?.textContent", timeout=20_000)
        seen = json.loads(page.inner_text("pre"))

    visits = seen.pop("visits")
    assert visits[0] == 4
    assert sum(visits) >= 8
    assert seen == {
        "name": "NGUYỄN THỊ MẪU",
        "statement": "4.0.1",
        "changed": "inactive",
        "etag": 'W/"2"',
        "gone": 410,
        "stranger": 404,
        "written": 403,
    }
