"""What the documents list is what the code has."""

from __future__ import annotations

import re

import pytest

from fhir_server.model import outcome
from fhir_server.settings import PREFIX, Settings
from tests.server import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
HOUSE = (ROOT / "fhir_server" / "README.md").read_text(encoding="utf-8")


def refusals() -> list[type[outcome.FhirError]]:
    """Return every class of the closed tree."""
    found, todo = [], [outcome.FhirError]
    while todo:
        todo += (children := todo.pop().__subclasses__())
        found += children
    return [c for c in found if c.__module__.startswith("fhir_server")]


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_in_the_readme(name: str) -> None:
    """README.md names each variable."""
    assert f"`{PREFIX}{name.upper()}`" in README


def test_the_readme_names_no_other_setting() -> None:
    """A variable that README.md names exists."""
    named = set(re.findall(rf"`{PREFIX}([A-Z0-9_]+)`", README))

    assert named == {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("refusal", refusals(), ids=lambda c: c.__name__)
def test_every_refusal_is_told(refusal: type[outcome.FhirError]) -> None:
    """Each class has a status, a code of IssueType, and a row in fhir_server/README.md."""
    assert 400 <= refusal.status < 600
    assert refusal.code in outcome.ISSUE_TYPES
    assert re.search(rf"`{refusal.__name__}`.*\b{refusal.status}\b.*\b{refusal.code}\b", HOUSE)


@pytest.mark.parametrize(
    "package",
    ["fhir_server", "adapters", "mappings", "auth", "fhir_server/model", "fhir_server/store"],
)
def test_every_package_has_its_page(package: str) -> None:
    """A package has a README of its own."""
    assert (ROOT / package / "README.md").is_file()
