"""Golden dossiers: the reviewed Bundle of each synthetic XML, byte for byte.

A golden file changes only together with a sentence in the CHANGELOG.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.xml130.parse import parse
from fhir_server.model import codec
from fhir_server.validation.structure import validate
from mappings.xml130.rules import check
from tests.mappings.xml130.golden import DATA, DOSSIERS, bundle_of
from tests.xml130 import envelope

NAMES = sorted(DOSSIERS)


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_dossier_gives_its_bundle(name):
    """The XML that lies in tests/data gives the Bundle that was reviewed."""
    body = (DATA / "xml130" / f"{name}.xml").read_bytes()

    assert bundle_of(body) + b"\n" == (DATA / "golden" / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_dossier_is_without_findings(name):
    """The golden dossiers are right by every rule, and what the builder writes."""
    body = (DATA / "xml130" / f"{name}.xml").read_bytes()
    record = parse(body).dossiers[0].record
    assert record is not None

    assert body == envelope([DOSSIERS[name]])
    assert check(record, now=datetime(2026, 11, 25, tzinfo=UTC)) == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_bundle_is_valid(name):
    """Each resource of it, and the Bundle, is valid R4 without even a warning."""
    bundle = codec.loads((DATA / "golden" / f"{name}.json").read_bytes())

    assert [issue.text for issue in validate(bundle)] == []
