"""`/docs`: OpenAPI of the paths that are not FHIR, as a page and as the document itself."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhir_server.model import codec
from fhir_server.web.pages import page


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    data = resources.files("fhir_server.web").joinpath("openapi.json").read_bytes()
    loaded: dict[str, Any] = codec.loads(data)
    return loaded


def docs_routes() -> list[Route]:
    """Return the routes of the page and of the document."""
    return [Route("/docs", _page), Route("/openapi.json", _document)]


async def _document(_request: Request) -> Response:  # noqa: RUF029 - a route's function
    return Response(codec.dumps(document()), media_type="application/json")


async def _page(request: Request) -> Response:  # noqa: RUF029 - a route's function
    if "text/html" not in request.headers.get("accept", "text/html"):
        return Response(codec.dumps(document()), media_type="application/json")
    sections = [
        (
            tag,
            [
                (path, method, what)
                for path, method, what in _calls()
                if tag["name"] in what["tags"]
            ],
        )
        for tag in document()["tags"]
    ]
    return page(request, "docs.html", info=document()["info"], sections=sections)


def _calls() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method.upper(), call)
        for path, methods in document()["paths"].items()
        for method, call in methods.items()
    ]
