"""`fhir-server move`, `backup` and `restore`: whole stores copied, whichever engines they are."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from fhir_server.app import META, Serving
from fhir_server.move import Outcome, Said
from fhir_server.move import move as move_store
from fhir_server.store.bulk import Source, Target
from fhir_server.store.mark import NotMoved, first_mark
from fhir_server.stores import Place, Refused, embedded, new_copy, open_copy, open_store


async def move(ours: Place, theirs: Place, *, live: bool, said: Said) -> Outcome:
    """Move the store at one place into that at another, and compare the two.

    Args:
        ours: Where it is.
        theirs: Where it is to be.
        live: Whether it may be served meanwhile; then it is moved as it is at one moment.
        said: Is told of the progress.

    Raises:
        Refused: They do not go together, or one of them is served, or cannot be used.
    """
    if ours.address == theirs.address:
        raise Refused(f"{theirs.name}: it is the store that is to be moved.")
    async with AsyncExitStack() as stack:
        source = await ours.source("served" if live else "alone")
        stack.push_async_callback(source.close)
        target = await theirs.target()
        stack.push_async_callback(target.close)
        return await _moved(ours, source, target, live=live, said=said)


async def backup(place: Place, file: Path, said: Said) -> None:
    """Write a consistent copy of a store to a file, also while it is served.

    Of a database it is a store in a file, moved as the database is at one moment.

    Raises:
        Refused: It cannot be read, or the file cannot be written.
    """
    if place.settings.is_embedded:
        store = await open_store(place.settings)
        try:
            await embedded(store).backup(file)
        finally:
            await store.close()
        return
    async with AsyncExitStack() as stack:
        source = await place.source("served")
        stack.push_async_callback(source.close)
        copy = await new_copy(file)
        stack.push_async_callback(copy.close)
        _check_equal(await _moved(place, source, copy, said=said))
        await copy.keep_as(file)


async def restore(place: Place, file: Path, said: Said) -> None:
    """Make a copy the store again; nobody may serve it meanwhile.

    A file is replaced whole or not at all. A database is emptied first: a restore that was
    interrupted is begun again, and until then no server serves what is there.

    Raises:
        Refused: It is served, or the file is no copy.
    """
    if place.settings.is_embedded:
        await asyncio.to_thread(place.replace, file)
        return
    async with AsyncExitStack() as stack:
        source = await open_copy(file)
        stack.push_async_callback(source.close)
        target = await place.emptied(await first_mark(source))
        stack.push_async_callback(target.close)
        _check_equal(await _moved(place, source, target, said=said))


def _check_equal(outcome: Outcome) -> None:
    if outcome.different:
        raise Refused("\n".join(["The copy is not what it was made of:", *outcome.differences]))


async def _moved(
    place: Place, source: Source, target: Target, *, live: bool = False, said: Said
) -> Outcome:
    """Move by the base under which the source was last served: absolute references are ours."""
    last = await source.record(META, "origin")
    origin = last.decode() if last else Serving().origin(place.settings)
    origin = place.settings.base_url or origin
    try:
        return await move_store(source, target, base_url=f"{origin}/fhir", live=live, said=said)
    except NotMoved as refusal:
        raise Refused(f"Not moved: {refusal}.") from None
