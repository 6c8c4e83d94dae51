"""Searches that ask for thousands of things at once: the same answer, and soon."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Final

import pytest
import pytest_asyncio

from fhir_server.search.expression import (
    And,
    DateIs,
    Expression,
    InPatient,
    LastUpdated,
    Not,
    NumberIs,
    Or,
    Prefix,
    RefersTo,
    Search,
    StringIs,
    TokenIs,
    UriIs,
)
from fhir_server.store.memory import MemoryStore
from fhir_server.store.mongo import judge, reads
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Store
from tests.contracts.making import START, observation, patient, put
from tests.contracts.test_store_agree import _found
from tests.mongo.databases import open_mongo

LONG: Final = "x" * 40_000
LIST: Final = range(3_000)
SOON: Final = 3.0
"""Seconds of this process's own work; it was from 4 to 120 of them, nobody served meanwhile."""

RESOURCES: Final = (
    *(patient(f"p{n}", name=[{"family": f"Le {n}"}], gender="male") for n in range(12)),
    patient("long", name=[{"family": LONG + "y"}]),
    *(
        observation(
            f"o{n}",
            f"p{n}",
            effectiveDateTime=f"2024-05-{n + 1:02}",
            meta={"source": f"http://x/{n}/a"},
            category=[{"coding": [{"system": f"http://s/{n % 3}", "code": f"c{n % 4}"}]}],
        )
        for n in range(12)
    ),
    observation("bare", "nobody", category=[{"coding": [{"code": "c1"}]}, {"text": "c1"}]),
    *(
        {
            "resourceType": "RiskAssessment",
            "id": f"r{n}",
            "prediction": [{"probabilityDecimal": Decimal(n)}],
        }
        for n in range(12)
    ),
)


def _token(number: int) -> Expression:
    system = (None, f"http://s/{number}", "")[number % 3]
    return TokenIs("category", system, None if number == 1 else f"c{number}")


def _number(number: int) -> Expression:
    value = Decimal(number)
    return NumberIs("probability", Prefix.EQ, value, value, value + 1)


_DAY: Final = 86_400_000_000
_MAY: Final = 1_714_496_400_000_000

MANY: Final[dict[str, tuple[str, Expression]]] = {
    "beginnings": ("Patient", Or(tuple(StringIs("name", f"le {n}") for n in LIST[4:]))),
    "texts": ("Patient", Or(tuple(StringIs("name", f"Le {n}", "exact") for n in LIST[4:]))),
    "URIs below": (
        "Observation",
        Or(tuple(UriIs("_source", f"http://x/{n}/", "below") for n in LIST[4:])),
    ),
    "dates": (
        "Observation",
        Or(
            tuple(
                DateIs("date", Prefix.EQ, _MAY + n * _DAY, _MAY + (n + 1) * _DAY - 1)
                for n in LIST[4:]
            )
        ),
    ),
    "no dates": (
        "Observation",
        Not(Or(tuple(DateIs("date", Prefix.LE, n, _MAY + 3 * _DAY) for n in LIST))),
    ),
    "numbers": ("RiskAssessment", Or(tuple(map(_number, LIST[4:])))),
    "times": ("Patient", Or(tuple(LastUpdated(Prefix.EQ, START + n, START + n) for n in LIST))),
    "tokens": ("Observation", Or(tuple(map(_token, LIST)))),
    "no tokens": ("Observation", Not(Or(tuple(map(_token, LIST[2:]))))),
    "any token": (
        "Observation",
        Or((*map(_token, range(100, 120)), TokenIs("category", None, None))),
    ),
    "none of tokens": ("Observation", And(tuple(Not(_token(n)) for n in LIST[2:2000]))),
    "each of many": (
        "Observation",
        And(tuple(Or((TokenIs("category", None, "c1"), _token(n))) for n in LIST[2:1500])),
    ),
    "the same again": ("Observation", And(tuple(TokenIs("category", None, "c1") for _ in LIST))),
    "references": ("Observation", Or(tuple(RefersTo("subject", "Patient", f"p{n}") for n in LIST))),
    "references to any type": (
        "Observation",
        Or(tuple(RefersTo("subject", None, f"p{n}") for n in LIST[4:])),
    ),
    "Patients": ("Observation", InPatient(frozenset(f"p{n}" for n in LIST[4:]))),
    "a long text in it": ("Patient", StringIs("name", LONG[:33_000], "contains")),
    "a long text not in it": ("Patient", Not(StringIs("name", LONG + "xy", "contains"))),
    "a text as long as what is kept": ("Patient", StringIs("name", LONG[:120], "contains")),
    "a text that is longer": ("Patient", StringIs("name", LONG[:121], "contains")),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stores(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[MongoStore, Store]]:
    """A store, and the reference implementation, which hold the same."""
    opened, measure = await open_mongo(tmp_path_factory.mktemp("lists")), MemoryStore()
    await put(opened, *RESOURCES)
    await put(measure, *RESOURCES)
    yield opened, measure
    await opened.close()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", MANY)
async def test_a_long_list_is_answered_soon(
    name: str, stores: tuple[MongoStore, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of alternatives, or of conditions, are found as the reference finds them."""
    monkeypatch.setattr(reads, "SECONDS", 60.0)  # the machine may be busy
    store, measure = stores
    search = Search((MANY[name],), count=5, total="accurate")

    began = time.process_time()
    found = await store.search(search)
    took = time.process_time() - began

    assert took < SOON
    assert [one.resource_id for one in found.versions] == [
        one.resource_id for one in (await measure.search(search)).versions
    ]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", ["tokens", "no tokens", "any token", "texts", "numbers"])
async def test_a_long_list_is_counted_and_paged(
    name: str, stores: tuple[MongoStore, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pages of it, the count, and what is seen of each resource are the reference's."""
    monkeypatch.setattr(reads, "SECONDS", 60.0)
    monkeypatch.setattr(judge, "_TURN", 2)
    store, measure = stores
    search = Search((MANY[name],), count=5, total="accurate")

    assert await _found(store, search) == await _found(measure, search)
