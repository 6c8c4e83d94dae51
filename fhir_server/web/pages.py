"""How a page is made: a template, its words, and the headers that guard it."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from fhir_server.model.outcome import FhirError, Forbidden, Gone, UnknownResource
from fhir_server.web.words import Speech, language_of

CSP: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
KINDS: Final = {403: "forbidden", 404: "not_found", 410: "not_found", 503: "unavailable"}


@cache
def templates() -> Environment:
    """Return the templates; every value that they write is escaped."""
    return Environment(
        loader=PackageLoader("fhir_server.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def version() -> str:
    """Return what names this form of the style sheet, so that browsers may keep it."""
    css = resources.files("fhir_server.web").joinpath("static", "book.css").read_bytes()
    return sha256(css).hexdigest()[:12]


def static_files() -> StaticFiles:
    """Return the app that serves the pages' style sheet and marks."""
    return StaticFiles(packages=[("fhir_server.web", "static")])


def page(
    request: Request, template: str, *, status: int = 200, csrf: str = "", **values: Any
) -> HTMLResponse:
    """Return a page in the language that the request asks for.

    Args:
        request: The request.
        template: The template's file name.
        status: The HTTP status.
        csrf: The session's token for forms; "" where there is no session.
        values: What the template shows.
    """
    speech = Speech(language_of(request.query_params))
    other = request.url.path if speech.language == "en" else f"{request.url.path}?lang=en"
    html = (
        templates()
        .get_template(template)
        .render(t=speech, csrf=csrf, version=version(), other_language=other, **values)
    )
    headers = HEADERS | {"Content-Language": speech.language}
    return HTMLResponse(html, status, headers=headers)


def error_page(request: Request, status: int, *, csrf: str = "") -> HTMLResponse:
    """Return the page that says, in a citizen's words, that something cannot be shown."""
    return page(request, "error.html", status=status, csrf=csrf, kind=KINDS.get(status, "failed"))


def logged_out_page(request: Request) -> HTMLResponse:
    """Return the page that says that the session has ended."""
    return page(request, "logged_out.html")


def refused_page(request: Request, refusal: FhirError, *, csrf: str = "") -> HTMLResponse:
    """Return the page of a refusal; what is hidden and what is gone look the same."""
    hidden = isinstance(refusal, UnknownResource | Gone | Forbidden)
    return error_page(request, 404 if hidden else refusal.status, csrf=csrf)
