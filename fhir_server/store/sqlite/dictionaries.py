"""zstd dictionaries, trained on the store's own data when there is enough of it.

Measured on Synthea's resources (1,544 bytes on average): without a dictionary a half, with one of
64 KiB a seventh, with one of 110 KiB an eighth; training takes 0.1 s. A dictionary trained on other
data gains nothing. What was packed before stays as it is: each row names its dictionary.
"""

from __future__ import annotations

import random
from typing import Final

import apsw
import zstandard

from fhir_server.store.sqlite.packing import FIRST_DICTIONARY, Packing

STAGES: Final = (500, 2_000, 8_000, 32_000, 128_000)
"""Versions made from which a dictionary is trained, and better ones later, on more data."""

_SAMPLES: Final = 1_500
_SAMPLE_MAX: Final = 16_384
_SEGMENT: Final = 1_024
_DMER: Final = 8
_FEWEST: Final = 100

_PURPOSES: Final = {
    "body": (112_640, "SELECT packing, body FROM version WHERE rid = ?"),
    "entry": (32_768, "SELECT packing, packed FROM entry WHERE rid = ?"),
}


def due(db: apsw.Connection) -> bool:
    """Return whether enough was written since the last training."""
    stage, made = next(
        db.execute(
            "SELECT (SELECT count(*) FROM dictionary WHERE purpose = 'body'), "
            "(SELECT coalesce(max(rid), 0) FROM version)"
        )
    )
    return bool(stage < len(STAGES) and made >= STAGES[stage])


def trained(db: apsw.Connection, chance: random.Random) -> tuple[int, list[tuple[str, bytes]]]:
    """Return the number of the newest dictionary, and the next ones by purpose."""
    newest, made = next(
        db.execute(
            "SELECT (SELECT coalesce(max(nr), 0) FROM dictionary), (SELECT max(rid) FROM version)"
        )
    )
    rids = chance.sample(range(1, made + 1), min(made, _SAMPLES))
    found: list[tuple[str, bytes]] = []
    for purpose, (size, text) in _PURPOSES.items():
        samples = _samples(db, text, rids)
        if len(samples) >= _FEWEST:
            found.append((purpose, _trained(min(size, sum(map(len, samples)) // 4), samples)))
    return newest, found


def keep(db: apsw.Connection, newest: int, found: list[tuple[str, bytes]]) -> int:
    """Keep dictionaries in the writer's transaction, and return how many.

    None is kept where another process has trained meanwhile.
    """
    if db.execute("SELECT coalesce(max(nr), 0) FROM dictionary").get != newest:
        return 0
    first = max(newest + 1, FIRST_DICTIONARY)
    rows = [(first + at, purpose, data) for at, (purpose, data) in enumerate(found)]
    db.executemany("INSERT INTO dictionary VALUES (?, ?, ?)", rows)
    return len(rows)


def _samples(
    db: apsw.Connection, text: str, rids: list[int]
) -> list[bytes | bytearray | memoryview[int]]:
    packing = Packing(db)
    found: list[bytes | bytearray | memoryview[int]] = []
    for rid in rids:
        row = db.execute(text, (rid,)).fetchone()
        if row is not None and len(row[1]):
            sample = packing.unpack(row[0], row[1])
            if len(sample) <= _SAMPLE_MAX:
                found.append(sample)
    return found


def _trained(size: int, samples: list[bytes | bytearray | memoryview[int]]) -> bytes:
    try:
        return zstandard.train_dictionary(size, samples, k=_SEGMENT, d=_DMER).as_bytes()
    except zstandard.ZstdError:
        # Samples too alike or too few to learn from: one of them serves as a dictionary.
        return bytes(max(samples, key=len))
