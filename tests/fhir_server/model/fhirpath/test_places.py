"""Where in a resource each result is: the keys lead to its value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model import definitions
from fhir_server.model.fhirpath import expression as fhirpath
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.expression import Place
from tests.fhir_server.model.fhirpath.asking import OBSERVATION, PATIENT

ALL = fhirpath.compile("descendants()")


def value_at(resource: object, keys: tuple[str | int, ...]) -> object:
    """Return what the keys lead to."""
    for key in keys:
        resource = resource.get(key) if isinstance(resource, dict) else resource[key]
    return resource


@pytest.mark.parametrize("resource", [PATIENT, OBSERVATION], ids=["Patient", "Observation"])
def test_the_keys_lead_to_the_value(resource: dict[str, object]) -> None:
    """The place of every element below a resource has its value, and a type that is known."""
    found = ALL.results(resource)

    assert len(found) > 15
    for result in found:
        assert value_at(resource, result.place.keys) == result.value
        assert result.place.type == result.type
        assert definitions.is_type(result.type) or definitions.properties(result.type)
        (again,) = fhirpath.compile("$this").results(resource, at=result.place.keys)
        assert again == result
    assert len({result.place.keys for result in found}) == len(found)


@pytest.mark.parametrize(
    ("text", "keys", "type_"),
    [
        ("Patient", (), "Patient"),
        ("Patient.name[0].given[1]", ("name", 0, "given", 1), "string"),
        ("name.where(use = 'usual').given[0]", ("name", 1, "given", 0), "string"),
        ("name[1].given[0].id", ("name", 1, "_given", 0, "id"), "string"),
        ("birthDate.extension.value", ("_birthDate", "extension", 0, "valueDateTime"), "dateTime"),
        ("multipleBirth", ("multipleBirthInteger",), "integer"),
        ("contained.name", ("contained", 0, "name"), "string"),
        ("managingOrganization.resolve()", ("contained", 0), "Organization"),
        ("extension.where(url = 'http://example.org/note')", ("extension", 1), "Extension"),
    ],
)
def test_a_place(text: str, keys: tuple[str | int, ...], type_: str) -> None:
    """An expression names one element: its keys in JSON, and its type."""
    assert fhirpath.compile(text).locate(PATIENT) == [Place(keys, type_)]


def test_the_type_of_a_backbone_is_its_path() -> None:
    """Under the path the definitions have what may be in it."""
    (first, *_) = fhirpath.compile("component").locate(OBSERVATION)

    assert first == Place(("component", 0), "Observation.component")
    assert "valueQuantity" in definitions.properties(first.type)


def test_what_is_beside_a_primitive_is_a_place_from_which_to_ask() -> None:
    """Keys under `_name` are of what stands there; `_name` itself is the primitive."""
    url = fhirpath.compile("url")

    assert url.evaluate(PATIENT, at=("_birthDate", "extension", 0)) == ["http://example.org/time"]
    assert fhirpath.compile("$this").evaluate(PATIENT, at=("_birthDate",)) == ["1974-12-25"]


@pytest.mark.parametrize("text", ["1", "name.given.first() & 'x'", "name.count()"])
def test_what_is_no_element_has_no_place(text: str) -> None:
    """A value that the expression makes is nowhere in the resource."""
    with pytest.raises(FhirPathError, match="no element"):
        fhirpath.compile(text).locate(PATIENT)


@given(st.lists(st.none() | st.text("ab", min_size=1), min_size=1, max_size=5), st.data())
def test_a_list_of_primitives_and_what_is_beside_them(
    values: list[str | None], data: st.DataObject
) -> None:
    """Each index is one element, whether it has a value, something beside it, or both."""
    size = st.integers(0, 6)
    beside = [data.draw(st.sampled_from([None, {"id": "x"}])) for _ in range(data.draw(size))]
    patient = {"resourceType": "Patient", "name": [{"given": values, "_given": beside}]}

    found = fhirpath.compile("name.given").locate(patient)

    pairs = enumerate(values + [None] * (len(beside) - len(values)))
    wanted = [
        at
        for at, value in pairs
        if value is not None or (at < len(beside) and beside[at] is not None)
    ]
    assert [place.keys for place in found] == [("name", 0, "given", at) for at in wanted]
