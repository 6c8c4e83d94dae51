"""Search and history answers, https://hl7.org/fhir/R4/http.html#search."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from fhir_server.model import codec
from fhir_server.model.outcome import FhirError, InvalidValue
from fhir_server.validation.structure import validate
from tests.conftest import BASE, World
from tests.fhir_server.interactions.test_writes import observation, patient


async def found(world: World, kind: str, *query: tuple[str, str], **more: Any) -> dict[str, Any]:
    """Return the searchset of a search by system."""
    result = await world.perform("search-type", resource_type=kind, query=query, **more)
    return codec.loads(result.body or b"")


def ids(answer: dict[str, Any], mode: str = "match") -> list[str]:
    """Return the ids of the entries of one mode."""
    entries = answer.get("entry", ())
    return [one["resource"]["id"] for one in entries if one["search"]["mode"] == mode]


def link(answer: dict[str, Any], relation: str) -> str | None:
    """Return a link of a Bundle."""
    return next((one["url"] for one in answer["link"] if one["relation"] == relation), None)


@pytest.fixture
async def records(world: World) -> World:
    """Five Patients with an Observation each."""
    for number in range(5):
        world.clock.move(seconds=1)
        await world.put(
            patient(str(number), name=[{"family": f"N{number}"}]) | {"id": f"p{number}"}
        )
        await world.put(observation(f"Patient/p{number}") | {"id": f"o{number}"})
    return world


async def test_a_searchset_is_valid_and_links_itself(records: World) -> None:
    """The answer is a valid Bundle with fullUrls; `self` has only what was understood."""
    answer = await found(records, "Patient", ("family", "N3"), ("nonsense", "x"))

    assert validate(answer) == []
    assert ids(answer) == ["p3"]
    assert answer["entry"][0]["fullUrl"] == f"{BASE}/Patient/p3"
    assert link(answer, "self") == f"{BASE}/Patient?family=N3"


async def test_strict_handling_refuses_what_is_unknown(records: World) -> None:
    """Under `Prefer: handling=strict` an unknown parameter is 400."""
    with pytest.raises(FhirError) as refusal:
        await found(records, "Patient", ("nonsense", "x"), handling="strict")

    assert refusal.value.status == 400


async def test_pages_visit_each_match_once(records: World) -> None:
    """Following `next` visits every match once, newest first."""
    answer = await found(records, "Patient", ("_count", "2"))
    seen = ids(answer)
    while (following := link(answer, "next")) is not None:
        query = parse_qsl(urlsplit(following).query)
        answer = await found(records, "Patient", *query)
        seen += ids(answer)

    assert seen == ["p4", "p3", "p2", "p1", "p0"]


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("Patient", {}),
        ("Observation", {"compartment": ("Patient", "p1")}),
        (None, {}),
    ],
    ids=["type", "compartment", "system"],
)
async def test_pages_are_turned_forth_and_back(
    records: World, kind: str | None, more: dict[str, Any]
) -> None:
    """`previous` leads to the pages that `next` came from, `first` to the first, `self` to itself.

    What is created meanwhile is on none of them.
    """
    await records.put(observation("Patient/p1") | {"id": "more"})
    interaction = "search-type" if kind else "search-system"

    async def page(url: str) -> dict[str, Any]:
        query = tuple(parse_qsl(urlsplit(url).query))
        result = await records.perform(interaction, resource_type=kind, query=query, **more)
        return codec.loads(result.body or b"")

    pages = [await page("?_count=1&_type=Patient" if kind is None else "?_count=1")]
    assert link(pages[0], "previous") is None
    assert link(pages[0], "first") == link(pages[0], "self")
    while (following := link(pages[-1], "next")) is not None:
        pages.append(await page(following))
        assert link(pages[-1], "self") == following
    await records.put(patient("new") | {"id": "new"})
    await records.put(observation("Patient/p1") | {"id": "newer"})
    back = []
    while (before := link(back[0] if back else pages[-1], "previous")) is not None:
        back.insert(0, await page(before))

    assert len(pages) > 1
    assert [ids(one) for one in back] == [ids(one) for one in pages[:-1]]
    assert ids(await page(link(pages[-1], "first") or "")) == ids(pages[0])
    assert validate(pages[1]) == []


async def test_a_forged_cursor_is_refused(records: World) -> None:
    """A cursor that this server did not make is 400, never a wider search."""
    with pytest.raises(FhirError) as refusal:
        await found(records, "Patient", ("_cursor", "AAAA"))

    assert refusal.value.status == 400


async def _cursor(records: World) -> tuple[str, str]:
    page = await found(records, "Patient", ("family", "N"), ("_count", "1"))
    query = dict(parse_qsl(urlsplit(link(page, "next") or "").query))
    return ("_cursor", query["_cursor"])


@pytest.mark.parametrize(
    "query",
    [
        (("name", "a"), ("_count", "3")),
        (("family", "N"), ("name", "n")),
        (("family", "N"), ("_sort", "-birthdate")),
        (("_count", "3"),),
    ],
)
async def test_a_cursor_of_another_search_is_refused(
    records: World, query: tuple[tuple[str, str], ...]
) -> None:
    """A cursor belongs to what was asked: with another question it is 400."""
    cursor = await _cursor(records)

    with pytest.raises(InvalidValue):
        await found(records, "Patient", *query, cursor)


async def test_how_a_page_is_shown_may_change(records: World) -> None:
    """The next page may be larger or a summary: what is asked is the same."""
    cursor = await _cursor(records)

    answer = await found(
        records, "Patient", ("_summary", "true"), ("_count", "3"), ("family", "N"), cursor
    )

    assert ids(answer) == ["p3", "p2", "p1"]


@pytest.mark.parametrize("asked", [(), (("_total", "estimate"),), (("_total", "accurate"),)])
async def test_every_page_has_the_total(records: World, asked: tuple[tuple[str, str], ...]) -> None:
    """The number of all matches goes along on each page, whether it was asked for or not."""
    first = await found(records, "Patient", ("family", "N"), ("_count", "2"), *asked)
    second = await found(records, "Patient", *parse_qsl(urlsplit(link(first, "next") or "").query))
    whole = await found(records, "Patient", ("family", "N3"), *asked)

    assert (first["total"], second["total"], whole["total"]) == (5, 5, 1)


async def test_no_total_goes_along_where_none_is_wanted(records: World) -> None:
    """`_total=none` asks for no total."""
    answer = await found(records, "Patient", ("_count", "2"), ("_total", "none"))

    assert "total" not in answer


@pytest.mark.parametrize("query", [("_count", "0"), ("_summary", "count")])
async def test_a_count_has_no_entries(records: World, query: tuple[str, str]) -> None:
    """`_summary=count` and `_count=0` answer the total alone."""
    answer = await found(records, "Patient", query)

    assert answer["total"] == 5
    assert "entry" not in answer


async def test_includes_go_along(records: World) -> None:
    """`_include` and `_revinclude` bring what is referred to and what refers."""
    forward = await found(
        records, "Observation", ("_id", "o1"), ("_include", "Observation:subject")
    )
    backward = await found(
        records, "Patient", ("_id", "p2"), ("_revinclude", "Observation:subject")
    )
    typed = await found(
        records, "Observation", ("_id", "o1"), ("_include", "Observation:subject:Group")
    )

    assert (ids(forward), ids(forward, "include")) == (["o1"], ["p1"])
    assert (ids(backward), ids(backward, "include")) == (["p2"], ["o2"])
    assert ids(typed, "include") == []


async def test_included_resources_are_included_again_with_iterate(records: World) -> None:
    """`:iterate` follows what was included, and stops where nothing is new."""
    for one, other in ("ab", "ba"):
        await records.put(
            observation("Patient/p0")
            | {"id": one, "hasMember": [{"reference": f"Observation/{other}"}]}
        )

    answer = await found(
        records, "Observation", ("_id", "a"), ("_include:iterate", "Observation:has-member"),
        ("_include:iterate", "Observation:subject"),
    )  # fmt: skip

    assert sorted(ids(answer, "include")) == ["b", "p0"]


async def test_elements_and_summary_give_a_part(records: World) -> None:
    """`_elements` and `_summary` give a part that is marked SUBSETTED and keeps what must be."""
    elements = await found(records, "Observation", ("_id", "o1"), ("_elements", "subject"))
    text = await found(records, "Observation", ("_id", "o1"), ("_summary", "text"))

    (one,) = [entry["resource"] for entry in elements["entry"]]
    assert set(one) == {"resourceType", "id", "meta", "status", "code", "subject"}
    assert one["meta"]["tag"][-1]["code"] == "SUBSETTED"
    assert "subject" not in text["entry"][0]["resource"]


async def test_history_lists_versions_newest_first(records: World) -> None:
    """The history of a resource has its versions, how they came, and its deletion."""
    await records.put(patient("x") | {"id": "h"})
    await records.put(patient("y") | {"id": "h"})
    await records.perform("delete", resource_type="Patient", resource_id="h")

    result = await records.perform("history-instance", resource_type="Patient", resource_id="h")

    answer = codec.loads(result.body or b"")
    assert validate(answer) == []
    told = [(e["request"]["method"], e["response"]["status"]) for e in answer["entry"]]
    assert told == [("DELETE", "204"), ("PUT", "200"), ("PUT", "201")]
    assert answer["total"] == 3


async def test_each_page_of_a_history_has_the_number_of_versions(records: World) -> None:
    """The total of a resource's history is all its versions, on a later page too."""
    for name in "abc":
        await records.put(patient(name) | {"id": "h"})
    asked = {"resource_type": "Patient", "resource_id": "h"}
    first = await records.perform("history-instance", **asked, query=(("_count", "2"),))
    following = link(codec.loads(first.body or b""), "next") or ""
    query = tuple(parse_qsl(urlsplit(following).query))
    second = await records.perform("history-instance", **asked, query=query)

    assert [codec.loads(page.body or b"")["total"] for page in (first, second)] == [3, 3]


@pytest.mark.parametrize("interaction", ["history-type", "history-system"])
async def test_a_wider_history_that_is_one_page_has_its_total(
    records: World, interaction: str
) -> None:
    """The history of a type or of all that one page holds says how many versions there are."""
    kind = "Patient" if interaction == "history-type" else None
    result = await records.perform(interaction, resource_type=kind)

    answer = codec.loads(result.body or b"")
    assert answer["total"] == len(answer["entry"]) == (5 if kind else 10)


@pytest.mark.parametrize("interaction", ["history-type", "history-system"])
async def test_wider_histories_are_paged(records: World, interaction: str) -> None:
    """The history of a type and of all is paged and narrowed by `_since`."""
    kind = "Patient" if interaction == "history-type" else None
    since = ("_since", "2024-01-01T07:00:03+07:00")
    result = await records.perform(interaction, resource_type=kind, query=(("_count", "2"), since))
    answer = codec.loads(result.body or b"")
    seen = len(answer["entry"])
    while (following := link(answer, "next")) is not None:
        query = tuple(parse_qsl(urlsplit(following).query))
        result = await records.perform(interaction, resource_type=kind, query=query)
        answer = codec.loads(result.body or b"")
        seen += len(answer.get("entry", ()))

    assert seen == (3 if kind else 6)


@pytest.mark.parametrize("interaction", ["history-type", "history-system", "history-instance"])
async def test_histories_are_turned_forth_and_back(records: World, interaction: str) -> None:
    """`previous` of a history leads to the pages that `next` came from, whatever is written."""
    for name in "abcd":
        await records.put(patient(name) | {"id": "p0"})
    kind = None if interaction == "history-system" else "Patient"
    identity = "p0" if interaction == "history-instance" else None

    async def page(url: str) -> dict[str, Any]:
        query = tuple(parse_qsl(urlsplit(url).query))
        result = await records.perform(
            interaction, resource_type=kind, resource_id=identity, query=query
        )
        return codec.loads(result.body or b"")

    def told(answer: dict[str, Any]) -> list[str]:
        return [one["fullUrl"] + one["response"]["etag"] for one in answer["entry"]]

    pages = [await page("?_count=2")]
    assert link(pages[0], "previous") is None
    while (following := link(pages[-1], "next")) is not None:
        pages.append(await page(following))
        assert link(pages[-1], "self") == following
        await records.put(patient(f"again{len(pages)}") | {"id": "p0"})
    back = []
    while (before := link(back[0] if back else pages[-1], "previous")) is not None:
        back.insert(0, await page(before))

    assert len(pages) > 1
    assert [told(one) for one in back] == [told(one) for one in pages[:-1]]
    assert told(await page(link(pages[-1], "first") or "")) == told(pages[0])


@pytest.mark.parametrize("query", [("_count", "-1"), ("_since", "soon"), ("_at", "2024-13")])
async def test_a_wrong_history_parameter_is_refused(records: World, query: tuple[str, str]) -> None:
    """A history's parameter that cannot be read is 400."""
    with pytest.raises(FhirError) as refusal:
        await records.perform("history-type", resource_type="Patient", query=(query,))

    assert refusal.value.status == 400


async def test_old_versions_are_read(records: World) -> None:
    """A vread gives the version asked for; one that never was, or is no number, is 404."""
    await records.put(patient("new") | {"id": "p0"})

    old = await records.perform("vread", resource_type="Patient", resource_id="p0", version_id="1")
    assert old.version is not None
    assert b'"0"' in old.version.body
    for wrong in ("3", "0", "01", "x", "9" * 30):
        with pytest.raises(FhirError) as refusal:
            await records.perform(
                "vread", resource_type="Patient", resource_id="p0", version_id=wrong
            )
        assert refusal.value.status == 404
