"""The walls of the house stand: import contracts, and the packages are ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import adapters
import auth
import fhir_server
import mappings
from tests.server import ROOT


@pytest.mark.parametrize("package", [adapters, auth, fhir_server, mappings])
def test_the_package_is_ours(package: object) -> None:
    """The top-level names may clash with installed packages; these are the project's own."""
    assert Path(package.__file__).parent.parent == ROOT


def test_the_import_contracts_hold() -> None:
    """Arrows point down, adapters and mappings do not know one another, pure stays pure."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


WRONG = [
    ("mappings/xml130/patient.py", "from fhir_server.store import port"),
    ("mappings/xml130/patient.py", "import os"),
    ("auth/policy.py", "import httpx2"),
    ("auth/policy.py", "from fhir_server.search import query"),
    ("adapters/xml130/parse.py", "from adapters.vneid import client"),
    ("fhir_server/rest/routes.py", "from adapters.submissions import routes"),
    ("adapters/submissions/routes.py", "from fhir_server.store.sqlite import store"),
    ("adapters/submissions/routes.py", "from fhir_server import settings"),
    ("fhir_server/model/codec.py", "from fhir_server.search import values"),
    ("fhir_server/interactions/read.py", "import starlette"),
]


@pytest.mark.parametrize(("file", "line"), WRONG, ids=[f"{f}: {line}" for f, line in WRONG])
def test_a_wrong_import_breaks_a_contract(file: str, line: str, tmp_path: Path) -> None:
    """One wrong import in a copy of the tree is found."""
    for package in ("fhir_server", "adapters", "mappings", "auth"):
        for source in (ROOT / package).rglob("*.py"):
            target = tmp_path / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    with (tmp_path / file).open("a", encoding="utf-8") as out:
        out.write(f"\n{line}\n")
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout
