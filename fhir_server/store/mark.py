"""How far a move has come: the mark that its target holds until it is finished."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from fhir_server.store.bulk import Ends, Source


class NotMoved(Exception):
    """The two stores do not go together; nothing was changed. The text says why."""


class Mark(msgspec.Struct, frozen=True):
    """How far a move has come.

    Attributes:
        source: Which store it is from.
        number: Of the last version that was copied.
        seq: Of the last audit entry that was copied.
        compared: Of the last version that was compared.
        heard: Of the last audit entry that was compared.
        indexed: By which search parameters versions were indexed from the first on; -1: by several,
            one after another, for the source was given others meanwhile.
    """

    source: str
    number: int = 0
    seq: int = 0
    compared: int = 0
    heard: int = 0
    indexed: int = 0

    @property
    def encoded(self) -> bytes:
        """The mark as it is kept."""
        return msgspec.json.encode(self)

    def check(self, source: str, ends: Ends) -> None:
        """Make sure that a move of this source goes on by it, in a target that has come so far.

        Raises:
            NotMoved: It is another store's, or not all that the target holds was brought by it.
        """
        if self.source != source:
            raise NotMoved("the target is the beginning of the move of another store")
        if (ends.number, ends.seq) != (self.number, self.seq):
            raise NotMoved(
                "the target holds more than this move has brought: somebody has written to it"
            )


async def first_mark(source: Source) -> bytes:
    """Return the mark of a move of a store of which nothing is moved yet."""
    return Mark(await name_of(source)).encoded


async def name_of(source: Source) -> str:
    """Return what tells a store from any other."""
    return sha256(await source.cursor_key()).hexdigest()[:32]
