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
    CMND,
    NS,
    PAPER,
    PASSPORT,
    code_system,
    extension,
)

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
        "names", "part-of", "reason-code", "reason-reference", "special-arrangement",
    }),
    "Practitioner": frozenset({
        "address", "address-city", "address-country", "address-postalcode", "address-state",
        "address-use", "communication", "email", "gender", "phone", "telecom",
    }),
    "Condition": frozenset({"evidence", "evidence-detail", "stage"}),
})  # fmt: skip
"""Search parameters that would ask for what is not shown: they match nothing."""

OPEN_PARAMETERS: Final = frozenset({
    "identifier", "patient", "subject", "beneficiary", "encounter", "date", "created",
    "recorded-date", "authoredon", "status", "use", "coverage", "names", "payor",
    "payor:identifier", "request", "provider", "insurer", "service-provider", "care-team",
    "requester", "performer", "requestor", "outcome", "payment-date", "disposition", "priority",
    "clinical-status", "verification-status", "class", "type", "policy-holder", "subscriber",
    "name", "family", "given", "phonetic", "birthdate", "gender", "active", "death-date",
    "deceased", "length",
})  # fmt: skip
"""Search parameters whose elements are shown of HIV data too; by any other it is not found."""

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

CLINICAL_SYSTEMS: Final = ("http://hl7.org/fhir/sid/",)
"""Systems of diseases and vaccines below a kept one."""

IDENTIFIERS: Final = ("http://fhir.hl7.org.vn/core/sid/", f"{NS}/sid/")
"""Identifiers of these systems stay readable of HIV data: keys that the claim is found by."""

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
             "created", "enterer", "insurer", "provider", "priority", "fundsReserve", "total"),
            PLAIN,
        ),
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
                 "informationSequence", "servicedDate", "servicedPeriod", "encounter"),
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
