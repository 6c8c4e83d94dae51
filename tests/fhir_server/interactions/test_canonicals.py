"""Canonical URLs: chains, `_has`, `_include` and `_revinclude` over them, and their versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from auth.criteria import Anything, Criteria, Matching
from auth.principal import SYSTEM
from fhir_server.interactions import definitions, resolving
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.outcome import InvalidValue, TooCostly
from fhir_server.store.port import Store
from tests.conftest import Clock, World
from tests.fhir_server.interactions.test_transaction import bundle, entry

Q = "http://x/Questionnaire/q"
ALL = Anything()
OTHER = "http://x/Questionnaire/other"


def asking(name: str, url: str, version: str, status: str = "active") -> dict[str, Any]:
    """Return a Questionnaire; its title is its id."""
    made = {"resourceType": "Questionnaire", "id": name, "url": url, "status": status}
    return made | {"title": name} | ({"version": version} if version else {})


def answering(name: str, canonical: str, status: str = "completed") -> dict[str, Any]:
    """Return a QuestionnaireResponse."""
    made = {"resourceType": "QuestionnaireResponse", "id": name, "status": status}
    return made | {"questionnaire": canonical}


DEFINED = (
    asking("one", Q, "1.2.3"),
    asking("nine", Q, "1.9"),
    asking("ten", Q, "1.10.0"),
    asking("two", Q, "2.0", "draft"),
    asking("other", OTHER, ""),
)
ANSWERED = (
    answering("first", f"{Q}|1.2.3"),
    answering("ninth", f"{Q}|1.9", "amended"),
    answering("newest", f"{Q}|1.10.0"),
    answering("draft", f"{Q}|2.0"),
    answering("any", Q),
    answering("part", f"{Q}|1.2.3#part", "amended"),
    answering("others", OTHER, "amended"),
    answering("gone", "http://x/Questionnaire/gone|1"),
    answering("literal", "Questionnaire/nine"),
)


async def written(world: World, *resources: dict[str, Any]) -> World:
    """Write resources under their own ids."""
    entries = (entry("PUT", f"{one['resourceType']}/{one['id']}", one) for one in resources)
    await world.transaction(bundle(*entries))
    return world


async def filled(world: World) -> World:
    """Make versions of a Questionnaire, another one, answers to each, a plan that uses them."""
    plan = {
        "resourceType": "PlanDefinition", "id": "plan", "status": "active",
        "action": [{"definitionCanonical": f"{Q}|1.9"}, {"definitionUri": OTHER}],
    }  # fmt: skip
    return await written(world, *DEFINED, *ANSWERED, plan)


@pytest.fixture
async def asked(each_store: Store, clock: Clock) -> World:
    """What `filled` makes, over each store."""
    return await filled(World(store=each_store, clock=clock))


async def found(
    world: World, kind: str, *query: tuple[str, str], policy: Any = None
) -> tuple[set[str], set[str]]:
    """Return the ids that match, and those that come along."""
    answer = await perform(
        world.context(SYSTEM, policy=policy),
        FhirRequest("search-type" if kind else "search-system", kind or None, query=query),
    )
    entries = codec.loads(answer.body or b"").get("entry", ())
    matches, along = (
        {e["resource"]["id"] for e in entries if e["search"]["mode"] == mode}
        for mode in ("match", "include")
    )
    return matches, along


CHAINS = [
    ("questionnaire.title", "one", "first part"),
    ("questionnaire.title", "nine", "literal ninth"),
    ("questionnaire.title:exact", "ten", "any newest"),
    ("questionnaire:Questionnaire.status", "draft", "draft"),
    ("questionnaire.url", OTHER, "others"),
    ("questionnaire.version", "1.9,1.10.0", "any literal newest ninth"),
    ("questionnaire.title", "nobody", ""),
    ("_filter", "_profile pr false and questionnaire.version eq 2.0", "draft"),
    ("questionnaire._has:PlanDefinition:definition:status", "active", "literal ninth others"),
    ("_filter", 'questionnaire.title eq "one"', "first part"),
    ("_filter", 'not (questionnaire.title sw "n")', "any draft first gone newest others part"),
    ("questionnaire", Q, "any draft first newest ninth part"),
    ("questionnaire:below", f"{Q}|1", "first newest ninth part"),
    ("questionnaire:below", f"{Q}|1.2", "first part"),
    ("questionnaire:below", f"{Q}|1.1", ""),
    ("questionnaire:below", OTHER, "others"),
    ("questionnaire:above", f"{Q}|1.9.4", "ninth"),
    ("questionnaire", f"{Q}|1.2.3#part", "first part"),
]


async def test_a_chain_leads_from_a_url_to_the_definition_that_it_means(asked: World) -> None:
    """A version means that one, none the newest active one; a fragment changes nothing."""
    for name, value, expected in CHAINS:
        matches, _ = await found(asked, "QuestionnaireResponse", (name, value))
        assert matches == set(expected.split()), (name, value)


REVERSED = [
    ("_has:QuestionnaireResponse:questionnaire:status", "completed", "one ten two nine"),
    ("_has:QuestionnaireResponse:questionnaire:status", "amended", "other one nine"),
    ("_has:QuestionnaireResponse:questionnaire:_id", "any", "ten"),
    ("_has:QuestionnaireResponse:questionnaire:_id", "literal,gone", "nine"),
    ("_has:PlanDefinition:definition:status", "active", "other nine"),
    ("_filter", "status eq draft and title sw t", "two"),
]


async def test_has_finds_the_definitions_that_are_referred_to(
    asked: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether what refers is read or the definitions are asked one by one, the same are found."""
    for few in (0, 99):
        monkeypatch.setattr(resolving, "FEW_REFERRING", few)
        for name, value, expected in REVERSED:
            matches, _ = await found(asked, "Questionnaire", (name, value))
            assert matches == set(expected.split()), (few, name, value)
        # Of the whole system, what is no definition is never found by a URL.
        every, _ = await found(asked, "", REVERSED[0][:2])
        assert every == set(REVERSED[0][2].split())


async def test_definitions_come_along(asked: World) -> None:
    """`_include` brings the version that is meant; with a type named, of that type alone."""

    async def along(kind: str, *query: tuple[str, str]) -> set[str]:
        return (await found(asked, kind, *query))[1]

    include = ("_include", "QuestionnaireResponse:questionnaire")
    assert await along("QuestionnaireResponse", ("_id", "any"), include) == {"ten"}
    assert await along("QuestionnaireResponse", ("_id", "first,part,gone"), include) == {"one"}
    everything = await along("QuestionnaireResponse", ("_include", "*"))
    assert everything == {"other", "one", "ten", "two", "nine"}
    assert await along("PlanDefinition", ("_include", "PlanDefinition:definition")) == {
        "other",
        "nine",
    }
    of_type = ("_include", "PlanDefinition:definition:ActivityDefinition")
    assert await along("PlanDefinition", of_type) == set()


async def test_what_refers_to_a_definition_comes_along(asked: World) -> None:
    """`_revinclude` brings what names this version, and without a version the newest alone."""
    back = ("_revinclude", "QuestionnaireResponse:questionnaire")

    async def along(name: str, *more: tuple[str, str]) -> set[str]:
        return (await found(asked, "Questionnaire", ("_id", name), *(more or (back,))))[1]

    assert await along("one") == {"first", "part"}
    assert await along("ten") == {"any", "newest"}
    assert await along("nine") == {"literal", "ninth"}
    assert await along("nine", ("_revinclude", "*")) == {"literal", "ninth", "plan"}
    assert await along("nine", (f"{back[0]}", f"{back[1]}:PlanDefinition")) == set()
    around = (("_revinclude", "PlanDefinition:definition"), ("_include:iterate", "*"))
    assert await along("nine", *around) == {"other", "plan"}


@dataclass(frozen=True)
class Shows:
    """A policy that shows some Questionnaires, and some answers."""

    questionnaires: Criteria | None
    answers: Criteria = ALL
    masks: frozenset[str] = frozenset()
    facility: str = ""

    def narrow(self, _interaction: str, resource_type: str | None) -> Criteria | None:
        """Return the criteria of the type."""
        return self.questionnaires if resource_type == "Questionnaire" else self.answers


async def test_a_hidden_definition_is_as_if_it_were_not_there(asked: World) -> None:
    """The newest is the newest of those shown; nothing leads to, from or over what is hidden."""
    some = Shows(Matching("_id=one,nine"))
    kind, chain = "QuestionnaireResponse", ("questionnaire.status", "active")
    assert (await found(asked, kind, chain, policy=some))[0] == {
        "any",
        "first",
        "literal",
        "ninth",
        "part",
    }
    assert (await found(asked, kind, ("_id", "any,newest"), ("_include", "*"), policy=some))[1] == {
        "nine"
    }
    assert await found(asked, kind, chain, policy=Shows(None)) == (set(), set())

    first = Shows(Anything(), Matching("_id=first"))
    has = ("_has:QuestionnaireResponse:questionnaire:status", "completed,amended")
    assert (await found(asked, "Questionnaire", has, policy=first))[0] == {"one"}
    back = ("_revinclude", "QuestionnaireResponse:questionnaire")
    assert (await found(asked, "Questionnaire", back, policy=first))[1] == {"first"}


async def test_too_many_definitions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain to more definitions than are looked at is too costly, not cut."""
    asked = await filled(World())
    monkeypatch.setattr(definitions, "MOST_DEFINED", 3)
    monkeypatch.setattr(resolving, "FEW_REFERRING", 0)
    kind = "QuestionnaireResponse"
    assert (await found(asked, kind, ("questionnaire.title", "other")))[0] == {"others"}
    with pytest.raises(TooCostly, match="canonical"):
        await found(asked, kind, ("questionnaire.title", "one,nine,ten,two"))
    with pytest.raises(TooCostly, match="canonical"):
        await found(asked, "Questionnaire", (f"_has:{kind}:questionnaire:status", "completed"))


# --- hierarchies --------------------------------------------------------------------------


def place(name: str, within: str = "") -> dict[str, Any]:
    """Return a Location, part of another one."""
    part = {"partOf": {"reference": f"Location/{within}"}} if within else {}
    return {"resourceType": "Location", "id": name, "name": name} | part


def visit(where: str) -> dict[str, Any]:
    """Return an Encounter at a Location, whose id it has."""
    return {
        "resourceType": "Encounter", "id": where, "status": "finished",
        "class": {"code": "AMB"}, "location": [{"location": {"reference": f"Location/{where}"}}],
    }  # fmt: skip


async def placed(world: World) -> World:
    """Make a house of two floors, two rooms on one of them, a circle, and a visit to each."""
    tree = {"house": "", "floor": "house", "attic": "house", "room": "floor", "cell": "floor"}
    tree |= {"a": "b", "b": "a"}
    places = [place(name, within) for name, within in tree.items()]
    return await written(world, *places, *map(visit, tree))


HIERARCHIES = [
    ("Encounter", "location:below", "Location/house", "attic cell floor house room"),
    ("Encounter", "location:below", "floor", "cell floor room"),
    ("Encounter", "location:below", "room,Location/attic", "attic room"),
    ("Encounter", "location:above", "cell", "cell floor house"),
    ("Encounter", "location:above", "Location/house", "house"),
    ("Encounter", "location:below", "a", "a b"),
    ("Encounter", "location:above", "a", "a b"),
    ("Encounter", "location:below", "never", ""),
    ("Encounter", "location.partof:below", "house", "attic cell floor room"),
    ("Location", "partof:below", "house", "attic cell floor room"),
    ("Location", "partof:above", "floor", "attic cell floor room"),
    ("Location", "_has:Encounter:location:location:above", "cell", "cell floor house"),
]


async def test_a_reference_is_to_what_is_above_or_below(each_store: Store, clock: Clock) -> None:
    """`:below` finds references to the parts of a resource, `:above` to what it is part of."""
    places = await placed(World(store=each_store, clock=clock))
    for kind, name, value, expected in HIERARCHIES:
        matches, _ = await found(places, kind, (name, value))
        assert matches == set(expected.split()), (name, value)


@dataclass(frozen=True)
class Hides:
    """A policy that shows some Locations alone."""

    shown: str
    masks: frozenset[str] = frozenset()
    facility: str = ""

    def narrow(self, _interaction: str, resource_type: str | None) -> Criteria | None:
        """Return the criteria of the type."""
        return Matching(f"_id={self.shown}") if resource_type == "Location" else Anything()


async def test_a_hidden_link_of_a_hierarchy_is_none() -> None:
    """What is part of something only by a hidden resource is not below it, nor that above."""
    places = await placed(World())
    hides_floor = Hides("house,attic,room,cell")

    async def at(name: str, value: str) -> set[str]:
        return (await found(places, "Encounter", (name, value), policy=hides_floor))[0]

    assert await at("location:below", "house") == {"attic", "house"}
    # That the room is on this floor is shown; on what the floor is, is not.
    assert await at("location:above", "room") == {"floor", "room"}


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("Encounter", "subject:below", "Patient/a"),
        ("Encounter", "location:below", "http://elsewhere/fhir/Location/a"),
        ("Encounter", "location:above", "Location/a/_history/1"),
        ("Observation", "device:above", "a"),
        ("QuestionnaireResponse", "questionnaire:below", "Questionnaire/a"),
        ("QuestionnaireResponse", "questionnaire:above", "nothing"),
    ],
)
async def test_what_has_no_hierarchy_is_refused(
    world: World, kind: str, name: str, value: str
) -> None:
    """A value that no hierarchy is known of is a 400."""
    with pytest.raises(InvalidValue):
        await found(world, kind, (name, value))


async def test_a_hierarchy_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """More parts or levels than are looked at are too costly, not cut."""
    places = await placed(World())
    monkeypatch.setattr(resolving, "MOST_PARTS", 4)
    with pytest.raises(TooCostly):
        await found(places, "Encounter", ("location:below", "house"))
    assert len((await found(places, "Encounter", ("location:below", "floor")))[0]) == 3
    monkeypatch.setattr(resolving, "MOST_LEVELS", 1)
    with pytest.raises(TooCostly):
        await found(places, "Encounter", ("location:below", "floor"))
