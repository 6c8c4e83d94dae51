"""The loader, where what it loads with fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhir_server.app import Composition
from fhir_server.interactions.context import Context
from fhir_server.loader import AT_ONCE, Loader
from fhir_server.settings import load_settings
from fhir_server.store.memory import MemoryStore


async def test_a_fault_of_one_of_many_files_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither loaded nor refused: a run that went on would say that all is well."""
    monkeypatch.setenv("FHIR_SERVER_KEYS", str(tmp_path / "keys"))
    files = tmp_path / "files"
    files.mkdir()
    for number in range(AT_ONCE * 8):
        (files / f"{number:03}.xml").write_text(f"<GIAMDINHHS n='{number}'/>", encoding="utf-8")

    async def submit(_ctx: Context, body: bytes) -> dict[str, Any]:  # noqa: RUF029 - a Submit
        if b"'0'" in body:
            raise RuntimeError("a fault of ours")
        return {"dossiers": [], "rejected": 0}

    composition = Composition(load_settings(), MemoryStore(), "http://127.0.0.1:8080")
    loader = Loader(composition.system(), submit, lambda _size, _counts: None)

    with pytest.raises(RuntimeError, match="a fault of ours"):
        await loader.load(files)
