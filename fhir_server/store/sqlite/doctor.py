"""What is to be known of a store's file: facts, and what to do about what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import apsw

from fhir_server.store.derive import LOOKED_AT, is_unsaid, words_fact
from fhir_server.store.fact import Fact
from fhir_server.store.sqlite.connect import connect, refusals
from fhir_server.store.sqlite.entry import unpack
from fhir_server.store.sqlite.housekeeping import GROWN, QUIET, TOO_LARGE
from fhir_server.store.sqlite.migrate import LATEST, known_version
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.packing import Packing

_FREE: Final = 1 << 30


def examine(path: Path, *, thorough: bool = True) -> list[Fact]:
    """Return the facts of a store, which may be served meanwhile.

    Args:
        path: The store's file.
        thorough: Whether every page is read (`quick_check`); large stores take minutes.

    Raises:
        Unavailable: The file cannot be opened, or is no store of a known version.
    """
    with refusals():
        db = connect(path)
        try:
            version = known_version(db)
            facts = [
                Fact("sqlite", well=True, text=f"SQLite {apsw.sqlite_lib_version()}"),
                Fact("schema", well=version == LATEST, text=_schema(version)),
                log(path),
                _disk(path),
                _contents(db),
            ]
            if version == LATEST:
                facts += [words_fact(_without_words(db)), _shapes(db)]
            if thorough:
                found = db.pragma("quick_check")
                text = "every page is sound" if found == "ok" else "damaged: restore a backup"
                facts.append(Fact("integrity", well=found == "ok", text=text))
            return facts
        finally:
            db.close()


def _schema(version: int) -> str:
    if version == LATEST:
        return f"schema version {version}"
    return f"schema version {version}; the next start brings it to {LATEST}"


def log(path: Path) -> Fact:
    """Return how large the write-ahead log of a store's file is, and whether it may be."""
    wal = path.with_name(path.name + "-wal")
    size = wal.stat().st_size if wal.exists() else 0
    text = f"{size / 1e6:.0f} MB of write-ahead log"
    if size > 2 * TOO_LARGE:
        return Fact("log", well=False, text=text + ": a reader holds it; restart what reads long")
    normal = f"cut at {GROWN / 1e6:.0f} MB, or after {QUIET:.0f} s without writes"
    return Fact("log", well=True, text=f"{text} (normal while served: {normal})")


def _disk(path: Path) -> Fact:
    free = shutil.disk_usage(path.parent).free
    text = f"{path.stat().st_size / 1e6:.0f} MB of store, {free / 1e9:.1f} GB free"
    if free < _FREE:
        return Fact("disk", well=False, text=text + ": make room")
    return Fact("disk", well=True, text=text)


def _without_words(db: apsw.Connection) -> list[str]:
    """Return the types of which one of the oldest resources says words that are not indexed."""
    packing, names = Packing(db), Names(db)
    found = []
    for nr, name in names.types():
        rows = db.execute(
            "SELECT e.packing, e.packed, v.packing, v.body FROM (SELECT rid FROM resource "
            "WHERE type = ? AND live = 1 ORDER BY rid LIMIT ?) AS d CROSS JOIN entry AS e "
            "CROSS JOIN version AS v WHERE e.rid = d.rid AND v.rid = d.rid",
            (nr, LOOKED_AT),
        )
        for entry_packing, packed, body_packing, body in rows:
            values = unpack(packing.unpack(entry_packing, packed)).values.values()
            said = {value[1] for some in values for value in some if value[0] == "w"}
            if is_unsaid(packing.unpack(body_packing, body), said):
                found.append(name)
                break
    return found


def _shapes(db: apsw.Connection) -> Fact:
    """Return whether all resources are in the indexes that came with schema version 7."""
    names = Names(db)
    live = dict(db.execute("SELECT type, live FROM counter"))
    lacking = sorted(
        name for nr, name in names.types() if live.get(nr) and names.shapes(name) is None
    )
    if not lacking:
        return Fact(
            "shapes", well=True, text="what resources lack, and texts of codes, are indexed"
        )
    types = ", ".join(lacking[:LOOKED_AT]) + (" …" if len(lacking) > LOOKED_AT else "")
    text = f":missing, :text and composites are asked one by one of what was stored before: {types}"
    return Fact("shapes", well=False, text=f"{text}; fhir-server reindex makes them quick")


def _contents(db: apsw.Connection) -> Fact:
    live, versions, audit = next(
        db.execute(
            "SELECT (SELECT coalesce(sum(live), 0) FROM counter), "
            "(SELECT coalesce(max(rid), 0) FROM version), "
            "(SELECT coalesce(max(seq), 0) FROM audit)"
        )
    )
    text = f"{live} resources, {versions} versions, {audit} audit entries"
    return Fact("contents", well=True, text=text)
