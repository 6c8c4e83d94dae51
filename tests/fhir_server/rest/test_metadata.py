"""What of the CapabilityStatement may be asked for: `mode`, `_summary`, `_elements`, `_format`.

https://hl7.org/fhir/R4/http.html#capabilities
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import httpx2 as httpx
import pytest

from fhir_server.interactions.capabilities import capability_statement
from fhir_server.model import codec
from fhir_server.operations.table import OPERATIONS
from fhir_server.validation.structure import validate
from tests.conftest import BASE, World
from tests.outcome import assert_outcome

ClientOf = Callable[..., httpx.AsyncClient]


@pytest.mark.parametrize("query", ["", "?mode=full", "?mode=normative", "?_summary=false"])
async def test_all_of_it(new_client: ClientOf, query: str) -> None:
    """R4 lets a server ignore `mode`; nothing is left out for the sake of one."""
    async with new_client(None) as nobody:
        whole, asked = await nobody.get("metadata"), await nobody.get(f"metadata{query}")

    assert (asked.status_code, asked.content) == (200, whole.content)
    assert asked.headers["ETag"] == whole.headers["ETag"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("mode=terminology", "not-supported"),
        ("mode=some", "value"),
        ("mode=full&mode=normative", "value"),
        ("_summary=some", "value"),
    ],
)
async def test_what_is_not_there_is_refused(new_client: ClientOf, query: str, code: str) -> None:
    """Nobody who asks for TerminologyCapabilities is given something else."""
    async with new_client(None) as nobody:
        assert_outcome(await nobody.get(f"metadata?{query}"), 400, code)


@pytest.mark.parametrize("form", ["json", "xml"])
@pytest.mark.parametrize(
    ("query", "there", "gone"),
    [
        ("_summary=true", {"rest", "fhirVersion"}, set()),
        ("_summary=text", {"status", "kind"}, {"rest", "publisher"}),
        ("_elements=software,CapabilityStatement.implementation.url", {"software"}, {"rest"}),
        ("_elements=nothing", {"fhirVersion"}, {"rest", "software"}),
    ],
)
async def test_a_part_of_it(
    new_client: ClientOf, query: str, there: set[str], gone: set[str], form: str
) -> None:
    """`_summary` and `_elements` as on any resource: valid, marked, in each format."""
    async with new_client(None) as nobody:
        answer = await nobody.get(f"metadata?{query}&_format={form}")
        whole = await nobody.get(f"metadata?_format={form}")
        again = await nobody.get(
            f"metadata?{query}&_format={form}", headers={"If-None-Match": answer.headers["ETag"]}
        )

    shown = (codec.loads if form == "json" else codec.from_xml)(answer.content)
    # That rest or a description is there, of the whole, a part cannot keep.
    assert [one for one in validate(shown) if one.code != "invariant"] == []
    assert there <= shown.keys()
    assert not gone & shown.keys()
    assert shown["meta"]["tag"][0]["code"] == "SUBSETTED"
    # The names of all search parameters are most of it, and in no part that leaves anything out.
    assert len(answer.content) < len(whole.content) / 10
    assert answer.headers["ETag"] != whole.headers["ETag"]
    assert again.status_code == 304


async def test_however_much_is_asked_little_is_kept(new_client: ClientOf) -> None:
    """Anybody may ask for any part: after some, each is made anew and right."""
    names = ["software", "format", "rest", "publisher", "implementation", "date"]
    async with new_client(None) as nobody:
        for number in range(64):
            chosen = [name for bit, name in enumerate(names) if number >> bit & 1] or ["kind"]
            shown = (await nobody.get(f"metadata?_elements={','.join(chosen)}")).json()
            assert set(chosen) <= shown.keys()
            assert not (set(names) - set(chosen) - {"format", "date"}) & shown.keys()


async def test_an_entry_of_a_bundle_asks_for_a_part(world: World) -> None:
    """As by itself."""
    asked = {"method": "GET", "url": "metadata?_elements=software"}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": asked}]}

    answer = await world.transaction(bundle)

    assert "rest" not in answer["entry"][0]["resource"]
    assert "software" in answer["entry"][0]["resource"]


def test_its_date_is_that_of_its_last_change() -> None:
    """Whoever changes what is stated says when: set `capabilities._DATE` and this digest."""
    statement = capability_statement(BASE, OPERATIONS)
    date = statement.pop("date")

    assert (date, sha256(codec.dumps(statement)).hexdigest()[:16]) == (
        "2026-11-27",
        "1abdf06378e00f28",
    )
