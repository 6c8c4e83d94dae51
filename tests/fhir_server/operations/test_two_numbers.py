"""A Patient that carries two numbers is the book of one citizen, whoever wrote it so."""

from __future__ import annotations

import pytest

from fhir_server.interactions.context import Context
from fhir_server.model.identifiers import CCCD, IDENTITY_TAGS
from fhir_server.operations.settle import settle
from tests.citizens import NAME, NUMBER, holder, patient, stored
from tests.conftest import World
from tests.fhir_server.operations.test_settle import Claims

OTHER = "001093054321"


@pytest.mark.parametrize("first", [NUMBER, OTHER])
async def test_a_login_settles_nothing_of_the_other_number(
    world: World, ctx: Context, first: str
) -> None:
    """Whoever logs in first, each citizen has an own book, and neither is flagged."""
    both = patient()
    both["identifier"].append({"system": CCCD, "value": OTHER})
    await world.put(both | {"id": "both"})
    claims = [Claims(), Claims(OTHER, "TRẦN VĂN MẪU", "1993-11-20", "male")]
    claims.sort(key=lambda one: one.number != first)

    ids = {one.number: (await settle(ctx, one)).patient_id for one in (*claims, *claims)}

    assert ids[NUMBER] == "both" == await holder(ctx)
    assert ids[OTHER] == await holder(ctx, OTHER) != "both"
    kept = await stored(ctx, "both")
    assert [one["value"] for one in kept["identifier"]] == [NUMBER]
    assert kept["name"][0]["text"] == NAME
    assert not [t for t in kept["meta"].get("tag", []) if t["system"] == IDENTITY_TAGS]


async def test_one_person_with_two_numbers_has_one_book(world: World, ctx: Context) -> None:
    """Where name and birth date agree both numbers open it; a new name is of the first log-in's."""
    both = patient()
    both["identifier"].append({"system": CCCD, "value": OTHER})
    await world.put(both | {"id": "both"})

    ids = {(await settle(ctx, one)).patient_id for one in (Claims(), Claims(OTHER), Claims())}

    assert ids == {"both"}
