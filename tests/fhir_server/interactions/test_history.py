"""Of what a history is asked for, https://hl7.org/fhir/R4/http.html#history."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from auth.principal import SYSTEM, Principal
from fhir_server.model import codec
from fhir_server.model.outcome import FhirError, Forbidden, InvalidValue, UnsupportedParameter
from fhir_server.store.port import Store
from tests.conftest import AUDITOR, FACILITY, World, citizen
from tests.fhir_server.interactions.test_writes import observation, patient


async def stocked(store: Store) -> World:
    """Two Patients, each written twice, an Observation of one, an Organization, and Lists."""
    made = World(store=store)
    for name in ("a", "b"):
        for active in (True, False):
            await made.put(patient(name, active=active) | {"id": name})
    await made.put(observation("Patient/a") | {"id": "o"})
    await made.put({"resourceType": "Organization", "id": "g", "name": "x"})
    await made.put(listed("mixed", "Patient/a", "Organization/g", "Patient/b/_history/1"))
    await made.put(listed("own", "Patient/a/_history/1", "Observation/o", of="Patient/a"))
    return made


@pytest.fixture
async def world(store: Store) -> World:
    """That world over the store of the run."""
    return await stocked(store)


def listed(name: str, *references: str, of: str | None = None) -> dict[str, Any]:
    """Return a List of these, and of one more that was taken from it."""
    entries: list[dict[str, Any]] = [{"item": {"reference": one}} for one in references]
    entries += [
        {"deleted": True, "item": {"reference": "Observation/o"}},
        {"item": {"display": "x"}},
    ]
    made = {"resourceType": "List", "id": name, "status": "current", "mode": "changes"}
    return made | {"entry": entries} | ({"subject": {"reference": of}} if of else {})


async def told(
    world: World, path: str, query: str, caller: Principal = SYSTEM, **fields: Any
) -> str:
    """Return the versions of all pages of a history, newest first."""
    kind, _, identity = path.partition("/")
    level = "instance" if identity else "type" if kind else "system"
    pages: list[list[str]] = []
    pairs: list[tuple[str, str]] | None = parse_qsl(query, keep_blank_values=True)
    while pairs is not None:
        result = await world.perform(
            f"history-{level}",
            caller,
            resource_type=kind or None,
            resource_id=identity or None,
            query=tuple(pairs),
            **fields,
        )
        answer = codec.loads(result.body or b"")
        resources = [one["resource"] for one in answer.get("entry", ())]
        pages.append([f"{r['id']}/{r['meta']['versionId']}" for r in resources])
        urls = {link["relation"]: link["url"] for link in answer["link"]}
        pairs = parse_qsl(urlsplit(urls["next"]).query) if "next" in urls else None
    return " ".join(one for page in pages for one in page)


ASKED = (
    ("", "_type=Organization", "g/1"),
    ("", "_type=Organization,Patient", "g/1 b/2 b/1 a/2 a/1"),
    ("", "_type=Basic", ""),
    ("", "_list=mixed", "g/1 b/1 a/2 a/1"),
    ("", "_list=List/mixed&_type=Patient,Observation", "b/1 a/2 a/1"),
    ("", "_list=never", ""),
    ("Patient", "_list=mixed", "b/1 a/2 a/1"),
    ("Patient/b", "_list=mixed", "b/1"),
    ("Patient/a", "_list=mixed", "a/2 a/1"),
    ("Patient/a", "_list=never", ""),
    ("Observation/o", "_list=mixed", ""),
    ("Patient/a", "_type=Organization", "a/2 a/1"),
)


async def test_types_and_lists(each_store: Store) -> None:
    """`_type` names types, `_list` resources or versions of them; no page is wider."""
    world = await stocked(each_store)

    for path, query, expected in ASKED:
        for count in (1, 2, 50):
            assert await told(world, path, f"{query}&_count={count}") == expected, (path, query)


async def test_totals_and_links(world: World) -> None:
    """What is counted is what is asked for, and the links ask for it again."""
    result = await world.perform("history-system", query=(("_list", "mixed"), ("_count", "0")))
    answer = codec.loads(result.body or b"")

    assert answer["total"] == 4
    assert answer["link"][0]["url"].endswith("/_history?_list=mixed&_count=0")


async def test_a_list_is_what_the_caller_is_shown_of_it(world: World) -> None:
    """A hidden List holds nothing; of one that is shown, what is hidden is not shown either."""
    a, b = citizen("a"), citizen("b")

    assert await told(world, "Patient/a", "_list=own", a) == "a/1"
    assert await told(world, "Observation/o", "_list=own", a) == "o/1"
    assert await told(world, "Patient/b", "_list=own", b) == ""
    assert await told(world, "Patient/b", "_list=mixed", b) == "", "no one's List is not shown"


@pytest.mark.parametrize(
    ("path", "query", "refusal"),
    [
        ("", "_type=Patients", InvalidValue),
        ("", "_type=", InvalidValue),
        ("", "_type=Patient&_type=Organization", InvalidValue),
        ("", "_list=Patient/a", InvalidValue),
        ("Patient", "_list=$current-problems", UnsupportedParameter),
    ],
)
async def test_what_is_no_type_and_no_list(
    world: World, path: str, query: str, refusal: type[FhirError]
) -> None:
    """A value that cannot be one is refused, and never a wider history."""
    with pytest.raises(refusal):
        await told(world, path, query)


async def test_strict_handling_knows_them(world: World) -> None:
    """`_type` is the whole system's alone, `_list` every history's."""
    assert await told(world, "", "_type=Organization&_list=mixed", handling="strict") == "g/1"
    with pytest.raises(UnsupportedParameter):
        await told(world, "Patient", "_type=Patient", handling="strict")


@pytest.mark.parametrize("caller", [AUDITOR, FACILITY, citizen("a")], ids=lambda one: one.kind)
async def test_types_widen_nothing(world: World, caller: Principal) -> None:
    """Whom the history of all is refused, or a type, is refused it by name."""
    with pytest.raises(Forbidden):
        await told(world, "", "_type=Patient", caller)
