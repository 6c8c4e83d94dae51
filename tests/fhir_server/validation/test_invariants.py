"""The invariants in the table: each holds where it should, and only there."""

# ruff: noqa: E501 - a row of a table reads best in one line

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fhir_server.model import definitions
from fhir_server.validation import structure
from fhir_server.validation.invariants import CHECKS, TERMINOLOGY, is_distinct
from fhir_server.validation.structure import validate

UCUM = "http://unitsofmeasure.org"
EXT = [{"url": "u", "valueCode": "c"}]


def coded(system: str, code: str) -> dict[str, Any]:
    """Return a concept of one of HL7's code systems."""
    return {"coding": [{"system": TERMINOLOGY + system, "code": code}]}


Node = dict[str, Any]
# key: elements for which it holds, elements for which it does not
CASES: dict[str, tuple[list[Node], list[Node]]] = {
    "age-1": ([{}, {"value": 1, "code": "a", "system": UCUM}], [{"value": 1}, {"value": 0, "code": "a"}, {"code": "a", "system": "x"}]),
    "ait-1": ([{"clinicalStatus": {}}, {"verificationStatus": coded("allergyintolerance-verification", "entered-in-error")}], [{}]),
    "ait-2": ([{}, {"clinicalStatus": {}}], [{"clinicalStatus": {}, "verificationStatus": coded("allergyintolerance-verification", "entered-in-error")}]),
    "app-1": ([{"type": []}, {"actor": {}}], [{}]),
    "app-2": ([{}, {"start": "a", "end": "b"}], [{"start": "a"}, {"end": "b"}]),
    "app-3": ([{"status": "proposed"}, {"start": "a", "end": "b"}], [{"status": "booked"}]),
    "app-4": ([{}, {"cancelationReason": {}, "status": "noshow-x"[:0] + "no-show"}], [{"cancelationReason": {}, "status": "booked"}]),
    "apr-1": ([{"actor": {}}, {"participantType": []}], [{}]),
    "att-1": ([{}, {"data": "QQ==", "contentType": "a/b"}], [{"data": "QQ=="}]),
    "bdl-5": ([{"resource": {}}, {"request": {}}, {"response": {}}], [{"fullUrl": "x"}]),
    "bdl-8": ([{}, {"fullUrl": "http://x/Patient/1"}], [{"fullUrl": "http://x/Patient/1/_history/2"}]),
    "ces-1": ([{"category": {}}], [{}, {"category": {}, "productOrService": {}}]),
    "cmd-1": ([{}, {"equivalence": "equal"}, {"equivalence": "narrower", "comment": "x"}], [{"equivalence": "inexact"}]),
    "cmd-2": ([{"mode": "provided"}, {"mode": "fixed", "code": "x"}], [{"mode": "fixed"}]),
    "cmd-3": ([{"mode": "fixed"}], [{"mode": "other-map"}]),
    "cpb-1": ([{"rest": []}], [{}]),
    "cpb-2": ([{"software": {}}], [{}]),
    "cpb-14": ([{"kind": "capability"}, {"kind": "instance", "implementation": {}}], [{"kind": "instance"}]),
    "csd-1": ([{}, {"concept": [{"code": "a", "concept": [{"code": "b"}]}]}], [{"concept": [{"code": "a", "concept": [{"code": "a"}]}]}]),
    "inv-1@TestReport.setup.action": ([{"operation": {}}], [{}]),
    "inv-2": ([{"assert": {}}], [{"assert": {}, "operation": {}}]),
    "msq-3": ([{"coordinateSystem": 0}, {"coordinateSystem": 1}], [{"coordinateSystem": 2}]),
    "msq-5": ([{}, {"chromosome": {}, "genomeBuild": "x"}], [{"chromosome": {}}]),
    "nsd-1": ([{"kind": "root", "uniqueId": [{"type": "oid"}]}], [{"kind": "root", "uniqueId": [{"type": "uuid"}]}]),
    "opd-1": ([{"part": []}], [{}]),
    "opd-2": ([{}, {"searchType": "token", "type": "string"}], [{"searchType": "token", "type": "code"}]),
    "opd-3": ([{}, {"targetProfile": [], "type": "canonical"}], [{"targetProfile": [], "type": "code"}]),
    "ppc-3": ([{}], [{"scope": {"coding": [{"system": "something", "code": "research"}]}}]),
    "ppc-4": ([{}], [{"scope": {"coding": [{"system": "something", "code": "adr"}]}}]),
    "ppc-5": ([{}], [{"scope": {"coding": [{"system": "something", "code": "treatment"}]}}]),
    "smp-1": ([{}], [{"element": "x"}]),
    "smp-2": ([{}], [{"context": "x"}]),
    "trd-1": ([{"data": []}], [{"data": [], "timingDate": "2020"}]),
    "trd-2": ([{}], [{"condition": {}}]),
    "tst-1": ([{"operation": {}}], [{}]),
    "tst-2": ([{"operation": {}}], [{}]),
    "cmp-1": ([{"text": {}}], [{}]),
    "cmp-2": ([{"emptyReason": {}}], [{"emptyReason": {}, "entry": []}]),
    "cnt-3": ([{}, {"value": 5, "code": "1", "system": UCUM}], [{"value": Decimal("1.5"), "code": "1"}, {"value": 1}, {"value": 1, "code": "kg"}]),
    "con-1": ([{"summary": {}}], [{"type": {}}]),
    "con-2": ([{"code": []}], [{}]),
    "con-4": ([{}, {"abatementString": "x", "clinicalStatus": coded("condition-clinical", "resolved")}], [{"abatementDateTime": "2020"}, {"_abatementDateTime": {}, "clinicalStatus": coded("condition-clinical", "active")}]),
    "con-5": ([{"clinicalStatus": {}}], [{"clinicalStatus": {}, "verificationStatus": coded("condition-ver-status", "entered-in-error")}]),
    "cpl-3": ([{"detail": {}}], [{"detail": {}, "reference": {}}]),
    "cpt-2": ([{}, {"value": "1", "system": "phone"}, {"value": "1", "_system": {}}], [{"value": "1"}, {"_value": {}}]),
    "dis-1": ([{}, {"value": 1, "code": "m"}], [{"value": 1}]),
    "drq-1": ([{"path": "x"}], [{}, {"path": "x", "searchParam": "y"}]),
    "drq-2": ([{"searchParam": "x"}], [{}]),
    "drt-1": ([{}, {"value": 1}, {"value": 1, "code": "h", "system": UCUM}], [{"code": "h", "system": UCUM}, {"value": 1, "code": "h"}]),
    "exp-1": ([{"expression": "x"}], [{"language": "x"}]),
    "fhs-1": ([{"ageString": "x"}], [{"ageString": "x", "bornDate": "2020"}]),
    "fhs-2": ([{}, {"ageString": "x", "estimatedAge": True}], [{"estimatedAge": True}]),
    "gol-1": ([{}, {"detailString": "x", "measure": {}}], [{"detailString": "x"}]),
    "grp-1": ([{}, {"member": [], "actual": True}], [{"member": [], "actual": False}]),
    "imm-1": ([{"reference": "x"}], [{}]),
    "imr-1": ([{"vaccineCode": []}], [{}]),
    "inv-1": ([{"valueCode": "x"}, {"resource": {}}, {"part": []}, {"_valueCode": {}}], [{}, {"valueCode": "x", "part": []}, {"valueCode": "x", "resource": {}}]),
    "inv-1@Task": ([{}, {"authoredOn": "2020", "lastModified": "2020-05"}], [{"authoredOn": "2021", "lastModified": "2020"}]),
    "ipn-1": ([{"name": "x"}], [{}]),
    "lnk-1": ([{"item": [{}, {}]}], [{"item": [{}]}, {}]),
    "lst-1": ([{"entry": []}], [{"entry": [], "emptyReason": {}}]),
    "lst-2": ([{"entry": [{}]}, {"mode": "changes", "entry": [{"deleted": True}]}], [{"mode": "working", "entry": [{"deleted": True}]}]),
    "lst-3": ([{"mode": "working", "entry": [{"date": "x"}]}], [{"mode": "changes", "entry": [{"date": "x"}]}]),
    "mad-1": ([{"dose": {}}, {"rateRatio": {}}], [{"text": "x"}]),
    "mdd-1": ([{}, {"whenPrepared": "2020-01-01", "whenHandedOver": "2020-01-01"}], [{"whenPrepared": "2020-01-02", "whenHandedOver": "2020-01-01"}]),
    "mqty-1": ([{}, {"value": 1, "code": "VND"}], [{"value": 1, "code": "VND", "system": UCUM}]),
    "mrp-1": ([{"type": "summary", "group": []}], [{"type": "data-collection", "group": []}]),
    "obs-3": ([{"text": "x"}], [{"appliesTo": []}]),
    "obs-6": ([{"dataAbsentReason": {}}, {"valueCode": "x"}], [{"dataAbsentReason": {}, "valueString": "x"}]),
    "obs-7": ([{"valueString": "x", "code": coded("a", "1"), "component": [{"code": coded("a", "2")}]}, {"component": [{"code": coded("a", "1")}], "code": coded("a", "1")}], [{"valueString": "x", "code": coded("a", "1"), "component": [{"code": coded("a", "1")}]}]),
    "org-1": ([{"name": "x"}, {"identifier": []}], [{}]),
    "org-2": ([{"use": "work"}], [{"use": "home"}]),
    "org-3": ([{}], [{"use": "home"}]),
    "pat-1": ([{"name": {}}, {"organization": {}}], [{"gender": "male"}]),
    "per-1": (
        [{}, {"start": "2020"}, {"start": "2020", "end": "2020"}, {"start": "2020-05", "end": "2020"}, {"start": "2020-01-01T10:00:00+07:00", "end": "2020-01-01T04:00:00Z"}, {"start": "x", "end": "a"}, {"start": 1, "end": 0}],
        [{"start": "2021", "end": "2020"}, {"start": "2020-01-01T10:00:00Z", "end": "2020-01-01T16:00:00+07:00"}, {"start": "2020-01-01T10:00:00.5Z", "end": "2020-01-01T10:00:00.4Z"}],
    ),
    "ppc-1": ([{"policy": []}, {"policyRule": {}}], [{}]),
    "ppc-2": ([{}, {"patient": {}, "scope": {"coding": [{"system": "something", "code": "patient-privacy"}]}}], [{"scope": {"coding": [{"system": "something", "code": "patient-privacy"}]}}]),
    "prr-1": ([{}, {"code": {}, "orderDetail": []}], [{"orderDetail": []}]),
    "qrs-1": ([{"answer": []}], [{"answer": [], "item": []}]),
    "qty-3": ([{}, {"code": "kg", "system": UCUM}], [{"code": "kg"}]),
    "que-1": ([{"type": "group", "item": []}, {"type": "string"}, {"type": "display"}], [{"type": "group"}, {"type": "display", "item": []}]),
    "que-2": ([{}, {"item": [{"linkId": "1", "item": [{"linkId": "2"}]}]}], [{"item": [{"linkId": "1", "item": [{"linkId": "1"}]}]}]),
    "que-3": ([{"type": "string", "code": []}], [{"type": "display", "code": []}]),
    "que-4": ([{"answerOption": []}], [{"answerOption": [], "answerValueSet": "x"}]),
    "que-5": ([{"type": "choice", "answerOption": []}, {"type": "boolean"}], [{"type": "boolean", "answerOption": []}]),
    "que-6": ([{"type": "display"}], [{"type": "display", "required": True}]),
    "que-7": ([{"operator": "exists", "answerBoolean": True}, {"operator": "="}], [{"operator": "exists", "answerString": "x"}]),
    "que-8": ([{"type": "string", "initial": []}], [{"type": "group", "initial": []}]),
    "que-9": ([{"type": "string", "readOnly": True}], [{"type": "display", "readOnly": True}]),
    "que-10": ([{"type": "string", "maxLength": 1}], [{"type": "date", "maxLength": 1}]),
    "que-11": ([{"initial": []}], [{"initial": [], "answerOption": []}]),
    "que-12": ([{"enableWhen": [{}, {}]}], [{"enableWhen": [{}, {}, {}]}]),
    "que-13": ([{"initial": [{}]}, {"repeats": True, "initial": [{}, {}]}], [{"initial": [{}, {}]}]),
    "rat-1": ([{"numerator": {}, "denominator": {}}, {"extension": EXT}], [{"numerator": {}}, {}, {"denominator": {}}]),
    "rng-2": (
        [{}, {"low": {"value": 1}}, {"low": {"value": 1}, "high": {"value": Decimal("1.0")}}, {"low": {"value": 5, "unit": "cm"}, "high": {"value": 1, "unit": "m"}}, {"low": {"value": "5"}, "high": {"value": 1}}],
        [{"low": {"value": 2}, "high": {"value": Decimal("1.5")}}],
    ),
    "rqg-1": ([{"resource": {}}], [{}, {"resource": {}, "action": []}]),
    "sev-1": ([{"name": "x"}], [{"name": "x", "query": "y"}]),
    "spd-1": ([{}, {"xpath": "x", "xpathUsage": "normal"}], [{"xpath": "x"}]),
    "spd-2": ([{}, {"chain": [], "type": "reference"}], [{"chain": [], "type": "token"}]),
    "sqty-1": ([{}], [{"comparator": "<"}]),
    "tim-1": ([{}, {"duration": 1, "durationUnit": "h"}], [{"duration": 1}]),
    "tim-2": ([{}], [{"period": 1}]),
    "tim-4": ([{"duration": 0}, {"duration": "x"}, {}], [{"duration": -1}]),
    "tim-5": ([{"period": Decimal("0.5")}], [{"period": Decimal("-0.5")}]),
    "tim-6": ([{"period": 1, "periodMax": 2}], [{"periodMax": 2}]),
    "tim-7": ([{}], [{"durationMax": 2}]),
    "tim-8": ([{"count": 1, "countMax": 2}], [{"countMax": 2}]),
    "tim-9": ([{}, {"offset": 5, "when": ["AC"]}], [{"offset": 5}, {"offset": 5, "when": ["C"]}]),
    "tim-10": ([{"when": []}], [{"when": [], "timeOfDay": []}]),
    "vsd-1": ([{"system": "x"}], [{}]),
    "vsd-2": ([{"concept": [], "system": "x"}], [{"filter": []}]),
    "vsd-3": ([{"concept": []}], [{"concept": [], "filter": []}]),
    "vsd-6": ([{"display": "x"}], [{}]),
    "vsd-9": ([{"code": "x"}, {"abstract": True}], [{"display": "x"}]),
    "vsd-10": ([{}, {"code": "x", "system": "y"}], [{"code": "x"}]),
}  # fmt: skip


def test_every_check_is_of_an_invariant_of_r4_and_has_cases() -> None:
    """The table has only keys that R4 has, and each is tested here."""
    assert CHECKS.keys() <= definitions.invariants().keys()
    assert CHECKS.keys() == CASES.keys()


@pytest.mark.parametrize("key", CASES)
def test_an_invariant_holds_where_it_should(key: str) -> None:
    """Each check says True for the first list and False for the second."""
    good, bad = CASES[key]

    assert [CHECKS[key](node) for node in good] == [True] * len(good)
    assert [CHECKS[key](node) for node in bad] == [False] * len(bad)


def test_values_are_compared_as_they_are() -> None:
    """is_distinct sees equal texts."""
    assert is_distinct(["a", "b"])
    assert not is_distinct(["a", "a"])


PATIENT = {"resourceType": "Patient"}
POST = {"method": "POST", "url": "Patient"}
BROKEN: list[tuple[dict[str, Any], str, str]] = [
    ({"resourceType": "Patient", "contact": [{"gender": "male"}]}, "pat-1", "Patient.contact[0]"),
    ({"resourceType": "Patient", "name": [{"text": "x", "period": {"start": "2021", "end": "2020"}}]}, "per-1", "Patient.name[0].period"),
    ({"resourceType": "Organization"}, "org-1", "Organization"),
    ({"resourceType": "Organization", "name": "x", "address": [{"text": "a"}, {"use": "home"}]}, "org-2", "Organization.address[1]"),
    ({"resourceType": "Bundle", "type": "collection", "total": 1}, "bdl-1", "Bundle.total"),
    ({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": PATIENT, "search": {"mode": "match"}}]}, "bdl-2", "Bundle.entry[0].search"),
    ({"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": PATIENT}]}, "bdl-3", "Bundle.entry[0]"),
    ({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": PATIENT, "request": POST}]}, "bdl-3", "Bundle.entry[0]"),
    ({"resourceType": "Bundle", "type": "batch-response", "entry": [{"resource": PATIENT}]}, "bdl-4", "Bundle.entry[0]"),
    ({"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:uuid:1"}]}, "bdl-5", "Bundle.entry[0]"),
    ({"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:uuid:1", "resource": PATIENT}, {"fullUrl": "urn:uuid:1", "resource": PATIENT}]}, "bdl-7", "Bundle.entry[1].fullUrl"),
    ({"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "http://x/Patient/1/_history/1", "resource": PATIENT}]}, "bdl-8", "Bundle.entry[0]"),
    ({"resourceType": "Bundle", "type": "message", "timestamp": "2020-01-01T00:00:00Z", "entry": [{"resource": PATIENT}]}, "bdl-12", "Bundle.entry"),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "key", "place"), BROKEN)
def test_a_broken_rule_is_told_with_its_place(
    resource: dict[str, Any], key: str, place: str
) -> None:
    """A rule is checked where it stands, once."""
    (issue,) = validate(resource)

    assert (issue.code, issue.expression) == ("invariant", (place,))
    assert f" {key}" in issue.text
    assert f" {key} " in str(issue.text_vi)


def test_a_document_has_identifier_time_and_composition() -> None:
    """bdl-9, bdl-10 and bdl-11 are of documents."""
    wrong = {"resourceType": "Bundle", "type": "document", "entry": [{"resource": PATIENT}]}

    rules = [issue.text.split("rule ")[1].split(":")[0] for issue in validate(wrong)]
    assert rules == ["bdl-9", "bdl-10", "bdl-11"]


def test_two_versions_may_have_one_full_url() -> None:
    """bdl-7: in a history, and with versions that differ, a fullUrl may come twice."""
    entries = [
        {"fullUrl": "http://x/Patient/1", "resource": {**PATIENT, "meta": {"versionId": version}}}
        for version in "12"
    ]
    assert validate({"resourceType": "Bundle", "type": "collection", "entry": entries}) == []


def test_the_package_page_lists_every_invariant_where_it_belongs() -> None:
    """README.md says of each of R4's invariants whether a write is refused for it."""
    page = (Path(structure.__file__).parent / "README.md").read_text("utf-8")
    lists = page.partition("## Invariants")[2]
    refused, _, rest = lists.partition("Only warned of: txt-2")
    unchecked = rest.partition("Not checked yet")[2].partition("Not errors here")[0]

    def keys(text: str) -> set[str]:
        groups = re.findall(r"\b([a-z]{2,4})-([0-9a-b,]+)", text)
        return {f"{group}-{number}" for group, numbers in groups for number in numbers.split(",")}

    known = {key.partition("@")[0] for key in definitions.invariants()}
    assert keys(refused) | keys(unchecked) | {"txt-2"} == known | {"ele-1", "ext-1"}
    assert not keys(refused) & keys(unchecked)
    assert {key.partition("@")[0] for key in CHECKS} <= keys(refused)
