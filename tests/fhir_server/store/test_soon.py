"""What a request is about to read: said once, taken once, and each request's own."""

from __future__ import annotations

import asyncio

from fhir_server.store.soon import expected, forget, soon

NAME = ("Patient", "a")


def test_what_was_found_is_taken_once_and_under_its_name() -> None:
    """A second read asks anew, and so does one of another resource."""
    with soon(NAME):
        ahead = expected()
        assert ahead is not None
        assert ahead.take(NAME) is None
        ahead.found = ("document",)

        assert ahead.take(("Patient", "b")) is None
        assert ahead.take(NAME) == ("document",)
        assert ahead.take(NAME) is None


def test_nothing_is_expected_elsewhere() -> None:
    """Before and after, where it is not known, and where it was forgotten."""
    assert expected() is None
    with soon(None):
        assert expected() is None
    with soon(NAME):
        forget()
        assert expected() is None
    assert expected() is None


async def test_requests_at_once_expect_what_is_theirs() -> None:
    """Each task has its own."""

    async def request(number: int) -> bool:
        name = ("Patient", str(number))
        with soon(name):
            await asyncio.sleep(0)
            ahead = expected()
            return ahead is not None and ahead.name == name

    assert all(await asyncio.gather(*map(request, range(5))))
