"""An insurer's answers over dossiers with HIV codes tell nothing by what is left out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx2 as httpx
import pytest

from fhir_server.model import codec
from fhir_server.model.identifiers import PAYER
from fhir_server.rest.routes import fhir_app
from tests.adapters.submissions.test_routes import push
from tests.conftest import BASE, World
from tests.xml130 import costs, dossier, envelope, rows, visit

Clients = Callable[..., httpx.AsyncClient]

VISITS = {
    "LK-1": {"MA_BENH_CHINH": "I10", "MA_BENH_KT": "J00"},
    "LK-2": {"MA_BENH_CHINH": "I10", "MA_BENH_KT": "B20;J00"},
    "LK-3": {"MA_BENH_CHINH": "B20", "MA_BENH_KT": ""},
    "LK-4": {"MA_BENH_CHINH": "Z21", "MA_BENH_KT": "I10"},
}
SHOWN = (
    "Patient", "Encounter", "Condition", "MedicationRequest", "Procedure", "Claim", "Coverage",
    "Organization", "Practitioner",
)  # fmt: skip
SPOKEN_FOR = ("diagnosis", "reason-code", "participant", "type", "length", "part-of")


@pytest.fixture
async def insurer(world: World, client_of: Clients) -> httpx.AsyncClient:
    """An insurer's client of the FHIR paths, after a hospital sent four visits."""
    dossiers = []
    for ma_lk, codes in VISITS.items():
        summary = visit(MA_LK=ma_lk, LY_DO_VV="Mệt", **codes, **costs(drugs=1, services=1))
        service = rows("XML3", 1, MA_BENH=codes["MA_BENH_CHINH"])
        dossiers.append(dossier(summary, xml2=rows("XML2", 1), xml3=service))
    sent = await push(client_of(), envelope(dossiers))
    assert sent.status_code == 200, sent.text
    app = fhir_app(world.context_of, base_url=BASE, operations=(), max_body=1_000_000)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url=BASE + "/",
        headers={"Authorization": "Bearer insurer"},
    )


async def found(client: httpx.AsyncClient, kind: str, **query: str) -> list[dict[str, Any]]:
    """Return the resources that a search by POST finds."""
    answer = await client.post(f"{kind}/_search", data=query | {"_count": "1000"})
    assert answer.status_code == 200, answer.text
    return [one["resource"] for one in codec.loads(answer.content).get("entry", ())]


def named(value: Any) -> Iterator[str]:
    """Give what literal references say, at any depth."""
    if isinstance(value, list):
        for one in value:
            yield from named(one)
    elif isinstance(value, dict):
        if "reference" in value:
            yield value["reference"]
        yield from named(list(value.values()))


async def test_no_visit_falls_out_of_both_answers(insurer: httpx.AsyncClient) -> None:
    """Of what is there and what is not, each visit is in one answer; asked otherwise, too."""
    every = {one["id"] for one in await found(insurer, "Encounter")}
    assert len(every) == len(VISITS)
    for code in SPOKEN_FOR:
        for one, other in (
            ({f"{code}:missing": "true"}, {f"{code}:missing": "false"}),
            ({"_filter": f"{code} pr false"}, {"_filter": f"{code} pr true"}),
        ):
            absent = {visit["id"] for visit in await found(insurer, "Encounter", **one)}
            there = {visit["id"] for visit in await found(insurer, "Encounter", **other)}
            assert absent | there == every, code
            assert not absent & there, code

    assert await found(insurer, "Encounter", **{"diagnosis:missing": "true"}) == []
    assert await found(insurer, "Encounter", **{"reason-code:missing": "false"}) == []


async def test_whatever_an_insurer_is_told_of_it_may_read(
    world: World, insurer: httpx.AsyncClient
) -> None:
    """No reference of what it is shown leads to nothing, though a visit names what it may not see.

    The visits of the dossiers name what the Claim names; one over REST names a Condition more.
    """
    [claim, *_] = await found(insurer, "Claim")
    visit_name = claim["supportingInfo"][0]["valueReference"]["reference"]
    kind, _, identity = visit_name.partition("/")
    stored = await world.store.read(kind, identity)
    assert stored is not None
    encounter = codec.loads(stored.body)
    await world.put({
        "resourceType": "Condition",
        "id": "unnamed",
        "subject": encounter["subject"],
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "B20"}]},
    })
    more = {"condition": {"reference": "Condition/unnamed"}, "rank": 1}
    ranked = [one | {"rank": rank} for rank, one in enumerate(encounter["diagnosis"], 2)]
    await world.put(encounter | {"diagnosis": [more, *ranked]})

    shown = [one for each in SHOWN for one in await found(insurer, each)]
    assert len({one["resourceType"] for one in shown}) == len(SHOWN)
    told = {name for one in shown for name in named(one)}
    assert len(told) > len(VISITS)
    for name in sorted(told):
        assert (await insurer.get(name)).status_code == 200, name

    [seen] = [one for one in shown if one["id"] == identity]
    assert [one["rank"] for one in seen["diagnosis"]] == list(range(1, len(ranked) + 1))
    read = codec.loads((await insurer.get(visit_name)).content)
    old = codec.loads((await insurer.get(f"{visit_name}/_history/2")).content)
    assert seen == read == old
    asked = {"diagnosis": "Condition/unnamed"}
    assert await found(insurer, "Encounter", **asked) == []
    assert PAYER in codec.dumps(shown).decode()
