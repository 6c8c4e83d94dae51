"""Formats: what the client accepts, what it sent.

https://hl7.org/fhir/R4/http.html#mime-type
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from fhir_server.model.outcome import NotAcceptable, UnsupportedMediaType

Format = Literal["json", "xml"]

JSON_TYPES: Final = frozenset({"application/fhir+json", "application/json", "text/json"})
XML_TYPES: Final = frozenset({"application/fhir+xml", "application/xml", "text/xml"})
FORM: Final = "application/x-www-form-urlencoded"
CONTENT_TYPES: Final[dict[Format, bytes]] = {
    "json": b"application/fhir+json; charset=utf-8",
    "xml": b"application/fhir+xml; charset=utf-8",
}
_OURS: Final[dict[Format, frozenset[str]]] = {"json": JSON_TYPES, "xml": XML_TYPES}
_SHORT: Final[dict[str, Format]] = {"json": "json", "xml": "xml"}
_VERSIONS: Final = frozenset({"4.0", "4.0.1"})
_BOM: Final = b"\xef\xbb\xbf"
_PROLOG: Final = 1_000
"""Bytes in which the declaration of an XML ends."""
_UTF16: Final = frozenset({b"\xff\xfe", b"\xfe\xff"})
_CHARSETS: Final = frozenset({"utf-8", "utf8"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the answer is written."""

    format: Format = "json"
    pretty: bool = False


@lru_cache(maxsize=1024)
def accepted(accept: str) -> Format:
    """Return the format of ours that an Accept header likes best.

    Raises:
        NotAcceptable: It likes none.
    """
    best: Format | None = None
    most = 0.0
    ranges = [_ranged(part) for part in (accept.split(",") if accept.strip() else ["*/*"])]
    named = {_named(media) for media, _ in ranges}
    for media, quality in ranges:
        found = _named(media) or _any_of(media, named)
        if found is not None and quality > most:
            best, most = found, quality
    if best is None:
        raise NotAcceptable(
            "This server answers in application/fhir+json or application/fhir+xml, of FHIR 4.0.",
            text_vi="Máy chủ này trả lời bằng application/fhir+json hoặc application/fhir+xml, "
            "của FHIR 4.0.",
        )
    return best


@lru_cache(maxsize=1024)
def names_ours(accept: str) -> bool:
    """Return whether an Accept header names a type of ours, and not only a range with a star."""
    ranges = map(_ranged, accept.split(","))
    return any(quality > 0 and _named(media) is not None for media, quality in ranges)


def _ranged(part: str) -> tuple[str, float]:
    media, *parameters = (one.strip().lower() for one in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
        elif name == "fhirversion" and value.strip('"') not in _VERSIONS:
            # Another version of FHIR is another type, and none of ours.
            return "", 0.0
    return media, quality


def _named(media: str) -> Format | None:
    return next((name for name, types in _OURS.items() if media in types), None)


def _any_of(media: str, named: AbstractSet[Format | None]) -> Format | None:
    """Return the first format that a range with a star holds.

    RFC 9110, 12.5.1: of a type that is named itself, the range says nothing.
    """
    if media not in {"*/*", "application/*", "text/*"}:
        return None
    return next((name for name in _OURS if name not in named), None)


def by_parameter(value: str) -> Format:
    """Return the format that `_format` names; a `+` may have become a space on the way.

    Raises:
        NotAcceptable: It names none of ours.
    """
    media, quality = _ranged(value.lower().replace("fhir ", "fhir+"))
    found = _SHORT.get(media) or _named(media)
    if found is None or not quality:
        raise NotAcceptable(
            "The parameter _format must be json or xml, or one of their types, of FHIR 4.0.",
            text_vi="Tham số _format phải là json hoặc xml, hoặc một kiểu của chúng, của FHIR 4.0.",
        )
    return found


@lru_cache(maxsize=1024)
def sent(content_type: str) -> Format:
    """Return the format of a body.

    Raises:
        UnsupportedMediaType: It is neither JSON nor XML, or not in UTF-8.
    """
    media, _, rest = content_type.partition(";")
    _require_readable(rest)
    for name, types in _OURS.items():
        if media.strip().lower() in types:
            return name
    raise UnsupportedMediaType("The body must be application/fhir+json or application/fhir+xml.")


_DECLARED: Final = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([^"']*)["']""").match
_UTF8: Final = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})


def require_utf8(data: bytes) -> None:
    """Refuse XML in another encoding than UTF-8, declared or told by its first bytes.

    R4, http.html#mime-type: FHIR uses UTF-8 for all request and response bodies. What a charset
    says would win over what the XML declares (RFC 7303), and one of both would be read wrongly.

    Raises:
        UnsupportedMediaType: It is not UTF-8.
    """
    declared = _DECLARED(data[:_PROLOG].removeprefix(_BOM))
    is_named = declared is not None and declared[1].strip().lower() not in _UTF8
    if is_named or b"\0" in data[:4] or data[:2] in _UTF16:
        raise UnsupportedMediaType(
            "The body must be in UTF-8, and XML must not declare another encoding.",
            text_vi="Nội dung phải ở dạng UTF-8, và XML không được khai báo bảng mã khác.",
        )


def require_form(content_type: str) -> None:
    """Refuse a search's body that is no form.

    Raises:
        UnsupportedMediaType: It is none.
    """
    media, _, rest = content_type.partition(";")
    _require_readable(rest)
    if media.strip().lower() != FORM:
        raise UnsupportedMediaType(f"The body of _search must be {FORM}.")


def _require_readable(parameters: str) -> None:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().lower().partition("=")
        if name == "charset" and value.strip('"') not in _CHARSETS:
            raise UnsupportedMediaType("The body must be in UTF-8.")
        if name == "fhirversion" and value.strip('"') not in _VERSIONS:
            raise UnsupportedMediaType(
                "The body must be of FHIR 4.0.", text_vi="Nội dung phải theo FHIR 4.0."
            )


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: bytes) -> bool:
    """Return whether an Accept-Encoding header takes gzip."""
    qualities = dict(map(_ranged, accept_encoding.decode("latin-1").split(",")))
    # RFC 9110, 12.5.3: `*` is any coding that is not listed.
    found = (qualities[one] for one in ("gzip", "x-gzip", "*") if one in qualities)
    return next(found, 0.0) > 0
