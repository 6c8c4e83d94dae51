"""What a payer sees of the resources that a claim names, as tables.

Contract, section 6, and Luật 91/2025/QH15, điều 3 (no more data than the purpose needs): nothing
of the record that the claim does not need; of HIV data amounts and rule results, no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fhir_server.model.identifiers import (
    BHXH,
    BHYT,
    CCCD,
    CCHN,
    CMND,
    MA_CSKCB,
    MA_LK,
    NS,
    PAPER,
    PASSPORT,
    PAYER,
    code_system,
    extension,
)

HIV: Final = "hiv"
"""The mask of HIV data: ICD-10 B20 to B24 and Z21, and resources labelled HIV."""

RECORD: Final = "record"
"""The mask of what a claim does not need of the record."""

NEEDED: Final[Mapping[str, frozenset[str]]] = MappingProxyType({
    # Who is insured; not where and how he lives, nor to whom he is linked.
    "Patient": frozenset({
        "identifier", "active", "name", "gender", "birthDate", "deceasedBoolean",
        "deceasedDateTime", "multipleBirthBoolean", "multipleBirthInteger",
    }),
    # Which visit, when, where, for which diagnoses; not what was told or advised.
    "Encounter": frozenset({
        "extension", "identifier", "status", "class", "type", "priority", "subject", "participant",
        "period", "length", "diagnosis", "hospitalization", "serviceProvider", "partOf",
    }),
    "Practitioner": frozenset({"identifier", "active", "name", "qualification"}),
})  # fmt: skip
"""Of these types the elements that are shown; the others are not there."""

NOT_NEEDED: Final[Mapping[str, frozenset[str]]] = MappingProxyType({
    "Condition": frozenset({"text", "note", "evidence"}),
    "MedicationRequest": frozenset({"text", "note"}),
    "Procedure": frozenset({
        "text", "note", "report", "complication", "complicationDetail", "followUp", "outcome",
    }),
})  # fmt: skip
"""Of these types the elements that are not shown; the others are."""

NEEDED_EXTENSIONS: Final = frozenset(
    extension(name)
    for name in (
        "coverage-case", "admission-time", "department", "icd9-procedure", "living-area",
        "referral-letter", "accident", "treatment-result",
    )
)  # fmt: skip
"""Extensions of an Encounter that the benefit depends on."""

NEEDED_STAY: Final = frozenset({
    "preAdmissionIdentifier", "origin", "admitSource", "reAdmission", "destination",
    "dischargeDisposition",
})  # fmt: skip
"""Members of Encounter.hospitalization that are shown."""

PERSONS: Final = frozenset({CCCD, CMND, PASSPORT, PAPER, BHYT, BHXH})
"""Identifiers of a Patient that are shown: a facility's own number says where he was."""

HIDDEN_PARAMETERS: Final[Mapping[str, frozenset[str]]] = MappingProxyType({
    "Patient": frozenset({
        "address", "address-city", "address-country", "address-postalcode", "address-state",
        "address-use", "email", "general-practitioner", "language", "link", "organization",
        "phone", "telecom", "_tag",
    }),
    "Encounter": frozenset({
        "account", "appointment", "based-on", "episode-of-care", "location", "location-period",
        "reason-code", "reason-reference", "special-arrangement",
    }),
    "Practitioner": frozenset({
        "address", "address-city", "address-country", "address-postalcode", "address-state",
        "address-use", "communication", "email", "gender", "phone", "telecom",
    }),
    "Condition": frozenset({"evidence", "evidence-detail"}),
})  # fmt: skip
"""Search parameters that would ask for what is not shown: to them all is as without a value."""

_META: Final = frozenset({"_profile", "_source", "_tag"})

OPEN_OF_HIV: Final[Mapping[str, frozenset[str]]] = MappingProxyType({
    kind: _META | frozenset(codes)
    for kind, codes in {
        "Patient": ("active", "birthdate", "death-date", "deceased", "family", "gender", "given",
                    "identifier", "name", "phonetic"),
        "Coverage": ("beneficiary", "class-type", "class-value", "dependent", "identifier",
                     "patient", "payor", "policy-holder", "status", "subscriber", "type"),
        "Organization": ("active", "address-city", "address-country", "address-postalcode",
                         "address-state", "address-use", "endpoint", "identifier", "name",
                         "partof", "phonetic", "type"),
        "Practitioner": ("active", "family", "given", "identifier", "name", "phonetic"),
        "Encounter": ("class", "date", "diagnosis", "identifier", "length", "patient",
                      "service-provider", "status", "subject", "type"),
        "Condition": ("asserter", "category", "clinical-status", "encounter", "identifier",
                      "patient", "recorded-date", "subject", "verification-status"),
        "MedicationRequest": ("authoredon", "category", "encounter", "identifier",
                              "intended-performer", "intent", "patient", "priority", "requester",
                              "status", "subject"),
        "Procedure": ("category", "date", "encounter", "identifier", "patient", "performer",
                      "status", "subject"),
        "Claim": ("care-team", "coverage", "created", "encounter", "enterer", "facility",
                  "identifier", "insurer", "names", "patient", "payee", "priority", "provider",
                  "status", "use"),
        "ClaimResponse": ("created", "identifier", "insurer", "outcome", "patient",
                          "payment-date", "request", "requestor", "status", "use"),
        "CoverageEligibilityRequest": ("coverage", "created", "enterer", "identifier", "patient",
                                       "provider", "status"),
        "CoverageEligibilityResponse": ("coverage", "created", "identifier", "insurer", "outcome",
                                        "patient", "request", "requestor", "status"),
    }.items()
})  # fmt: skip
"""Search parameters whose elements are shown of HIV data too; to any other it is as without them.

Of codes and identifiers those can be asked for that are shown: `KEPT_SYSTEMS`, `IDENTIFIERS`.
"""

THERE_OF_HIV: Final[Mapping[str, frozenset[str]]] = MappingProxyType({
    "Condition": frozenset({"code"}),
    "MedicationRequest": frozenset({"code"}),
    "Procedure": frozenset({"code"}),
})  # fmt: skip
"""Search parameters of which HIV data shows that something is there, but not what."""

PARTS_OF_HIV: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "Encounter": ("diagnosis", "service-provider"),
})  # fmt: skip
"""Search parameters that are what `names` is of HIV data: for what is shown of it."""

CONTAINED: Final = frozenset(OPEN_OF_HIV) | {"Medication"}
"""Types of which a payer is shown what stands within a resource: those it is ever granted, and the
drug that a MedicationRequest is for. All others are left out, and what refers to them."""

ALWAYS_THERE: Final = frozenset({("MedicationRequest", "code")})
"""Of these HIV data shows a code (`masked`), whatever form the element has: it is required."""

KEPT_SYSTEMS: Final = (
    "http://terminology.hl7.org/",
    "http://hl7.org/fhir/",
    *map(
        code_system,
        ("ma-nhom", "ma-loai-kcb", "ma-doituong-kcb", "rule", "adjudication", "claim-error"),
    ),
)
"""Systems whose codes say of what kind a thing is; those of a disease or a drug are not here.

`http://hl7.org/fhir/sid/` holds ICD and CVX, and is no such system.
"""

KNOWN_SYSTEMS: Final = (
    *(
        f"http://terminology.hl7.org/CodeSystem/{name}"
        for name in (
            "condition-category", "condition-clinical", "condition-ver-status", "coverage-class",
            "coverage-selfpay", "medicationrequest-category", "organization-type",
            "processpriority", "v3-ActCode",
        )
    ),
    *map(code_system, ("ma-nhom", "ma-loai-kcb", "ma-doituong-kcb")),
)  # fmt: skip
"""Of the kept systems those in which a code is sought that is asked for without its system."""

CLINICAL_SYSTEMS: Final = ("http://hl7.org/fhir/sid/",)
"""Systems of diseases and vaccines below a kept one."""


def is_kept(system: str) -> bool:
    """Return whether codes of a system say of what kind a thing is."""
    return system.startswith(KEPT_SYSTEMS) and not system.startswith(CLINICAL_SYSTEMS)


IDENTIFIERS: Final = ("http://fhir.hl7.org.vn/core/sid/", f"{NS}/sid/")
"""Identifiers of these systems stay readable of HIV data: keys that the claim is found by."""

KNOWN_IDENTIFIERS: Final = (
    BHXH, BHYT, CCCD, CCHN, CMND, MA_CSKCB, MA_LK, PAPER, PASSPORT, PAYER,
)  # fmt: skip
"""Of these systems those in which a number is sought that is asked for without its system."""

AMOUNTS: Final = frozenset(
    extension(name)
    for name in (
        "t-thuoc", "t-vtyt", "t-tongchi-bv", "t-tongchi-bh", "t-bntt", "t-bncct", "t-bhtt",
        "t-nguonkhac", "t-bhtt-gdv", "ma-doituong-kcb", "ma-loai-kcb", "ky-qt", "facility",
        "thanh-tien-bv", "thanh-tien-bh", "don-gia-bh", "t-nguonkhac-nsnn", "t-nguonkhac-vtnn",
        "t-nguonkhac-vttn", "t-nguonkhac-cl", "t-trantt", "tyle-tt-bh", "tyle-tt-dv", "muc-huong",
        "line", "ngay-yl", "card-period", "coverage-case", "finding",
    )
)  # fmt: skip
"""Extensions that stay readable of HIV data: money, ratios, dates, rule results."""

PLAIN: Final = "plain"
"""Shown, but no free text in it, and of its codes those of `KEPT_SYSTEMS` alone."""

MASKED: Final = "masked"
"""A CodeableConcept in whose place the code `masked` of data-absent-reason stands."""

Shown = Mapping[str, "str | Shown"]
"""Element -> `PLAIN`, `MASKED`, or the same of its members."""

_PRODUCT: Final[Shown] = dict.fromkeys(
    ("sequence", "category", "quantity", "unitPrice", "factor", "net"), PLAIN
) | {"productOrService": MASKED}
_ADJUDICATED: Final[Shown] = dict.fromkeys(
    (
        "itemSequence", "detailSequence", "subDetailSequence", "sequence", "noteNumber", "net",
        "quantity", "unitPrice", "factor", "adjudication",
    ),
    PLAIN,
)  # fmt: skip
_ELIGIBLE: Final[Shown] = dict.fromkeys(
    ("sequence", "category", "excluded", "network", "unit", "term", "benefit", "quantity",
     "unitPrice", "provider", "authorizationRequired", "productOrService"),
    PLAIN,
) | {"productOrService": MASKED}  # fmt: skip

OF_HIV: Final[Mapping[str, Shown]] = MappingProxyType({
    "Encounter": {
        **dict.fromkeys(
            ("identifier", "status", "class", "type", "subject", "period", "length",
             "serviceProvider", "extension"),
            PLAIN,
        ),
        "diagnosis": dict.fromkeys(("condition", "use", "rank"), PLAIN),
    },
    "Condition": {
        **dict.fromkeys(
            ("identifier", "clinicalStatus", "verificationStatus", "category", "subject",
             "encounter", "recordedDate", "recorder", "asserter"),
            PLAIN,
        ),
        "code": MASKED,
    },
    "MedicationRequest": {
        **dict.fromkeys(
            ("identifier", "status", "intent", "category", "priority", "subject", "encounter",
             "authoredOn", "requester", "recorder", "performer"),
            PLAIN,
        ),
        "medicationCodeableConcept": MASKED,
        "medicationReference": MASKED,
    },
    "Procedure": {
        **dict.fromkeys(
            ("identifier", "status", "category", "subject", "encounter", "performedDateTime",
             "performedPeriod", "recorder", "asserter"),
            PLAIN,
        ),
        "code": MASKED,
        "performer": dict.fromkeys(("actor", "onBehalfOf"), PLAIN),
    },
    "Claim": {
        **dict.fromkeys(
            ("extension", "identifier", "status", "type", "use", "patient", "billablePeriod",
             "created", "enterer", "insurer", "provider", "priority", "fundsReserve", "total",
             # What a payer may see is what its Claim names: that it does is nothing to hide.
             "prescription", "originalPrescription", "referral", "facility"),
            PLAIN,
        ),
        "payee": dict.fromkeys(("type", "party"), PLAIN),
        "careTeam": dict.fromkeys(("sequence", "provider", "responsible"), PLAIN),
        "supportingInfo": dict.fromkeys(
            ("sequence", "category", "timingDate", "timingPeriod", "valueReference"), PLAIN
        ),
        "diagnosis": {
            **dict.fromkeys(("sequence", "diagnosisReference", "type", "onAdmission"), PLAIN),
            "diagnosisCodeableConcept": MASKED,
        },
        "procedure": {
            **dict.fromkeys(("sequence", "date", "procedureReference", "type"), PLAIN),
            "procedureCodeableConcept": MASKED,
        },
        "insurance": dict.fromkeys(
            ("extension", "sequence", "focal", "identifier", "coverage", "claimResponse"), PLAIN
        ),
        "item": {
            **_PRODUCT,
            **dict.fromkeys(
                ("extension", "careTeamSequence", "diagnosisSequence", "procedureSequence",
                 "informationSequence", "servicedDate", "servicedPeriod", "locationReference",
                 "encounter"),
                PLAIN,
            ),
            "detail": {**_PRODUCT, "subDetail": _PRODUCT},
        },
    },
    "ClaimResponse": {
        **dict.fromkeys(
            ("extension", "identifier", "status", "type", "use", "patient", "created", "insurer",
             "requestor", "request", "outcome", "adjudication", "total", "payment", "error"),
            PLAIN,
        ),
        "item": {**_ADJUDICATED, "detail": {**_ADJUDICATED, "subDetail": _ADJUDICATED}},
        "addItem": {**_ADJUDICATED, "productOrService": MASKED},
    },
    "CoverageEligibilityRequest": {
        **dict.fromkeys(
            ("identifier", "status", "priority", "purpose", "patient", "servicedDate",
             "servicedPeriod", "created", "enterer", "provider", "insurer", "insurance"),
            PLAIN,
        ),
        "item": {
            **_ELIGIBLE,
            "diagnosis": {
                "diagnosisReference": PLAIN,
                "diagnosisCodeableConcept": MASKED,
            },
        },
    },
    "CoverageEligibilityResponse": {
        **dict.fromkeys(
            ("identifier", "status", "purpose", "patient", "servicedDate", "servicedPeriod",
             "created", "requestor", "request", "outcome", "insurer"),
            PLAIN,
        ),
        "insurance": {
            **dict.fromkeys(("coverage", "inforce", "benefitPeriod"), PLAIN),
            "item": _ELIGIBLE,
        },
    },
})  # fmt: skip
"""Of a resource of HIV data the elements that are shown, and how; the others are not there."""
