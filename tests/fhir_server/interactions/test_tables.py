"""The tables of paths, functions and operations, and the CapabilityStatement made of them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fhir_server.interactions.capabilities import capability_statement
from fhir_server.interactions.context import Context, FhirRequest, FhirResult, Operation
from fhir_server.interactions.perform import ALL
from fhir_server.interactions.table import INTERACTIONS, locate
from fhir_server.model.outcome import FhirError
from fhir_server.search.parameters import Own, known_of
from fhir_server.validation.structure import validate
from tests.conftest import BASE, World

ROOT = Path(__file__).parents[3]


async def echo(ctx: Context, request: FhirRequest) -> FhirResult:
    """Answer the id that the operation was called on."""
    await ctx.store.ready()
    return FhirResult(resource={"resourceType": "Basic", "id": request.resource_id or "none"})


ECHO = Operation("$echo", echo, "http://example.org/echo", ("Patient",), methods={"GET"})


@pytest.mark.parametrize(
    ("path", "row", "named"),
    [
        ("Patient", "{type}", ("Patient", None, None, None)),
        ("Patient/_history", "{type}/_history", ("Patient", None, None, None)),
        ("Patient/Patient", "{type}/{id}", ("Patient", "Patient", None, None)),
        ("Patient/a/_history/3", "{type}/{id}/_history/{version}", ("Patient", "a", "3", None)),
        ("Patient/a/$everything", "{type}/{id}/{operation}", ("Patient", "a", None, "$everything")),
        ("$data-quality", "{operation}", (None, None, None, "$data-quality")),
        ("metadata", "metadata", (None, None, None, None)),
        ("$async-status/a", "$async-status/{id}", (None, "a", None, None)),
        ("$async-status/a/7", "$async-status/{id}/{version}", (None, "a", "7", None)),
        ("$async-status", "{operation}", (None, None, None, "$async-status")),
        ("", "", (None, None, None, None)),
    ],
)
def test_a_path_is_read(path: str, row: str, named: tuple[str | None, ...]) -> None:
    """Each of FHIR's path forms finds its row and names."""
    place = locate(path)

    assert place is not None
    assert place.path == row
    found = (place.resource_type, place.resource_id, place.version_id, place.operation)
    assert found == named


@pytest.mark.parametrize(
    ("path", "row", "sought"),
    [
        ("Patient/a/Observation", "{compartment}/{id}/{type}", "Observation"),
        ("Encounter/a/Observation/_search", "{compartment}/{id}/{type}/_search", "Observation"),
        ("Device/a/*", "{compartment}/{id}/*", None),
        ("Patient/a/*/_search", "{compartment}/{id}/*/_search", None),
    ],
)
def test_a_path_within_a_compartment_is_read(path: str, row: str, sought: str | None) -> None:
    """What it is of is apart from what is sought."""
    place = locate(path)

    assert place is not None
    assert (place.path, place.resource_type, place.resource_id) == (row, sought, None)
    assert place.compartment == (path.partition("/")[0], "a")


@pytest.mark.parametrize(
    "path",
    ["Observation/a/Patient", "Patient/a/Nothing", "Patient/*", "Patient/a_b/*",
     "Nothing", "patient", "Patient/" + "a" * 65, "Patient/a_b", "Patient//a", "a/b/c/d/e", "$X",
     "Patient/a/_history/3/4", "Patient/a\n"],
)  # fmt: skip
def test_another_path_is_none(path: str) -> None:
    """What has none of the forms names nothing."""
    assert locate(path) is None


def test_every_interaction_of_the_table_runs() -> None:
    """Each code of the table has a function, but metadata, which needs no caller."""
    assert {code for _, _, code in INTERACTIONS} - {"capabilities"} <= set(ALL)


def test_the_capability_statement_is_valid_and_computed() -> None:
    """It is valid FHIR, and names interactions, parameters and operations of the tables."""
    statement = capability_statement(BASE, (ECHO,))

    assert validate(statement) == []
    (rest,) = statement["rest"]
    by_type = {one["type"]: one for one in rest["resource"]}
    assert {one["code"] for one in by_type["Patient"]["interaction"]} >= {"read", "create"}
    assert "birthdate" in {one["name"] for one in by_type["Patient"]["searchParam"]}
    assert by_type["Patient"]["operation"] == [
        {"name": "echo", "definition": "http://example.org/echo"}
    ]
    assert rest["security"]["extension"][0]["url"].endswith("oauth-uris")
    assert "Observation:patient" in by_type["Patient"]["searchRevInclude"]
    assert "search-system" in {one["code"] for one in rest["interaction"]}
    assert {one["name"] for one in rest["searchParam"]} >= {"_lastUpdated", "_filter", "_list"}
    assert "http://hl7.org/fhir/CompartmentDefinition/encounter" in rest["compartment"]


def test_a_store_s_own_parameters_stand_in_the_statement_once_they_are_ready() -> None:
    """Under their own canonical URL, with includes; until then a sentence says how far they are."""
    eye = Own(
        name="eye", type="token", url="http://example.vn/eye", base=("Patient",),
        expression="Patient.gender", made=1, ready=True,
    )  # fmt: skip
    kin = msgspec.structs.replace(
        eye, name="kin", type="reference", url="http://example.vn/kin", made=2,
        expression="Patient.link.other", target=("Patient",),
    )  # fmt: skip
    late = msgspec.structs.replace(eye, name="late", made=3, ready=False)

    statement = capability_statement(BASE, (), known_of((eye, kin, late), 3).at("40 %"))

    assert validate(statement) == []
    by_type = {one["type"]: one for one in statement["rest"][0]["resource"]}
    patient, basic = by_type["Patient"], by_type["Basic"]
    assert {"name": "eye", "definition": "http://example.vn/eye", "type": "token"} in (
        patient["searchParam"]
    )
    assert "Patient:kin" in patient["searchInclude"]
    assert "Patient:kin" in patient["searchRevInclude"]
    assert "late" not in {one["name"] for one in patient["searchParam"]}
    assert patient["documentation"] == "Being indexed (40 % done), and refused until then: late."
    assert "documentation" not in basic
    assert "eye" not in {one["name"] for one in basic["searchParam"]}


def test_the_statement_names_the_version_of_the_project() -> None:
    """software.version is that of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert capability_statement(BASE, ())["software"]["version"] == project["version"]


def test_an_operation_stands_where_it_is_called() -> None:
    """One of every type stands under each type, and under rest only where the system has it."""
    every = Operation(
        "$every", echo, "http://example.org/every", levels=frozenset({"type", "instance"})
    )
    whole = Operation("$whole", echo, "http://example.org/whole", levels=frozenset({"system"}))

    (rest,) = capability_statement(BASE, (every, whole))["rest"]

    assert [one["name"] for one in rest["operation"]] == ["whole"]
    assert all([one["name"] for one in r["operation"]] == ["every"] for r in rest["resource"])


async def test_an_operation_is_called_by_its_row(world: World) -> None:
    """An operation runs where its row says; elsewhere it is 404, by another method 405."""
    ctx = world.context(operations=(ECHO,))
    run = ALL["operation"]

    result = await run(ctx, FhirRequest("operation", "Patient", "a", operation="$echo"))
    assert result.resource == {"resourceType": "Basic", "id": "a"}
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"resource_type": "Patient", "resource_id": "a", "operation": "$no"}, 404),
        ({"resource_type": "Patient", "operation": "$echo"}, 404),
        ({"resource_type": "Group", "resource_id": "a", "operation": "$echo"}, 404),
        (
            {"resource_type": "Patient", "resource_id": "a", "operation": "$echo",
             "method": "POST"},
            405,
        ),
    ]  # fmt: skip
    for fields, status in wrong:
        with pytest.raises(FhirError) as refusal:
            await run(ctx, FhirRequest("operation", **fields))
        assert refusal.value.status == status
