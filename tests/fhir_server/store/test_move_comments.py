"""The comments of XML go along where a store is moved: they are shown there as here."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.store.port import Store
from tests.conftest import World
from tests.fhir_server.store.wholes import Place, moved

TEXT = (
    b'<Patient xmlns="http://hl7.org/fhir"><!--a--><id value="p"/><active value="true"/></Patient>'
)


async def read(store: Store) -> bytes:
    """Return the Patient in XML, as the store shows it."""
    request = FhirRequest("read", "Patient", "p", as_xml=True)
    result = await perform(World(store).context(), request)
    assert result.xml is not None
    resource, comments = result.xml
    return codec.to_xml(resource, comments=comments)


@pytest.mark.parametrize("engines", [("sqlite", "mongodb"), ("mongodb", "sqlite")], ids="-".join)
async def test_comments_are_moved(engines: tuple[str, str], tmp_path: Path) -> None:
    """Of the version that came with them, to the other engine."""
    ours, theirs = Place(engines[0], tmp_path / "ours"), Place(engines[1], tmp_path / "theirs")
    resource, comments = codec.from_commented_xml(TEXT)
    async with ours.opened() as store:
        request = FhirRequest(
            "update", "Patient", "p", resource=resource, comments=comments, method="PUT"
        )
        await perform(World(store).context(), request)
        before = await read(store)

    outcome = await moved(ours, theirs)

    assert (outcome.differences, outcome.finished) == ([], True)
    async with theirs.opened() as store:
        assert await read(store) == before
    assert b"<!--a--><id" in before
