"""HL7's official examples and the Synthea bundles, read where TEST_DATA lies."""

from __future__ import annotations

import gzip
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def examples(data: Path, kind: str) -> Iterator[tuple[str, bytes]]:
    """Give the name and bytes of every official example in `json` or `xml`."""
    with zipfile.ZipFile(data / f"r4-examples-{kind}.zip") as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(f".{kind}"):
                yield name, archive.read(name)


def synthea(data: Path) -> Iterator[tuple[str, bytes]]:
    """Give the name and bytes of every Synthea bundle."""
    for path in sorted((data / "synthea").glob("*.json.gz")):
        yield path.name, gzip.decompress(path.read_bytes())


@cache
def not_valid(kind: str) -> dict[str, dict[str, Any]]:
    """Return the official examples that are not valid, with reason and places."""
    rows = tomllib.loads((HERE / "not_valid.toml").read_text(encoding="utf-8"))
    return {row["file"]: row for row in rows[kind]}
