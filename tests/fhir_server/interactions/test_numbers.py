"""One citizen's number is one person's, however it is typed: contract, section 6."""

from __future__ import annotations

import pytest

from fhir_server.model.identifiers import CCCD, CMND, DRAFT
from fhir_server.model.outcome import Duplicate
from tests.conftest import World
from tests.fhir_server.interactions.test_search import found, ids

NUMBER = "032655908430"
WIDE = "".join(chr(ord(digit) + 0xFEE0) for digit in NUMBER)
TYPED = [
    (CCCD, f" {NUMBER}"),
    (CCCD, f"{NUMBER} "),
    (CCCD, WIDE),
    (f"{DRAFT}/citizen_id", NUMBER),
    (f"{DRAFT}/national_id", f"{WIDE} "),
]


def _patient(identity: str, system: str, value: str) -> dict[str, object]:
    return {
        "resourceType": "Patient",
        "id": identity,
        "identifier": [{"system": system, "value": value}],
    }


@pytest.mark.parametrize(("system", "value"), TYPED)
async def test_a_number_typed_otherwise_is_held_already(
    world: World, system: str, value: str
) -> None:
    """Blanks, full-width digits and the draft's systems make no second holder."""
    await world.put(_patient("a", CCCD, NUMBER))

    with pytest.raises(Duplicate):
        await world.put(_patient("b", system, value))


@pytest.mark.parametrize(("system", "value"), TYPED)
async def test_a_number_typed_otherwise_is_found(world: World, system: str, value: str) -> None:
    """A holder is found by the number under S/cccd, and by what was typed."""
    await world.put(_patient("a", system, value))

    plain = await found(world, "Patient", ("identifier", f"{CCCD}|{NUMBER}"))
    same = await found(world, "Patient", ("identifier", f"{system}|{value}"))
    other = await found(world, "Patient", ("identifier", f"{CMND}|{NUMBER}"))

    assert (ids(plain), ids(same), ids(other)) == (["a"], ["a"], [])


async def test_the_old_card_is_no_unique_number(world: World) -> None:
    """Nine digits under a draft system are S/cmnd, which two may state."""
    await world.put(_patient("a", f"{DRAFT}/citizen_id", "123456789"))
    await world.put(_patient("b", f"{DRAFT}/national_id", "123456789"))

    both = await found(world, "Patient", ("identifier", f"{CMND}|123456789"))

    assert sorted(ids(both)) == ["a", "b"]
