"""The Synthea bundles, and the lists of official examples that are not valid or not found."""

from __future__ import annotations

import gzip
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def synthea(data: Path) -> Iterator[tuple[str, bytes]]:
    """Give the name and bytes of every Synthea bundle."""
    for path in sorted((data / "synthea").glob("*.json.gz")):
        yield path.name, gzip.decompress(path.read_bytes())


@cache
def not_valid(kind: str) -> dict[str, dict[str, Any]]:
    """Return the official examples that are not valid, with reason and places."""
    return _listed("not_valid.toml", kind)


@cache
def not_found(kind: str) -> dict[str, dict[str, Any]]:
    """Return the official examples that are not found by a parameter, with the reason."""
    return _listed("not_found.toml", kind)


def _listed(file: str, kind: str) -> dict[str, dict[str, Any]]:
    rows = tomllib.loads((HERE / file).read_text(encoding="utf-8"))
    return {row["file"]: row for row in rows[kind]}
