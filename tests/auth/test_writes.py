"""What may be written, by the content alone."""

from __future__ import annotations

from typing import Any

import pytest

from auth.criteria import Matching, Tagged
from auth.guardianship import VERIFIED
from auth.needs import Needs
from auth.policy import policy_for
from auth.principal import SYSTEM, Principal
from auth.writes import FACILITY_WRITES
from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.identifiers import MA_CSKCB, MA_LK, extension
from fhir_server.model.outcome import Forbidden
from tests.auth.access_table import AUDITOR, BHXH, CHILD, DOCTOR, HOSPITAL, MOTHER, PRIVATE

OWN = Tagged("facility/01999")
OBSERVATION = {"resourceType": "Observation", "encounter": {"reference": "Encounter/e"}}


@pytest.mark.parametrize("principal", [HOSPITAL, DOCTOR], ids=lambda p: p.kind)
def test_a_facility_writes_what_names_an_encounter_of_its_own(principal: Principal) -> None:
    """Every Encounter named must be one that it submitted, and of the Patient named."""
    resource = OBSERVATION | {
        "subject": {"reference": "Patient/p"},
        "partOf": [{"reference": "http://x/fhir/Encounter/f/_history/2"}],
    }

    assert policy_for(principal).check_write("create", resource) == (
        Needs(("Encounter", "e"), OWN),
        Needs(("Encounter", "f"), OWN),
        Needs(("Encounter", "e"), Matching("subject=Patient/p")),
        Needs(("Encounter", "f"), Matching("subject=Patient/p")),
    )


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Observation"},
        {"resourceType": "Observation", "encounter": {"reference": "urn:uuid:1"}},
        {"resourceType": "Observation", "encounter": {"identifier": {"value": "x"}}},
        {
            "resourceType": "Provenance",
            "target": [],
            "entity": [{"what": {"reference": "Encounter/e"}}],
        },
        {"resourceType": "AuditEvent", "x": {"reference": "Encounter/e"}},
        {"resourceType": "Consent", "patient": {"reference": "Patient/p"}},
        {"resourceType": "RelatedPerson", "patient": {"reference": "Patient/p"}},
        {"resourceType": "ClaimResponse", "x": {"reference": "Encounter/e"}},
        {"resourceType": "ValueSet", "x": {"reference": "Encounter/e"}},
        {"resourceType": "Patient"},
        {"resourceType": "Coverage"},
        {"resourceType": "Organization"},
        {"resourceType": "Practitioner"},
        {"resourceType": "Encounter", "identifier": [{"system": MA_LK, "value": "79999|LK"}]},
        {"resourceType": "Encounter", "identifier": [{"system": MA_LK, "value": "01999"}]},
        {"resourceType": "Encounter", "identifier": [{"system": MA_LK}]},
        {
            "resourceType": "Encounter",
            "serviceProvider": {"identifier": {"system": MA_CSKCB, "value": "79999"}},
        },
        {},
        {"resourceType": 7},
        {"resourceType": "Nothing"},
    ],
    ids=str,
)
def test_a_facility_is_refused_what_is_not_its_own(resource: dict[str, Any]) -> None:
    """No Encounter, another's visit, another's type: refused by the content alone."""
    with pytest.raises(Forbidden):
        policy_for(HOSPITAL).check_write("create", resource)


def test_a_provenance_must_be_of_what_the_facility_sent() -> None:
    """Every target must be its own."""
    resource = {
        "resourceType": "Provenance",
        "target": [{"reference": "Encounter/e"}, {"reference": "Patient/p"}],
    }

    assert policy_for(HOSPITAL).check_write("create", resource) == (
        Needs(("Encounter", "e"), OWN),
        Needs(("Patient", "p"), OWN),
    )


def test_an_own_encounter_is_a_facilitys_to_write() -> None:
    """Its visit key and provider are the facility's; a provider by reference must be it."""
    resource = {
        "resourceType": "Encounter",
        "identifier": [{"system": MA_LK, "value": "01999|LK-1"}],
        "serviceProvider": {"reference": "Organization/o"},
    }

    assert policy_for(HOSPITAL).check_write("create", resource) == (
        Needs(("Organization", "o"), Matching(f"identifier={MA_CSKCB}|01999")),
    )


@pytest.mark.parametrize("resource_type", ["Patient", "Coverage", "Organization", "Practitioner"])
def test_what_is_shared_comes_by_conditional_create(resource_type: str) -> None:
    """A facility creates these only if none exists; updating asks `may_change`."""
    policy = policy_for(HOSPITAL)
    resource = {"resourceType": resource_type}

    assert policy.check_write("create", resource, conditional=True) == ()
    assert policy.check_write("update", resource) == ()
    with pytest.raises(Forbidden):
        policy.check_write("create", resource)


@pytest.mark.parametrize(
    ("tags", "may"),
    [
        ({"author/facility/01999", "facility/01999"}, True),
        ({"author/facility/01999", "facility/01999", "facility/79999"}, False),
        ({"author/facility/01999", "author/facility/79999", "facility/01999"}, False),
        ({"author/facility/01999", "author/system", "facility/01999"}, False),
        ({"facility/01999"}, False),
        (set(), False),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_what_others_wrote_too_is_not_changed(tags: set[str], may) -> None:
    """A shared resource is changed by the facility that alone wrote and needs it."""
    policy = policy_for(HOSPITAL)

    assert policy.may_change("Patient", frozenset(tags)) is may
    assert policy.may_change("Observation", frozenset(tags))
    assert policy_for(SYSTEM).may_change("Patient", frozenset(tags))


@pytest.mark.parametrize("url", [VERIFIED, extension("verified-by")])
@pytest.mark.parametrize("principal", [HOSPITAL, DOCTOR, BHXH, MOTHER], ids=lambda p: p.kind)
def test_nobody_but_system_states_a_verification(principal: Principal, url: str) -> None:
    """Anywhere in a resource, whatever its value, also contained."""
    mark = {"extension": [{"url": url, "valueBoolean": False}]}
    consent = {"resourceType": "Consent", "patient": {"reference": "Patient/mother"}}
    for resource in (
        OBSERVATION | mark,
        consent | mark,
        consent | {"contained": [{"name": [mark]}]},
        {"resourceType": "Patient"} | mark,
    ):
        with pytest.raises(Forbidden):
            policy_for(principal).check_write("create", resource, conditional=True)


def test_a_resource_too_deep_to_look_through_is_refused() -> None:
    """What cannot be looked through to its end is not let in, and nothing overflows."""
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"extension": [deep]}

    with pytest.raises(Forbidden):
        policy_for(HOSPITAL).check_write("create", OBSERVATION | deep)


def test_system_writes_anything() -> None:
    """For tests, migration and administrators."""
    mark = {"resourceType": "RelatedPerson", "extension": [{"url": VERIFIED, "valueBoolean": True}]}

    assert policy_for(SYSTEM).check_write("create", mark) == ()


@pytest.mark.parametrize("principal", [MOTHER, CHILD], ids=lambda p: p.patient_id)
def test_a_citizen_writes_consents_of_that_book(principal: Principal) -> None:
    """The Patient that the token stands for, and no other."""
    own = {"resourceType": "Consent", "patient": {"reference": f"Patient/{principal.patient_id}"}}

    assert policy_for(principal).check_write("create", own) == ()


@pytest.mark.parametrize(
    "patient",
    [
        {"reference": "Patient/other"},
        {"reference": "Patient/mother/_history/1"},
        {},
        None,
        "x",
        {"reference": "Patient/mother", "identifier": {"value": "001093054321"}},
        {"identifier": {"value": "1"}},
        {"reference": "http://x/Patient/mother"},
        [],
    ],
    ids=str,
)
def test_a_citizen_is_refused_anothers_consent(patient: Any) -> None:
    """Anything but a literal reference to that Patient is refused."""
    with pytest.raises(Forbidden):
        policy_for(MOTHER).check_write("update", {"resourceType": "Consent", "patient": patient})


@pytest.mark.parametrize("principal", [MOTHER, BHXH, PRIVATE, AUDITOR], ids=lambda p: p.client_id)
def test_the_others_write_nothing_else(principal: Principal) -> None:
    """No type but a citizen's Consent is theirs to write."""
    for resource_type in RESOURCE_TYPES:
        if principal is MOTHER and resource_type == "Consent":
            continue
        resource = {"resourceType": resource_type, "encounter": {"reference": "Encounter/e"}}
        with pytest.raises(Forbidden):
            policy_for(principal).check_write("create", resource, conditional=True)


def test_types_of_others_decisions_are_not_a_facilitys() -> None:
    """A facility writes no consent, no audit, no link, no payer's answer."""
    assert FACILITY_WRITES.isdisjoint({"Consent", "AuditEvent", "RelatedPerson", "ClaimResponse"})
