"""`/docs`: OpenAPI of the paths that are not FHIR: a page to a browser, else the document."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhir_server.model import codec
from fhir_server.web.pages import page

_TAG: Final = {
    "name": "submissions",
    "description": "Hồ sơ QĐ 130/4750/3176 và mười sáu trường · Dossiers and the sixteen fields",
}


def document(paths: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI document: our own paths, and those of `/submissions` that app gives."""
    data = resources.files("fhir_server.web").joinpath("openapi.json").read_bytes()
    own: dict[str, Any] = codec.loads(data)
    tagged = {
        path: {method: {**call, "tags": [_TAG["name"]]} for method, call in methods.items()}
        for path, methods in paths.items()
    }
    own["tags"] = [_TAG, *own["tags"]]
    own["paths"] = tagged | own["paths"]
    own["components"]["schemas"] = dict(schemas)
    return own


def docs_routes(paths: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[Route]:
    """Return the route of the page and of the document."""
    openapi = document(paths, schemas)
    encoded = codec.dumps(openapi)

    async def docs(request: Request) -> Response:  # noqa: RUF029 - a route's function
        accept = request.headers.get("accept", "")
        if "text/html" not in accept or request.query_params.get("format") == "json":
            return Response(encoded, media_type="application/json", headers={"Vary": "Accept"})
        calls = [
            (path, method.upper(), call)
            for path, methods in openapi["paths"].items()
            for method, call in methods.items()
        ]
        sections = [
            (tag, [one for one in calls if tag["name"] in one[2]["tags"]])
            for tag in openapi["tags"]
        ]
        return page(request, "docs.html", info=openapi["info"], sections=sections)

    return [Route("/docs", docs)]
