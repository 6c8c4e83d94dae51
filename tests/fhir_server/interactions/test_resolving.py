"""`:in`, `:not-in`, `:above`, `:below` and `_list`: what other resources say, as one sees them."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx
import pytest

from auth.principal import SYSTEM, Principal
from fhir_server.interactions.resolving import MOST_READ
from fhir_server.model import codec
from fhir_server.model.outcome import FhirError, InvalidValue, TooCostly
from fhir_server.store.port import Store
from tests.conftest import BASE, FACILITY, Clock, World, citizen
from tests.fhir_server.interactions.test_transaction import bundle, entry

X = "http://x/CodeSystem/animals"
ANIMALS = {
    "resourceType": "CodeSystem",
    "id": "animals",
    "url": X,
    "version": "1",
    "status": "active",
    "content": "complete",
    "concept": [
        {
            "code": "mammal",
            "concept": [{"code": "dog", "concept": [{"code": "poodle"}]}, {"code": "cat"}],
        },
        {"code": "bird", "concept": [{"code": "hen"}]},
    ],
}
CODES = ("mammal", "dog", "poodle", "cat", "bird", "hen")


def value_set(name: str, **more: Any) -> dict[str, Any]:
    """Return a ValueSet of one part, or as it is given."""
    return {
        "resourceType": "ValueSet",
        "id": name,
        "url": f"http://x/ValueSet/{name}",
        "status": "active",
        **more,
    }


def composed(name: str, *include: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a ValueSet that includes these."""
    return value_set(name, compose={"include": list(include), **more})


PETS = composed("pets", {"system": X, "concept": [{"code": "dog"}, {"code": "cat"}]})


def observed(code: str, subject: str = "Patient/ana", system: str = X) -> dict[str, Any]:
    """Return an Observation of a code, with the code as its id."""
    return {
        "resourceType": "Observation",
        "id": code,
        "status": "final",
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": subject},
    }


@pytest.fixture
async def animals(each_store: Store, clock: Clock) -> World:
    """An Observation of each animal and one of another system, of one Patient; a ValueSet."""
    world = World(store=each_store, clock=clock)
    await world.put({"resourceType": "Patient", "id": "ana", "gender": "female"})
    await world.put(ANIMALS)
    await world.put(PETS)
    for code in CODES:
        await world.put(observed(code))
    await world.put(observed("stone", system="http://other"))
    return world


async def search(
    world: World, *query: tuple[str, str], kind: str = "Observation", by: Principal = SYSTEM
) -> list[str]:
    """Return the ids that a search finds, sorted; as many are counted."""
    result = await world.perform(
        "search-type", by, resource_type=kind, query=(*query, ("_total", "accurate"))
    )
    answer = codec.loads(result.body or b"")
    found = sorted(one["resource"]["id"] for one in answer.get("entry", ()))
    assert answer["total"] == len(found)
    return found


ANSWERS: list[tuple[str, str, str]] = [
    ("code:in", "http://x/ValueSet/pets", "cat dog"),
    ("code:in", "ValueSet/pets", "cat dog"),
    ("code:in", f"{BASE}/ValueSet/pets", "cat dog"),
    ("code:not-in", "http://x/ValueSet/pets", "bird hen mammal poodle stone"),
    ("_filter", "code in http://x/ValueSet/pets", "cat dog"),
    ("_filter", "not (code in ValueSet/pets)", "bird hen mammal poodle stone"),
    ("_filter", "code ni http://x/ValueSet/pets", "bird hen mammal poodle stone"),
    ("_filter", f"code ni ValueSet/pets and code ss {X}|mammal", "mammal poodle"),
    ("code:below", f"{X}|dog", "dog poodle"),
    ("code:below", f"{X}|mammal,{X}|bird", "bird cat dog hen mammal poodle"),
    ("code:above", f"{X}|poodle", "dog mammal poodle"),
    ("_filter", f"code ss {X}|dog", "dog poodle"),
    ("_filter", f"code sb {X}|poodle and code ne {X}|dog", "mammal poodle"),
    ("_filter", f"subject:Patient.gender eq female and code ss {X}|bird", "bird hen"),
]


@pytest.mark.parametrize(("name", "value", "expected"), ANSWERS)
async def test_codes_are_told_by_value_sets_and_hierarchies(
    animals: World, name: str, value: str, expected: str
) -> None:
    """A search by a value set, or by what is above or below a code, finds these on every store."""
    assert await search(animals, (name, value)) == expected.split()


PARTS: list[tuple[str, dict[str, Any], str]] = [
    ("whole", {"include": [{"system": X}]}, "bird cat dog hen mammal poodle"),
    ("other-system", {"include": [{"system": "http://other"}]}, "stone"),
    (
        "is-a",
        {
            "include": [
                {"system": X, "filter": [{"property": "concept", "op": "is-a", "value": "mammal"}]}
            ]
        },
        "cat dog mammal poodle",
    ),
    (
        "is-a-both",
        {
            "include": [
                {
                    "system": X,
                    "filter": [
                        {"property": "concept", "op": "is-a", "value": "mammal"},
                        {"property": "concept", "op": "is-not-a", "value": "dog"},
                    ],
                }
            ]
        },
        "cat mammal",
    ),
    (
        "but",
        {
            "include": [{"system": X}],
            "exclude": [{"system": X, "concept": [{"code": "hen"}]}],
        },
        "bird cat dog mammal poodle",
    ),
    (
        "without-pets",
        {"include": [{"system": X}], "exclude": [{"valueSet": ["http://x/ValueSet/pets"]}]},
        "bird hen mammal poodle",
    ),
    ("nested", {"include": [{"valueSet": ["http://x/ValueSet/pets"]}]}, "cat dog"),
    (
        "both",
        {
            "include": [
                {
                    "system": X,
                    "valueSet": ["http://x/ValueSet/pets"],
                    "filter": [{"property": "concept", "op": "is-a", "value": "dog"}],
                }
            ]
        },
        "dog",
    ),
    (
        "several",
        {"include": [{"valueSet": ["http://x/ValueSet/pets"]}, {"system": "http://other"}]},
        "cat dog stone",
    ),
]


@pytest.mark.parametrize(("name", "compose", "expected"), PARTS, ids=[name for name, _, _ in PARTS])
async def test_a_composed_value_set_is_expanded(
    animals: World, name: str, compose: dict[str, Any], expected: str
) -> None:
    """Includes, excludes, filters, whole systems and other value sets say what is in a set."""
    await animals.put(value_set(name, compose=compose))

    assert await search(animals, ("code:in", f"ValueSet/{name}")) == expected.split()


async def test_a_stored_expansion_is_taken(world: World) -> None:
    """A set that only lists its codes has those; of a part of a list it cannot be told."""
    await world.put(observed("dog"))
    await world.put(observed("cat"))
    listed = {"timestamp": "2024-01-01", "contains": [{"system": X, "code": "dog"}]}
    await world.put(value_set("listed", expansion=listed))
    await world.put(value_set("part", expansion={**listed, "total": 2}))

    assert await search(world, ("code:in", "ValueSet/listed")) == ["dog"]
    with pytest.raises(InvalidValue, match="only a part"):
        await search(world, ("code:not-in", "ValueSet/part"))


async def test_r4s_own_value_sets_are_known(world: World) -> None:
    """What R4 requires of its elements is known without any ValueSet resource."""
    await world.put({"resourceType": "Patient", "id": "ana", "gender": "female"})
    gender = "http://hl7.org/fhir/ValueSet/administrative-gender"

    assert await search(world, ("gender:in", gender), kind="Patient") == ["ana"]
    assert await search(world, ("gender:in", f"{gender}|4.0.1"), kind="Patient") == ["ana"]
    assert await search(world, ("gender:not-in", gender), kind="Patient") == []


async def test_of_several_with_a_url_an_active_one_is_taken_or_the_version_named(
    world: World,
) -> None:
    """A URL alone means the newest active ValueSet; with a version that one."""
    url = "http://x/ValueSet/v"
    for version, code, status in (("1", "dog", "active"), ("2", "cat", "draft")):
        await world.put(
            composed(f"v{version}", {"system": X, "concept": [{"code": code}]})
            | {"url": url, "version": version, "status": status}
        )
        await world.put(observed(code))

    assert await search(world, ("code:in", url)) == ["dog"]
    assert await search(world, ("code:in", f"{url}|2")) == ["cat"]
    with pytest.raises(InvalidValue, match="not known"):
        await search(world, ("code:in", f"{url}|3"))


LOOP = composed("loop", {"valueSet": ["http://x/ValueSet/loop"]})
UNKNOWN: list[tuple[str, dict[str, Any] | None, str]] = [
    ("http://x/ValueSet/nope", None, "not known"),
    ("ValueSet/nope", None, "not known"),
    ("http://hl7.org/fhir/ValueSet/mimetypes", None, "not known"),
    ("ValueSet/loop", LOOP, "includes itself"),
    ("ValueSet/a", composed("a", {"valueSet": ["http://nope"]}), "not known"),
    ("ValueSet/a", value_set("a"), "does not say"),
    (
        "ValueSet/a",
        composed("a", {"system": "http://nope", "filter": [
            {"property": "concept", "op": "is-a", "value": "b"}
        ]}),
        "not known",
    ),
    (
        "ValueSet/a",
        composed("a", {"system": "http://nope"}, exclude=[
            {"system": "http://nope", "concept": [{"code": "b"}]}
        ]),
        "not known",
    ),
    (
        "ValueSet/a",
        composed("a", {"system": X, "filter": [
            {"property": "concept", "op": "regex", "value": "(a+)+"}
        ]}),
        "filter",
    ),
    (
        "ValueSet/a",
        composed("a", {"system": X, "filter": [{"property": "nope", "op": "=", "value": "b"}]}),
        "filter",
    ),
]  # fmt: skip


@pytest.mark.parametrize("name", ["code:in", "code:not-in"])
@pytest.mark.parametrize(("value", "stored", "why"), UNKNOWN)
async def test_what_cannot_be_told_is_refused(
    world: World, name: str, value: str, stored: dict[str, Any] | None, why: str
) -> None:
    """A value set that is not known, or not to be expanded, is a 400: nothing is found by it."""
    await world.put(ANIMALS)
    if stored is not None:
        await world.put(stored)

    with pytest.raises(InvalidValue, match=why) as refusal:
        await search(world, (name, value))

    assert refusal.value.issues[0].text_vi


@pytest.mark.parametrize(
    ("value", "more", "why"),
    [
        ("http://nope|a", {}, "not known"),
        (f"{X}|nope", {}, "does not have the code"),
        (f"{X}|dog", {"content": "fragment"}, "not known"),
        (f"{X}|dog", {"hierarchyMeaning": "part-of"}, "subsumed"),
    ],
)
async def test_a_hierarchy_that_is_not_known_is_refused(
    world: World, value: str, more: dict[str, Any], why: str
) -> None:
    """Without all of a code system that says what is subsumed, nobody can say what is below."""
    await world.put(ANIMALS | more)

    for name in ("code:below", "code:above"):
        with pytest.raises(InvalidValue, match=why):
            await search(world, (name, value))


async def test_hierarchies_by_properties(world: World) -> None:
    """A concept may name what is above or below it, and have several above it."""
    await world.put(
        ANIMALS
        | {
            "property": [
                {
                    "code": "up",
                    "uri": "http://hl7.org/fhir/concept-properties#parent",
                    "type": "code",
                }
            ],
            "concept": [
                {"code": "mammal"},
                {"code": "bird"},
                {"code": "dog", "property": [{"code": "up", "valueCode": "mammal"}]},
                {
                    "code": "hen",
                    "property": [
                        {"code": "parent", "valueCode": "bird"},
                        {"code": "parent", "valueCode": "mammal"},
                        {"code": "child", "valueCode": "hen"},
                    ],
                },
            ],
        }
    )
    for code in ("mammal", "bird", "dog", "hen"):
        await world.put(observed(code))

    assert await search(world, ("code:below", f"{X}|mammal")) == ["dog", "hen", "mammal"]
    assert await search(world, ("code:above", f"{X}|hen")) == ["bird", "hen", "mammal"]


# --- bounds ------------------------------------------------------------------------------


async def test_too_many_codes_are_too_costly(world: World) -> None:
    """More codes than a query may have values are refused; a whole system is one."""
    many = [{"code": f"c{number}"} for number in range(5_001)]
    await world.put(composed("many", {"system": X, "concept": many}))
    await world.put(composed("half", {"system": X, "concept": many[:2_600]}))
    await world.put(ANIMALS | {"concept": many})
    await world.put(composed("whole", {"system": X}))
    await world.put(observed("c1"))

    with pytest.raises(TooCostly):
        await search(world, ("code:in", "ValueSet/many"))
    with pytest.raises(TooCostly):
        await search(world, ("code:in", "ValueSet/half"), ("combo-code:in", "ValueSet/half"))
    assert await search(world, ("code:in", "ValueSet/half")) == ["c1"]
    assert await search(world, ("code:in", "ValueSet/whole")) == ["c1"]


async def test_too_many_value_sets_are_too_costly(world: World) -> None:
    """A set that includes ever more others is not followed without end."""
    for number in range(MOST_READ + 1):
        await world.put(composed(f"s{number}", {"system": X, "concept": [{"code": "dog"}]}))
    others = [{"valueSet": [f"http://x/ValueSet/s{number}"]} for number in range(MOST_READ + 1)]
    await world.put(composed("all", *others))

    with pytest.raises(TooCostly):
        await search(world, ("code:in", "ValueSet/all"))


async def test_sets_that_share_others_are_expanded_once(world: World) -> None:
    """Two ways from each set to the next are no more work than one: it does not double."""
    await world.put(composed("s0", {"system": X, "concept": [{"code": "dog"}]}))
    for number in range(1, 19):
        below = {"valueSet": [f"http://x/ValueSet/s{number - 1}"]}
        await world.put(composed(f"s{number}", below, below))
    await world.put(observed("dog"))

    assert await search(world, ("code:in", "ValueSet/s18")) == ["dog"]


async def test_filters_over_many_concepts_are_bounded(world: World) -> None:
    """Filters are counted by the concepts that each looks at."""
    many = [{"code": f"c{number}"} for number in range(2_000)]
    await world.put(ANIMALS | {"concept": many})
    rule = {"property": "concept", "op": "is-a", "value": "c1"}
    await world.put(composed("all", *[{"system": X, "filter": [rule]}] * 2_000))

    with pytest.raises(TooCostly):
        await search(world, ("code:in", "ValueSet/all"))


# --- Lists -------------------------------------------------------------------------------


def list_of(name: str, *items: str, **more: Any) -> dict[str, Any]:
    """Return a List that names these."""
    return {
        "resourceType": "List",
        "id": name,
        "status": "current",
        "mode": "working",
        "entry": [{"item": {"reference": one}} for one in items],
        **more,
    }


async def test_a_list_names_what_is_found(animals: World) -> None:
    """Of the type searched what a List names is found, and what is marked deleted is not."""
    named = list_of(
        "l", "Observation/dog", f"{BASE}/Observation/cat", "Patient/ana", "Observation/nope",
        "Observation/hen/_history/1", "http://other/Observation/bird",
    )  # fmt: skip
    named["mode"] = "changes"
    named["entry"].append({"item": {"reference": "Observation/poodle"}, "deleted": True})
    named["entry"].append({"item": {"display": "nothing"}})
    await animals.put(named)
    empty = list_of("empty", emptyReason={"text": "none"})
    await animals.put({name: value for name, value in empty.items() if name != "entry"})

    assert await search(animals, ("_list", "l")) == ["cat", "dog", "hen"]
    assert await search(animals, ("_list", "List/l"), ("code", "dog")) == ["dog"]
    assert await search(animals, ("_list", "l"), kind="Patient") == ["ana"]
    assert await search(animals, ("_filter", "_list eq l and not (code eq dog)")) == ["cat", "hen"]
    assert await search(animals, ("subject:Patient._list", "l"), ("code", "hen")) == ["hen"]
    assert await search(animals, ("_list", "empty")) == []
    assert await search(animals, ("_list", "empty,l"), ("code", "cat")) == ["cat"]
    assert await search(animals, ("_filter", "not (_list eq nope)"), ("code", "cat")) == ["cat"]


async def test_a_list_of_many_is_too_costly(world: World) -> None:
    """A List that names more than a query may have values is refused."""
    items = [f"Observation/o{number}" for number in range(5_001)]
    await world.put(list_of("many", *items))

    with pytest.raises(TooCostly):
        await search(world, ("_list", "many"))


# --- access ------------------------------------------------------------------------------

ANA, BO = citizen("ana"), citizen("bo")


@pytest.fixture
async def two(animals: World) -> World:
    """Ana, whose Observations those are, and Bo, with a List and an Observation each."""
    await animals.put({"resourceType": "Patient", "id": "bo"})
    await animals.put(observed("own", "Patient/bo"))
    both = ("Observation/own", "Observation/dog")
    await animals.put(list_of("of-ana", *both, subject={"reference": "Patient/ana"}))
    await animals.put(list_of("of-bo", *both, subject={"reference": "Patient/bo"}))
    return animals


async def test_a_list_of_another_names_nothing(two: World) -> None:
    """A List that is hidden is one that is not there; what it names is not told by it."""
    assert await search(two, ("_list", "of-ana"), by=ANA) == ["dog"]
    assert await search(two, ("_list", "of-bo"), by=ANA) == []
    assert await search(two, ("_list", "nope"), by=ANA) == []
    denied = "not (_list eq of-bo) and code eq dog"
    assert await search(two, ("_filter", denied), by=ANA) == ["dog"]
    assert await search(two, ("_list", "of-ana"), by=BO) == []
    assert await search(two, ("_list", "of-bo"), by=BO) == ["own"]


async def test_a_value_set_that_is_hidden_is_not_known(two: World) -> None:
    """A citizen is shown no ValueSet: it is refused in the words of one that there never was."""
    refusals = []
    for value in ("ValueSet/pets", "http://x/ValueSet/pets", "ValueSet/nope", "http://nope"):
        for name in ("code:in", "code:not-in"):
            with pytest.raises(InvalidValue) as refusal:
                await search(two, (name, value), by=ANA)
            refusals.append(codec.dumps(refusal.value.outcome()))
    with pytest.raises(InvalidValue, match="not known"):
        await search(two, ("code:below", f"{X}|dog"), by=ANA)

    assert len(set(refusals)) == 1


async def test_what_is_hidden_is_not_found_by_differing(two: World) -> None:
    """`ne` of a filter, chains and brackets in it, show no more than a plain search."""
    own = "code:not"

    assert await search(two, ("_filter", "code ne x"), by=BO) == ["own"]
    assert await search(two, (own, "x"), by=BO) == ["own"]
    assert await search(two, ("_filter", "subject:Patient.gender eq female"), by=BO) == []
    assert (
        await search(two, ("_filter", "subject:Patient[gender ne x].gender pr true"), by=BO) == []
    )


# --- conditions --------------------------------------------------------------------------


async def test_conditions_of_writes_are_resolved(animals: World) -> None:
    """If-None-Exist, and a conditional reference, may ask by a value set."""
    made = await animals.transaction(
        bundle(
            entry(
                "POST", "Observation", observed("new"), ifNoneExist="code:in=ValueSet/pets&_id=dog"
            ),
        )
    )
    linked = await animals.transaction(
        bundle(
            entry(
                "POST",
                "Observation",
                observed("x") | {"hasMember": [{"reference": f"Observation?code:below={X}|hen"}]},
            ),
        )
    )

    assert made["entry"][0]["response"]["status"].startswith("200")
    assert linked["entry"][0]["response"]["status"].startswith("201")
    with pytest.raises(FhirError, match="not known"):
        await animals.transaction(
            bundle(
                entry("POST", "Observation", observed("y"), ifNoneExist="code:in=ValueSet/nope"),
            )
        )


async def test_a_search_of_several_types_is_resolved_for_each(animals: World) -> None:
    """A List names resources of each type that is searched; so do compartments narrow it."""
    await animals.put(list_of("l", "Observation/dog", "Patient/ana"))
    result = await animals.perform("search-system", query=(("_list", "l"),))
    within = await animals.perform(
        "search-type",
        resource_type="Observation",
        compartment=("Patient", "ana"),
        query=(("_list", "l"),),
    )

    def names(body: bytes | None) -> list[str]:
        return sorted(one["resource"]["id"] for one in codec.loads(body or b"")["entry"])

    assert names(result.body) == ["ana", "dog"]
    assert names(within.body) == ["dog"]


async def test_an_audit_search_is_resolved(world: World) -> None:
    """A search of AuditEvents takes value sets too."""
    await world.put(composed("acts", {"system": "http://x", "concept": [{"code": "nope"}]}))

    assert await search(world, ("type:in", "ValueSet/acts"), kind="AuditEvent") == []
    assert await search(world, ("_list", "nope"), kind="AuditEvent") == []


async def test_a_facility_is_not_told_an_identifier_by_its_differing(world: World) -> None:
    """Whose numbers are hidden from a facility, it does not ask which ones differ."""
    patient = {"resourceType": "Patient", "id": "ana", "identifier": [{"value": "1"}]}
    await world.put(patient)
    shown = await search(world, ("_filter", "identifier ne 2"), kind="Patient")

    assert shown == ["ana"]
    assert await search(
        world, ("_filter", "identifier ne 2"), kind="Patient", by=FACILITY
    ) == []  # fmt: skip


# --- over HTTP ---------------------------------------------------------------------------


async def test_what_the_statement_claims_is_answered(
    world: World, client: httpx.AsyncClient
) -> None:
    """`_filter` and `_list`, which the CapabilityStatement names, are answered to GET and POST."""
    await world.put({"resourceType": "Patient", "id": "ana", "name": [{"given": ["Ân"]}]})
    await world.put({"resourceType": "Patient", "id": "bo", "name": [{"given": ["Bo"]}]})
    await world.put(list_of("l", "Patient/ana"))
    asked = {"_filter": 'given ew "an" and not (_id eq bo)', "_list": "List/l"}

    statement = (await client.get("metadata")).json()["rest"][0]
    by_get = await client.get("Patient", params=asked)
    by_post = await client.post("Patient/_search", data=asked)
    wrong = await client.get("Patient", params={"_filter": "given is a"})

    assert {one["name"] for one in statement["searchParam"]} >= set(asked)
    for answer in (by_get, by_post):
        assert [one["resource"]["id"] for one in answer.json()["entry"]] == ["ana"]
        assert "_filter=given" in answer.json()["link"][0]["url"]
    assert wrong.status_code == 400
    assert "character 7" in wrong.json()["issue"][0]["details"]["text"]
