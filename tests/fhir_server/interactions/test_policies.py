"""What is hidden is absent from every form of answer, for any policy: a property."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.criteria import AnyOf, Anything, Criteria, InPatientCompartment, Matching, Tagged
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.outcome import FhirError
from tests.conftest import FACILITY, World
from tests.fhir_server.interactions.test_writes import observation, patient

TYPES = ("Patient", "Observation", "Practitioner", "Encounter")
PEOPLE = ("p0", "p1", "p2")


@dataclass(frozen=True)
class Drawn:
    """A policy drawn at random: criteria by type, for whatever reads."""

    criteria: tuple[tuple[str, Criteria | None], ...]
    masks: frozenset[str] = frozenset()
    facility: str = ""
    chooses_ids: bool = False

    def narrow(self, _interaction: str, resource_type: str | None) -> Criteria | None:
        """Return the criteria of the type."""
        return dict(self.criteria).get(resource_type or "")


def encounter(of: str) -> dict[str, Any]:
    """Return an Encounter of a Patient."""
    system = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": system, "code": "AMB"},
        "subject": {"reference": f"Patient/{of}"},
    }


async def filled() -> World:
    """Return a world where each person has an Encounter and Observations by two doctors."""
    world = World()
    for number in range(2):
        await world.put({"resourceType": "Practitioner", "id": f"d{number}"})
    for number, one in enumerate(PEOPLE):
        await world.put(patient(one, name=[{"family": f"Name{one}"}]) | {"id": one})
        await world.put(encounter(one) | {"id": f"e-{one}"})
        for turn in range(2):
            await world.put(
                observation(f"Patient/{one}")
                | {
                    "id": f"o-{one}-{turn}",
                    "encounter": {"reference": f"Encounter/e-{one}"},
                    "performer": [{"reference": f"Practitioner/d{(number + turn) % 2}"}],
                }
            )
    return world


WORLD = asyncio.run(filled())

criteria_of_any = st.one_of(
    st.none(),
    st.just(Anything()),
    st.sampled_from(PEOPLE).map(InPatientCompartment),
    st.just(Tagged("facility/01999")),
    st.just(AnyOf(())),
    st.sampled_from(["_id=p0,o-p1-0,d0,e-p2", "_id=p1,e-p1"]).map(Matching),
)
policies = st.tuples(*(st.tuples(st.just(kind), criteria_of_any) for kind in TYPES)).map(Drawn)
SEARCHES = (
    ("Observation", ()),
    ("Observation", (("_include", "*"),)),
    ("Observation", (("_include:iterate", "*"), ("_sort", "-_id"), ("_total", "accurate"))),
    ("Observation", (("subject:Patient.family", "Namep1"),)),
    ("Observation", (("encounter.subject:Patient.family", "Namep2"),)),
    ("Patient", (("_revinclude", "Observation:subject"), ("_revinclude:iterate", "*"))),
    ("Patient", (("_has:Observation:subject:performer", "Practitioner/d0"),)),
    ("Practitioner", (("_has:Observation:performer:subject:Patient.family", "Namep0"),)),
    ("Practitioner", (("_has:Observation:performer:_has:Observation:has-member:_id", "x"),)),
    ("Encounter", (("_revinclude", "Observation:encounter"), ("_count", "1"))),
    ("Observation", (("_summary", "count"),)),
)


async def shown_to(policy: Drawn) -> dict[str, set[str]]:
    """Return the ids of each type that a read shows."""
    shown: dict[str, set[str]] = {}
    for kind in TYPES:
        found = await asked(policy, FhirRequest("search-type", kind, query=(("_count", "100"),)))
        every = [one["resource"]["id"] for one in found.get("entry", ())]
        shown[kind] = set()
        for identity in (*PEOPLE, "d0", "d1", *every, *everyone()):
            if (await asked(policy, FhirRequest("read", kind, identity))).get("id") == identity:
                shown[kind].add(identity)
        assert shown[kind] == set(every)
    return shown


def everyone() -> list[str]:
    """Return the ids of all Encounters and Observations."""
    return [f"e-{p}" for p in PEOPLE] + [f"o-{p}-{n}" for p in PEOPLE for n in range(2)]


async def asked(policy: Drawn, request: FhirRequest) -> dict[str, Any]:
    """Return the answer of a request under a policy, {} where it is refused."""
    ctx = WORLD.context(FACILITY, policy=policy)
    try:
        result = await perform(ctx, request)
    except FhirError:
        return {}
    return codec.loads(result.body or (result.version.body if result.version else b"{}"))


@settings(max_examples=60, deadline=None)
@given(policy=policies)
def test_no_answer_shows_more_than_reads_do(policy: Drawn) -> None:
    """Searches, includes, chains, `_has`, totals and histories show what reads show, at most."""

    async def check() -> None:
        shown = await shown_to(policy)
        for kind, query in SEARCHES:
            answer = await asked(policy, FhirRequest("search-type", kind, query=query))
            for one in answer.get("entry", ()):
                resource = one["resource"]
                assert resource["id"] in shown[resource["resourceType"]]
            assert answer.get("total", 0) <= len(shown[kind])
        for kind in TYPES:
            history = await asked(policy, FhirRequest("history-type", kind))
            for one in history.get("entry", ()):
                assert one["resource"]["id"] in shown[kind]

    asyncio.run(check())


@settings(max_examples=60, deadline=None)
@given(policy=policies)
def test_a_condition_on_the_hidden_finds_nothing(policy: Drawn) -> None:
    """A chain or `_has` that only hidden resources fulfil matches as if they were not there."""

    async def check() -> None:
        shown = await shown_to(policy)
        for one in PEOPLE:
            query = (("subject:Patient.family", f"Name{one}"),)
            answer = await asked(policy, FhirRequest("search-type", "Observation", query=query))
            if one not in shown["Patient"]:
                assert "entry" not in answer
        for doctor in ("d0", "d1"):
            query = (("_has:Observation:performer:status", "final"), ("_id", doctor))
            answer = await asked(policy, FhirRequest("search-type", "Practitioner", query=query))
            if answer.get("entry"):
                assert any(
                    (int(o[3]) + int(o[5])) % 2 == int(doctor[1]) for o in shown["Observation"]
                )

    asyncio.run(check())


@pytest.mark.parametrize("kind", TYPES)
def test_the_world_is_not_empty(kind: str) -> None:
    """Under a policy that shows everything, everything is shown."""
    shown = asyncio.run(shown_to(Drawn(tuple((one, Anything()) for one in TYPES))))

    assert (
        len(shown[kind])
        == {"Patient": 3, "Observation": 6, "Practitioner": 2, "Encounter": 3}[kind]
    )


@pytest.mark.parametrize(("kind", "query"), SEARCHES)
def test_every_search_of_the_property_is_answered(
    kind: str, query: tuple[tuple[str, str], ...]
) -> None:
    """None of the searches above is refused, so none passes for that reason."""
    policy = Drawn(tuple((one, Anything()) for one in TYPES))

    answer = asyncio.run(asked(policy, FhirRequest("search-type", kind, query=query)))

    assert answer["resourceType"] == "Bundle"
