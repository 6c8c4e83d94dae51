"""The bytes of a request's body, decoded, and never more of them than the limit."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from fhir_server.model.outcome import Malformed, TooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Message, Receive

_GZIP_WINDOW: Final = 31


class ClientGone(Exception):
    """The client went away before its request was whole; nobody waits for an answer."""


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """Return the whole body; gzip is undone, and the limit holds for what comes out of it.

    Raises:
        TooLarge: The body, as sent or decoded, is longer than the limit.
        UnsupportedMediaType: It has another content coding than gzip.
        Malformed: It is not whole gzip.
        ClientGone: The connection ended.
    """
    coding = headers.get(b"content-encoding", b"identity").strip().lower()
    if coding not in {b"identity", b"", b"gzip", b"x-gzip"}:
        raise UnsupportedMediaType(
            "The body's Content-Encoding must be gzip or none.",
            text_vi="Content-Encoding của nội dung phải là gzip hoặc không có.",
        )
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    if coding in {b"gzip", b"x-gzip"}:
        return await _gunzipped(receive, limit)
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        part, more = _part(await receive())
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _gunzipped(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    more, begun = True, False
    while more:
        rest, more = _part(await receive())
        begun = begun or bool(rest)
        while rest:
            if inflater.eof:  # gzip may have several members
                inflater = zlib.decompressobj(_GZIP_WINDOW)
            try:
                out = inflater.decompress(rest, limit - size + 1)
            except zlib.error:
                raise Malformed("The body is not gzip, as its Content-Encoding says.") from None
            size += len(out)
            if size > limit:
                raise _too_large(limit)
            parts.append(out)
            rest = inflater.unused_data or inflater.unconsumed_tail
    if not inflater.eof and begun:
        raise Malformed(
            "The gzip body ends too early.", text_vi="Nội dung gzip bị cắt trước khi kết thúc."
        )
    return b"".join(parts)


def _part(message: Message) -> tuple[bytes, bool]:
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), bool(message.get("more_body", False))


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is longer than the {limit} bytes that this server takes.",
        text_vi=f"Nội dung dài hơn {limit} byte mà máy chủ nhận.",
    )
