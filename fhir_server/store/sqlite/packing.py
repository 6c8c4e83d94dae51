"""Bytes made small: zstd, with a dictionary trained on the store's own data once there is one."""

from __future__ import annotations

from typing import Final

import apsw
import zstandard

RAW: Final = 0
PLAIN: Final = 1
"""Packings below FIRST_DICTIONARY need no dictionary; the others are the dictionary's number."""
FIRST_DICTIONARY: Final = 2

_LEVEL: Final = 3
_SMALL: Final = 48
"""What is shorter gains nothing without a dictionary."""


class Packing:
    """Packs and unpacks, for one connection and thread."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._plain = zstandard.ZstdCompressor(level=_LEVEL)
        self._readers: dict[int, zstandard.ZstdDecompressor] = {PLAIN: zstandard.ZstdDecompressor()}
        self._writers: dict[str, tuple[int, zstandard.ZstdCompressor]] = {}
        self._newest = -1

    def refresh(self) -> None:
        """Take the newest dictionaries for what is packed from now on."""
        newest = self._db.execute("SELECT coalesce(max(nr), 0) FROM dictionary").get
        if newest == self._newest:
            return
        self._newest = newest
        self._writers = {}
        for nr, purpose, data in self._db.execute(
            "SELECT max(nr), purpose, bytes FROM dictionary GROUP BY purpose"
        ):
            dictionary = zstandard.ZstdCompressionDict(data)
            dictionary.precompute_compress(level=_LEVEL)
            self._writers[purpose] = (
                nr,
                zstandard.ZstdCompressor(level=_LEVEL, dict_data=dictionary, write_dict_id=False),
            )

    def pack(self, purpose: str, data: bytes) -> tuple[int, bytes]:
        """Return how it was packed, and the packed bytes."""
        writer = self._writers.get(purpose)
        if writer is not None:
            packing, packed = writer[0], writer[1].compress(data)
        elif len(data) < _SMALL:
            return RAW, data
        else:
            packing, packed = PLAIN, self._plain.compress(data)
        return (packing, packed) if len(packed) < len(data) else (RAW, data)

    def unpack(self, packing: int, packed: bytes) -> bytes:
        """Return the bytes that were packed."""
        if packing == RAW:
            return packed
        reader = self._readers.get(packing)
        if reader is None:
            data = self._db.execute("SELECT bytes FROM dictionary WHERE nr = ?", (packing,)).get
            reader = zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(data))
            self._readers[packing] = reader
        return reader.decompress(packed)
