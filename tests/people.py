"""The demo people of the contract's section 9, as tests name them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

from fhir_server.demo_dossiers import Person

S = "http://fhir.hl7.org.vn/core/sid"
NS = "https://fhir-server.example/fhir"
VIETNAM = timezone(timedelta(hours=7))

MOTHER = "001195012345"
FATHER = "001093054321"
STRANGER = "079080099999"

MOTHER_PERSON = Person(
    "NGUYỄN THỊ MẪU", MOTHER, date(1995, 3, 7), "2", "DN4010123456789", ma_bn="BN-MAU-1"
)


def now() -> datetime:
    """The present, in Viet Nam."""
    return datetime.now(UTC).astimezone(VIETNAM)
