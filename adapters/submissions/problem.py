"""Refusals of `/submissions` that are no receipt: `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import Response

from fhir_server.model.outcome import FhirError

MEDIA_TYPE: Final = "application/problem+json"


def problem(refusal: FhirError) -> Response:
    """Return the answer that a refusal is."""
    issue = refusal.issues[0]
    headers = dict(refusal.headers)
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return _answer(refusal.status, issue.text, issue.text_vi, headers)


def failure() -> Response:
    """Return the answer to a request that failed by a fault of ours."""
    text = "The server failed; quote the request id."
    text_vi = "Máy chủ gặp lỗi; hãy báo lại mã yêu cầu (X-Request-Id)."
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, text, text_vi, {})


def _answer(status: int, text: str, text_vi: str | None, headers: dict[str, str]) -> Response:
    content: dict[str, str | int] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": text,
    }
    if text_vi:
        content["detail_vi"] = text_vi
    body = msgspec.json.encode(content)
    return Response(body, status, {"Cache-Control": "no-store", **headers}, MEDIA_TYPE)
