"""`__explain`: how a search was done, for those alone who may see all there is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from auth.principal import Principal
from fhir_server.model import codec
from fhir_server.model.bundle import link
from fhir_server.model.outcome import InvalidValue, UnsupportedParameter
from fhir_server.validation.structure import validate
from tests.conftest import AUDITOR, BASE, FACILITY, SYSTEM, World, citizen
from tests.fhir_server.interactions.test_writes import observation, patient

EXPLAIN = ("__explain", "true")
NARROW = replace(SYSTEM, scopes=("system/Observation.rs",))


@pytest.fixture
async def records(world: World) -> World:
    """Three Patients with an Observation each."""
    for number in range(3):
        await world.put(patient(str(number)) | {"id": f"p{number}"})
        await world.put(observation(f"Patient/p{number}") | {"id": f"o{number}"})
    return world


async def _found(world: World, *query: tuple[str, str], **more: Any) -> dict[str, Any]:
    asked = {"interaction": "search-type", "resource_type": "Observation"} | more
    result = await world.perform(asked.pop("interaction"), query=query, **asked)
    return codec.loads(result.body or b"")


def _outcomes(answer: dict[str, Any]) -> list[dict[str, Any]]:
    entries = answer.get("entry", ())
    return [one["resource"] for one in entries if one["search"]["mode"] == "outcome"]


async def test_an_explanation_goes_along_with_the_same_bundle(records: World) -> None:
    """The matches, their order and their total are the same; an OperationOutcome comes last."""
    plain = await _found(records, ("subject", "Patient/p1"))
    answer = await _found(records, ("subject", "Patient/p1"), EXPLAIN)

    assert validate(answer) == []
    assert answer["entry"][:-1] == plain["entry"]
    assert answer["total"] == plain["total"] == 1
    assert link(answer, "self") == f"{BASE}/Observation?subject=Patient/p1&__explain=true"
    (outcome,) = _outcomes(answer)
    assert [one["severity"] for one in outcome["issue"]] == ["information"]
    told = outcome["issue"][0]["diagnostics"].splitlines()
    assert [line.partition(":")[0] for line in told] == [
        "driver", "candidates", "judged row by row", "way", "work"
    ]  # fmt: skip
    assert "p1" not in outcome["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    "more",
    [
        {"interaction": "search-system", "resource_type": None},
        {"compartment": ("Patient", "p1")},
    ],
    ids=["system", "compartment"],
)
async def test_every_search_is_explained(records: World, more: dict[str, Any]) -> None:
    """Of several types each is an issue of its own."""
    answer = await _found(records, EXPLAIN, ("_count", "1"), **more)

    kinds = [one["details"]["text"].partition(":")[0] for one in _outcomes(answer)[0]["issue"]]
    assert "Observation" in kinds
    assert len(kinds) == len(set(kinds))
    assert "__explain=true" in (link(answer, "next") or "__explain=true")


@pytest.mark.parametrize(
    "principal", [citizen("p1"), FACILITY, NARROW], ids=["citizen", "facility", "scope"]
)
async def test_who_may_not_see_all_is_told_nothing(records: World, principal: Principal) -> None:
    """Estimates tell of what is hidden: the parameter is as one that there is not."""
    asked: dict[str, Any] = {"resource_type": "Observation"}
    plain = await records.perform("search-type", principal, **asked)

    lenient = await records.perform("search-type", principal, query=(EXPLAIN,), **asked)
    with pytest.raises(UnsupportedParameter):
        await records.perform(
            "search-type", principal, query=(EXPLAIN,), handling="strict", **asked
        )

    assert lenient.body == plain.body


async def test_audit_events_are_not_explained(records: World) -> None:
    """They are searched in the chain, which has no plan."""
    plain = await records.perform("search-type", AUDITOR, resource_type="AuditEvent")
    answer = codec.loads(plain.body or b"")
    asked = await records.perform(
        "search-type", AUDITOR, resource_type="AuditEvent", query=(EXPLAIN,)
    )

    assert _outcomes(codec.loads(asked.body or b"")) == []
    assert _outcomes(answer) == []


async def test_a_wrong_value_is_refused(records: World) -> None:
    """`__explain` is true or false; false explains nothing."""
    with pytest.raises(InvalidValue):
        await _found(records, ("__explain", "yes"))

    assert _outcomes(await _found(records, ("__explain", "false"))) == []
