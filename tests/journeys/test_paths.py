"""Paths that are not there, and the document of those that are: each part's own form."""

from __future__ import annotations

import pytest

from tests.server import Server


@pytest.mark.parametrize(
    "path", ["/auth/nope", "/auth", "/auth/token/x", "/vneid/nope", "/vneid", "/vneid/"]
)
def test_under_auth_and_vneid_errors_are_oauths(server: Server, path: str) -> None:
    """Contract, section 4: OAuth's own JSON there, also where nothing is."""
    answer = server.client().get(path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize("path", ["/nope", "/openapi.json", "/authx/token"])
def test_elsewhere_errors_are_problems(server: Server, path: str) -> None:
    """Everywhere else problem+json; the OpenAPI document has no path of its own."""
    answer = server.client().get(path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_to_a_browser_an_error_is_a_page(server: Server) -> None:
    """A browser gets a page wherever it asks."""
    answer = server.client().get("/auth/nope", headers={"Accept": "text/html"})

    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_docs_are_a_page_or_the_document(server: Server) -> None:
    """`/docs` answers the OpenAPI document, to a browser a page that leads to it."""
    document = server.client().get("/docs")
    page = server.client().get("/docs", headers={"Accept": "text/html"})

    assert document.json()["openapi"].startswith("3.")
    assert "/docs?format=json" in page.text
    linked = server.client().get("/docs?format=json", headers={"Accept": "text/html"})
    assert linked.json() == document.json()


def test_docs_know_each_answer_to_a_call_that_says_nothing(server: Server) -> None:
    """With a token and without: the status is one of the document's, other methods are 405."""
    document = server.client().get("/docs").json()
    system = server.token(client="system")
    unknown, taken = [], []
    for path, calls in document["paths"].items():
        url = path.replace("{id}", "00000000-0000-0000-0000-000000000000")
        for http in (server.client(), server.client(system)):
            for method, call in calls.items():
                answer = http.request(method, url)
                if str(answer.status_code) not in call["responses"]:
                    unknown.append((method, path, answer.status_code))
            for method in {"get", "post", "put", "delete"} - calls.keys():
                answer = http.request(method, url)
                if answer.status_code not in {401, 405}:
                    taken.append((method, path, answer.status_code))
    assert document["paths"]
    assert (unknown, taken) == ([], [])
