"""Every refusal speaks English and Vietnamese."""

from __future__ import annotations

import pytest

from fhir_server.model import outcome
from fhir_server.model.outcome import FhirError, Invalid

CLASSES = sorted(
    (
        one
        for one in vars(outcome).values()
        if isinstance(one, type) and issubclass(one, FhirError) and one is not Invalid
    ),
    key=lambda one: one.__name__,
)


@pytest.mark.parametrize("refusal", CLASSES)
def test_a_refusal_has_a_vietnamese_sentence(refusal: type[FhirError]) -> None:
    """Its own where it is given, else that of its class; both stand in the OperationOutcome."""
    plain, own = refusal("It is so."), refusal("It is so.", text_vi="Như vậy.")

    assert plain.issues[0].text_vi == refusal.vi
    assert refusal.vi[0].isupper()
    assert refusal.vi.endswith(".")
    assert refusal is FhirError or refusal.vi != FhirError.vi
    (issue,) = own.outcome()["issue"]
    lang, content = issue["details"]["_text"]["extension"][0]["extension"]
    assert (lang["valueCode"], content["valueString"]) == ("vi", "Như vậy.")
