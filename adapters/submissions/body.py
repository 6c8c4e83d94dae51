"""A request's body: its media type, gzip taken off, never more than the limit."""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import Final

from starlette.requests import Request

from fhir_server.model.outcome import InvalidValue, Malformed, TooLarge, UnsupportedMediaType

LIMIT: Final = 160 * 1024 * 1024
"""Largest decoded body (contract section 3)."""

FORMS: Final = {
    "application/xml": "xml",
    "text/xml": "xml",
    "application/json": "json",
    "text/csv": "csv",
}
"""Media types we read, and which reader takes each."""

_STEP: Final = 1024 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
_CHARSET: Final = re.compile(r""";\s*charset\s*=\s*"?([^\s";]+)"?""", re.IGNORECASE)
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii"})


def form_of(media_type: str) -> str:
    """Return which reader takes a Content-Type.

    Raises:
        UnsupportedMediaType: None does, or the text is not UTF-8.
    """
    form = FORMS.get(media_type.partition(";")[0].strip().lower())
    if form is None:
        raise UnsupportedMediaType(
            "The Content-Type must be application/xml, application/json or text/csv.",
            text_vi="Content-Type phải là application/xml, application/json hoặc text/csv.",
        )
    charset = _CHARSET.search(media_type)
    if charset and charset[1].lower() not in _UTF8:
        raise UnsupportedMediaType(
            "The charset must be UTF-8.", text_vi="Bảng mã (charset) phải là UTF-8."
        )
    return form


async def body_of(request: Request, *, limit: int = LIMIT) -> bytes:
    """Return the body, decoded.

    Raises:
        TooLarge: It has more than `limit` bytes, as sent or decoded.
        UnsupportedMediaType: Its Content-Encoding is not gzip.
        Malformed: It is not the gzip that it says it is.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise UnsupportedMediaType(
            "The Content-Encoding must be gzip, or none.",
            text_vi="Content-Encoding phải là gzip, hoặc không có.",
        )
    _refuse_announced(request.headers.get("content-length"), limit)
    if "gzip" in encoding:
        return await _unzipped(request, limit)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _refuse_announced(length: str | None, limit: int) -> None:
    if length is None:
        return
    if not (length.isascii() and length.isdecimal()):
        raise InvalidValue(
            "The Content-Length is not a number.", text_vi="Content-Length không phải là số."
        )
    if int(length) > limit:
        raise _too_large(limit)


async def _unzipped(request: Request, limit: int) -> bytes:
    out = bytearray()
    inflater = zlib.decompressobj(_GZIP)
    began = False
    try:
        async for part in request.stream():
            data = part
            while data:
                if inflater.eof:  # a gzip file may have several members
                    inflater = zlib.decompressobj(_GZIP)
                began = True
                out += inflater.decompress(data, _STEP)
                if len(out) > limit:
                    raise _too_large(limit)
                data = inflater.unconsumed_tail or inflater.unused_data
                if len(out) % _STEP == 0:
                    await asyncio.sleep(0)
        while began and not inflater.eof:
            rest = inflater.decompress(b"", _STEP)
            out += rest
            if len(out) > limit:
                raise _too_large(limit)
            if not rest:
                break
    except zlib.error as fault:
        raise _not_gzip() from fault
    if began and not inflater.eof:
        raise _not_gzip()
    return bytes(out)


def _not_gzip() -> Malformed:
    return Malformed(
        "The body is not the gzip that its Content-Encoding says.",
        text_vi="Nội dung không phải gzip như Content-Encoding đã ghi.",
    )


def _too_large(limit: int) -> TooLarge:
    mebibytes = limit // (1024 * 1024)
    return TooLarge(
        f"The body may have at most {mebibytes} MiB, decoded.",
        text_vi=f"Nội dung (sau giải nén) không được quá {mebibytes} MiB.",
    )
