"""The OpenAPI description of `/submissions`, as a fixed value for `/docs`."""

from __future__ import annotations

from typing import Any, Final

from adapters.submissions.receipt import STATUSES

_TEXT: Final = {"type": "string"}
_MAYBE_TEXT: Final = {"type": ["string", "null"]}

SCHEMAS: Final[dict[str, Any]] = {
    "Issue": {
        "type": "object",
        "required": ["severity", "rule", "field", "message", "message_vi"],
        "properties": {
            "severity": {"enum": ["error", "warning"]},
            "rule": {**_TEXT, "examples": ["G12-REQUIRED", "CCCD-SEX"]},
            "field": {**_TEXT, "examples": ["XML1.NGAY_VAO", "XML2[3].SO_LUONG"]},
            "message": _TEXT,
            "message_vi": _TEXT,
        },
    },
    "DossierReceipt": {
        "type": "object",
        "required": ["ma_lk", "status", "issues"],
        "properties": {
            "ma_lk": _MAYBE_TEXT,
            "status": {"enum": list(STATUSES)},
            "encounter": {**_TEXT, "examples": ["Encounter/1"]},
            "patient": {**_TEXT, "examples": ["Patient/1"]},
            "issues": {"type": "array", "items": {"$ref": "#/components/schemas/Issue"}},
        },
    },
    "Receipt": {
        "type": "object",
        "required": ["id", "received", "facility", "accepted", "rejected", "dossiers", "issues"],
        "properties": {
            "id": _MAYBE_TEXT,
            "received": {**_TEXT, "format": "date-time"},
            "facility": _MAYBE_TEXT,
            "accepted": {"type": "integer"},
            "rejected": {"type": "integer"},
            "dossiers": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/DossierReceipt"},
            },
            "issues": {"type": "array", "items": {"$ref": "#/components/schemas/Issue"}},
        },
    },
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "detail_vi": _TEXT,
        },
    },
}
"""RFC 9457 for refusals, and the shapes of contract section 5."""


def _json(name: str, text: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _problem(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {"application/problem+json": {"schema": schema}}}


def _query(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": text}


_COMMON: Final = {
    "401": _problem("No valid access token."),
    "403": _problem("The token has no right to this."),
}
_ID: Final = {"name": "id", "in": "path", "required": True, "schema": _TEXT}

PATHS: Final[dict[str, Any]] = {
    "/submissions": {
        "post": {
            "summary": "Submit dossiers: a GIAMDINHHS envelope, or records of the sixteen fields",
            "parameters": [
                _query("dry-run", {"type": "boolean"}, "Check, and store nothing."),
            ],
            "requestBody": {
                "required": True,
                "content": {
                    media_type: {"schema": _TEXT}
                    for media_type in ("application/xml", "application/json", "text/csv")
                },
            },
            "responses": {
                "200": _json("Receipt", "Every dossier was taken."),
                "207": _json("Receipt", "Some dossiers were taken."),
                "422": _json("Receipt", "No dossier was taken."),
                "400": _problem("The body or envelope cannot be read."),
                **_COMMON,
                "413": _problem("The body is larger than 160 MiB, decoded."),
                "415": _problem("The media type is absent or not one we read."),
            },
        },
        "get": {
            "summary": "The facility's submissions, newest first",
            "parameters": [
                _query("status", {"enum": list(STATUSES)}, "Of any dossier in it."),
                _query("from", {**_TEXT, "format": "date"}, "First day, +07:00."),
                _query("to", {**_TEXT, "format": "date"}, "Last day, +07:00."),
                _query("ma_lk", _TEXT, "Of any dossier in it, exactly."),
                _query("_count", {"type": "integer", "default": 20}, "At most 1000."),
            ],
            "responses": {
                "200": {
                    "description": "One page.",
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["items", "next"],
                                "properties": {
                                    "items": {
                                        "type": "array",
                                        "items": {"$ref": "#/components/schemas/Receipt"},
                                    },
                                    "next": _MAYBE_TEXT,
                                },
                            }
                        }
                    },
                },
                "400": _problem("A parameter cannot be read."),
                **_COMMON,
            },
        },
    },
    "/submissions/{id}": {
        "get": {
            "summary": "The receipt again",
            "parameters": [_ID],
            "responses": {
                "200": _json("Receipt", "The receipt."),
                **_COMMON,
                "404": _problem("No such submission of this facility."),
            },
        }
    },
    "/submissions/{id}/source": {
        "get": {
            "summary": "The bytes as received",
            "parameters": [_ID],
            "responses": {
                "200": {"description": "As received; a gzip body decoded.", "content": {"*/*": {}}},
                **_COMMON,
                "404": _problem("No such submission of this facility."),
            },
        }
    },
}
