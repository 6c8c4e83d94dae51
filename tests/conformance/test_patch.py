"""The patch cases of FHIR/fhir-test-cases (JSON, XML, FHIRPath), but those of patch.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from fhir_server.model import codec
from fhir_server.model.outcome import FhirError
from fhir_server.model.patch import document, fhirpath_patch, json_patch, xml_patch
from tests.data import DATA, shared_data

pytestmark = pytest.mark.data

COUNTS = {"json": 16, "xml": 29, "fhirpath": 33}


@cache
def exceptions() -> set[tuple[str, str]]:
    """Return format and name of the cases that are not asked."""
    text = Path(__file__).with_name("patch.toml").read_text(encoding="utf-8")
    return {(row["format"], row["case"]) for row in tomllib.loads(text)["exception"]}


def cases(form: str) -> dict[str, Any]:
    """Return the cases of a format by their names."""
    if not DATA.is_dir():
        return {}
    if form == "json":
        found = codec.loads((DATA / "patch" / "json-patch-tests.json").read_bytes())
        return {case["comment"]: case for case in found}
    name = "xml-patch-tests.xml" if form == "xml" else "fhir-patch-tests.xml"
    return {case.get("name"): case for case in etree.parse(DATA / "patch" / name).iter("case")}


def asked(form: str) -> list[Any]:
    """Return the cases of a format that are asked."""
    named = [one for one in cases(form).items() if (form, one[0]) not in exceptions()]
    return [pytest.param(case, id=name) for name, case in named]


@pytest.mark.parametrize("form", COUNTS)
def test_every_case_is_there(form: str) -> None:
    """The folder holds all cases, each with a name of its own; an exception is one of them."""
    shared_data()
    names = cases(form).keys()

    assert len(names) == COUNTS[form]
    assert {name for kind, name in exceptions() if kind == form} <= names


@pytest.mark.parametrize("case", asked("json"))
def test_json_patch(case: dict[str, Any]) -> None:
    """The document comes out as expected, or the patch is refused."""
    patch = document.read(codec.dumps(case["patch"]), "application/json-patch+json")
    assert isinstance(patch, json_patch.JsonPatch)

    if "error" in case:
        with pytest.raises(FhirError):
            patch.apply(case["doc"])
    else:
        assert patch.apply(case["doc"]) == case["expected"]


def plain(element: Any) -> bytes:
    """Return an element in canonical form, without white space between elements."""
    copy = etree.fromstring(etree.tostring(element, with_tail=False))
    for one in copy.iter():
        one.text = one.text if (one.text or "").strip() else None
        one.tail = one.tail if (one.tail or "").strip() else None
    return bytes(etree.tostring(copy, method="c14n", exclusive=True))


def own(element: Any) -> bytes:
    """Return the bytes of an element as a document of its own."""
    return bytes(etree.tostring(element, with_tail=False))


@pytest.mark.parametrize("case", asked("xml"))
def test_xml_patch(case: Any) -> None:
    """The document comes out as expected, or the patch is refused."""
    target = etree.fromstring(own(case.find("target")[0]))
    (change,) = [one for one in case if etree.QName(one).localname == "patch"]

    def run() -> Any:
        return xml_patch.parse(own(change)).run(target)

    if case.find("error") is not None:
        with pytest.raises(FhirError):
            run()
    else:
        assert plain(run()) == plain(case.find("patched")[0])


@pytest.mark.parametrize("case", asked("fhirpath"))
def test_fhirpath_patch(case: Any) -> None:
    """The resource comes out as expected, or the patch is refused; the same in JSON."""
    before = codec.from_xml(own(case.find("input")[0]))
    parameters = codec.from_xml(own(case.find("diff")[0]))
    patches = [
        document.read(own(case.find("diff")[0]), "application/fhir+xml"),
        document.read(codec.dumps(parameters), "application/fhir+json"),
    ]

    for patch in patches:
        assert isinstance(patch, fhirpath_patch.FhirPathPatch)
        resource = codec.loads(codec.dumps(before))
        if case.find("error") is not None:
            with pytest.raises(FhirError):
                patch.apply(resource)
        else:
            expected = codec.from_xml(own(case.find("output")[0]))
            assert patch.apply(resource) == expected
