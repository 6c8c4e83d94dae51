"""Plain pages for people: Vietnamese first, English below, nothing from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import ChoiceLoader, Environment, PackageLoader, select_autoescape
from starlette.responses import HTMLResponse

STYLE: Final = """
:root { color-scheme: light dark; font: 1.05rem/1.5 system-ui, sans-serif }
body { margin: 0 auto; max-width: 30rem; padding: 1rem }
h1 { font-size: 1.35rem; line-height: 1.25 }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600 }
input, select, button { box-sizing: border-box; width: 100%; padding: .7rem; font: inherit }
button { margin-top: 1.25rem; border: 0; border-radius: .4rem; background: #a3131b; color: #fff; font-weight: 600 }
.en { opacity: .8; font-weight: 400 }
.wrong { border-left: .3rem solid #a3131b; padding-left: .7rem }
"""  # noqa: E501 - CSS

_STYLE_HASH: Final = base64.b64encode(sha256(STYLE.encode()).digest()).decode()

_PAGES: Final = Environment(
    loader=PackageLoader("auth.server"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(
    name: str,
    *,
    status: int = 200,
    form_action: Sequence[str] | None = ("'self'",),
    environment: Environment = _PAGES,
    **values: Any,
) -> HTMLResponse:
    """Return a page from a template, with headers that let nothing else in.

    Args:
        name: The template's file name.
        status: HTTP's status.
        form_action: Where its form may lead, redirects included; None leaves that open.
        environment: Where the template is; it extends `page.html`.
        values: What the template shows.
    """
    html = environment.get_template(name).render(style=STYLE, **values)
    policy = [
        "default-src 'none'",
        f"style-src 'sha256-{_STYLE_HASH}'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
    if form_action is not None:
        policy.append(f"form-action {' '.join(form_action)}")
    return HTMLResponse(
        html,
        status_code=status,
        headers={
            "Content-Security-Policy": "; ".join(policy),
            "Cache-Control": "no-store",
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        },
    )


def pages_of(package: str) -> Environment:
    """Return the templates of another package, which may extend `page.html`."""
    return _PAGES.overlay(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("auth.server")])
    )


def origin_of(uri: str) -> str:
    """Return what a Content-Security-Policy calls the origin of a URI."""
    parts = urlsplit(uri)
    if parts.scheme in {"http", "https"}:
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}:"
