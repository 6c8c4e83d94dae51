"""A request's body, decoded, never more than the limit."""

from __future__ import annotations

import asyncio
import gzip
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from adapters.submissions.body import body_of, form_of
from fhir_server.model.outcome import FhirError, Malformed, TooLarge, UnsupportedMediaType


def request_of(parts: list[bytes], encoding: str = "") -> Request:
    """Return a request whose body comes in these parts."""
    left = [*parts]

    async def receive() -> Any:  # noqa: RUF029 - ASGI
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    headers = [(b"content-encoding", encoding.encode())] if encoding else []
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Return the data in parts."""
    places = sorted({place % (len(data) + 1) for place in at} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)] or [data]


@settings(max_examples=60, deadline=None)
@given(
    body=st.binary(max_size=5000),
    at=st.lists(st.integers(0, 5000), max_size=5),
    twice=st.booleans(),
)
def test_a_body_is_the_same_however_it_comes(body: bytes, at: list[int], *, twice: bool) -> None:
    """Plain or gzip, of one member or two, in any parts: the same bytes."""
    zipped = gzip.compress(body) + (gzip.compress(body) if twice else b"")

    plain = asyncio.run(body_of(request_of(cut(body, at))))
    decoded = asyncio.run(body_of(request_of(cut(zipped, at), "gzip")))

    assert plain == body
    assert decoded == body * (2 if twice else 1)


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize("over", [0, 1])
async def test_the_limit_is_of_decoded_bytes(encoding: str, over: int) -> None:
    """A body of exactly the limit is taken, one more byte is not."""
    body = bytes(1000 + over)
    sent = gzip.compress(body) if encoding else body
    reading = body_of(request_of([sent], encoding), limit=1000)

    if over:
        with pytest.raises(TooLarge):
            await reading
    else:
        assert await reading == body


async def test_a_bomb_is_given_up_at_the_limit() -> None:
    """A gzip of a gigabyte is not unpacked beyond the limit."""
    part = gzip.compress(bytes(64 * 1024 * 1024))
    with pytest.raises(TooLarge):
        await body_of(request_of([part] * 16, "gzip"), limit=4 * 1024 * 1024)


@pytest.mark.parametrize("end", [1, 10, -1, -8])
async def test_a_gzip_cut_short_is_malformed(end: int) -> None:
    """What ends before its end is not taken for the whole."""
    with pytest.raises(Malformed):
        await body_of(request_of([gzip.compress(b"x" * 100)[:end]], "gzip"))


@pytest.mark.parametrize(
    ("media_type", "form"),
    [
        ("application/xml", "xml"),
        ("Application/XML; charset=utf-8", "xml"),
        ("text/xml", "xml"),
        ('application/json;charset="UTF-8"', "json"),
        ("text/csv; header=present", "csv"),
        ("", UnsupportedMediaType),
        ("text/plain", UnsupportedMediaType),
        ("application/xml; charset=windows-1258", UnsupportedMediaType),
    ],
)
def test_media_types(media_type: str, form: str | type[FhirError]) -> None:
    """Three media types, with parameters, in UTF-8."""
    if isinstance(form, str):
        assert form_of(media_type) == form
    else:
        with pytest.raises(form):
            form_of(media_type)
