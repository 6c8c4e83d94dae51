"""A second opinion: fhir.resources, whose R4B models have the shapes of the types we make."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    # The library's own models warn while they are made; that is not ours to mend.
    warnings.simplefilter("ignore")
    from fhir.resources.R4B import get_fhir_model_class

GOLDEN = Path(__file__).parent.parent / "data" / "golden"


def resources() -> list[Any]:
    """Return every resource of the golden Bundles, with the file and type that name it."""
    found = []
    for file in sorted(GOLDEN.glob("*.json")):
        for number, entry in enumerate(json.loads(file.read_text("utf-8"))["entry"]):
            if "resource" in entry:
                kind = entry["resource"]["resourceType"]
                found.append(pytest.param(entry["resource"], id=f"{file.stem}-{number}-{kind}"))
    return found


@pytest.mark.parametrize("resource", resources())
def test_another_makers_models_read_what_we_make(resource: dict[str, Any]) -> None:
    """Each resource of a mapped dossier is read, and nothing of it is unknown or lost."""
    model = get_fhir_model_class(resource["resourceType"])

    read = model.model_validate(resource)

    assert json.loads(read.model_dump_json()).keys() == resource.keys()
