"""The access table of auth/README.md, as the code has it."""

from __future__ import annotations

from typing import Final

from auth.criteria import AnyOf, Anything, Criteria, InPatientCompartment, Matching, Tagged
from auth.policy import AccessPolicy, policy_for
from auth.principal import SYSTEM, Principal
from auth.server.demo import CITIZEN_SCOPES, EVERYTHING, INSURER_SCOPES
from auth.writes import COMPARTMENT
from fhir_server.model.definitions import RESOURCE_TYPES

MOTHER = Principal(
    "citizen",
    "vneid-app",
    patient_id="mother",
    fhir_user="Patient/mother",
    scopes=CITIZEN_SCOPES,
    level=2,
)
CHILD = Principal(
    "citizen",
    "vneid-app",
    patient_id="bao",
    fhir_user="Patient/mother",
    scopes=CITIZEN_SCOPES,
    level=2,
)
LEVEL_1 = Principal("citizen", "vneid-app", patient_id="mother", scopes=CITIZEN_SCOPES, level=1)
HOSPITAL = Principal("facility", "hospital-01999", code="01999", scopes=EVERYTHING)
DOCTOR = Principal(
    "practitioner", "console", code="01999", fhir_user="Practitioner/p", scopes=("user/*.cruds",)
)
BHXH = Principal("payer", "insurer-bhxh", code="BHXH", scopes=INSURER_SCOPES)
PRIVATE = Principal(
    "payer", "insurer-private-01", code="PRIVATE-01", scopes=INSURER_SCOPES, private=True
)
AUDITOR = Principal("auditor", "auditor", scopes=("system/AuditEvent.rs",))

CALLERS: Final[dict[str, AccessPolicy]] = {
    "citizen": policy_for(MOTHER, links=("link-1",)),
    "guardian for a child": policy_for(CHILD),
    "level-1 account": policy_for(LEVEL_1),
    "hospital, practitioner": policy_for(HOSPITAL),
    "social insurer": policy_for(BHXH),
    "private insurer": policy_for(PRIVATE),
    "auditor": policy_for(AUDITOR),
    "system": policy_for(SYSTEM),
}
"""The columns."""

_NAMED: Final[tuple[tuple[str, ...], ...]] = (
    ("Patient",),
    ("RelatedPerson",),
    ("Consent",),
    ("Claim", "Coverage"),
    ("ClaimResponse", "CoverageEligibilityRequest", "CoverageEligibilityResponse"),
    ("Encounter", "Condition", "MedicationRequest", "Procedure"),
    ("Organization",),
    ("Practitioner",),
    ("Location", "Medication"),
    ("AuditEvent",),
    ("Group", "Person"),
    ("Basic", "EnrollmentRequest", "ExplanationOfBenefit"),
)
_MENTIONED = {name for row in _NAMED for name in row}
ROWS: Final[dict[str, tuple[str, ...]]] = {
    **{", ".join(row): row for row in _NAMED},
    "every other type of a patient's record": tuple(sorted(COMPARTMENT - _MENTIONED)),
    "every other type": tuple(sorted(RESOURCE_TYPES - COMPARTMENT - _MENTIONED)),
}
"""The rows: every resource type stands in one of them."""

OPERATIONS: Final = (
    ("Patient", "$health-book"),
    ("Patient", "$access-history"),
    ("Patient", "$everything"),
    ("Claim", "$check"),
    ("Claim", "$submit"),
    ("CoverageEligibilityRequest", "$submit"),
    ("Observation", "$validate"),
    ("Consent", "$validate"),
    ("Bundle", "submit"),
    ("Bundle", "submission-read"),
)


def word(policy: AccessPolicy, criteria: Criteria | None) -> str:
    """What criteria show, in the table's words."""
    principal = policy.principal
    match criteria:
        case None:
            return "no"
        case Anything():
            return "all"
        case AnyOf(()):
            return "nothing yet"
        case Tagged(tag) if tag == principal.tag:
            return "what it sent"
        case InPatientCompartment(patient) if patient == principal.patient_id:
            return "that book"
        case Matching(query) if query == f"_id={principal.patient_id}":
            return "that book"
        case AnyOf((Matching(query), Matching(other))) if query.endswith(
            f"payor:identifier={PAYER}|{principal.code}"
        ) and other == query.replace("payor:identifier", "payor:Organization.identifier"):
            return "its insured's"
        case AnyOf((InPatientCompartment(patient), Matching("_id=link-1"))):
            assert patient == principal.patient_id
            return "that book, verified links"
    raise AssertionError(criteria)


PAYER = "http://fhir.hl7.org.vn/core/sid/payer"


def cell(policy: AccessPolicy, resource_type: str) -> str:
    """One cell: what is read, created, changed, deleted."""
    reads = {
        word(policy, policy.narrow(interaction, resource_type))
        for interaction in ("read", "vread", "search-type", "history-instance", "search-system")
    }
    assert len(reads) == 1, (policy, resource_type, reads)
    changes = {
        word(policy, policy.narrow(interaction, resource_type))
        for interaction in ("update", "patch")
    }
    assert len(changes) == 1, (policy, resource_type, changes)
    parts = [f"read {reads.pop()}"]
    if policy.narrow("create", resource_type) is not None:
        parts.append("create")
    change = changes.pop()
    if change != "no":
        parts.append(f"change {change}")
    delete = word(policy, policy.narrow("delete", resource_type))
    if delete != "no":
        parts.append(f"delete {delete}")
    return "no" if parts == ["read no"] else "; ".join(parts)


def table() -> list[list[str]]:
    """The whole table, header first."""
    lines = [["Resource types", *CALLERS]]
    for title, types in ROWS.items():
        cells = []
        for policy in CALLERS.values():
            found = {cell(policy, resource_type) for resource_type in types}
            assert len(found) == 1, (title, policy.principal.kind, found)
            cells.append(found.pop())
        lines.append([title, *cells])
    return lines


def operations_table() -> list[list[str]]:
    """Operations and submissions, header first."""
    lines = [["Operation", *CALLERS]]
    for resource_type, code in OPERATIONS:
        title = f"{resource_type}/{code}" if code.startswith("$") else code
        lines.append([
            title,
            *(word(policy, policy.narrow(code, resource_type)) for policy in CALLERS.values()),
        ])
    return lines


def as_markdown(lines: list[list[str]]) -> str:
    """The table as it stands in the README."""
    out = ["| " + " | ".join(line) + " |" for line in lines]
    out.insert(1, "|" + "---|" * len(lines[0]))
    return "\n".join(out)


if __name__ == "__main__":
    print(as_markdown(table()), as_markdown(operations_table()), sep="\n\n")
