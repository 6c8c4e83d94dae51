"""The work that one search may do, counted in SQLite's own steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import apsw

from fhir_server.store.port import WorkBudgetExceeded

CHUNK: Final = 500
"""Steps between two looks at the budget."""

FULL: Final = 60_000_000
"""Steps of one whole search: about one or two seconds on an ordinary machine."""


class Budget:
    """Counts the steps of one connection and stops what goes past its limit."""

    def __init__(self, db: apsw.Connection) -> None:
        self.spent = 0
        self._limit = FULL
        self._over = False
        self._counting = False
        self._db = db

    @property
    def limit(self) -> int:
        """How many steps may be done in all."""
        return self._limit

    def charge(self, steps: int) -> None:
        """Count work that SQLite does not see."""
        self.spent += steps

    def check(self) -> None:
        """Stop what was charged past the limit, between SQLite's own steps.

        Raises:
            WorkBudgetExceeded: It is past the limit.
        """
        if self._counting and self.spent > self._limit:
            raise WorkBudgetExceeded("the search went past its work budget")

    def _look(self) -> bool:
        self.spent += CHUNK
        self._over = self.spent > self._limit
        return self._over

    @contextmanager
    def apart(self, steps: int) -> Iterator[None]:
        """Allow so many steps, whatever was spent and is left of the budget around it.

        Raises:
            WorkBudgetExceeded: More would be needed.
        """
        spent, limit = self.spent, self._limit
        self.spent, self._limit = 0, steps
        try:
            with self.of(steps):
                yield
        finally:
            self.spent, self._limit = spent, limit

    @contextmanager
    def of(self, steps: int) -> Iterator[None]:
        """Allow so many steps, within the budget around it.

        Raises:
            WorkBudgetExceeded: More would be needed.
        """
        outer, counting = self._limit, self._counting
        start = self.spent if counting else 0
        self.spent = start
        self._limit = min(outer, start + steps) if counting else steps
        self._over = False
        if not counting:
            self._db.set_progress_handler(self._look, CHUNK)
            self._counting = True
        try:
            yield
        except apsw.InterruptError as error:
            raise WorkBudgetExceeded("the search went past its work budget") from error
        finally:
            self._limit, self._counting = outer, counting
            if not counting:
                self._db.set_progress_handler(None, 0)
