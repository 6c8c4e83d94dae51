"""The work that one search may do, counted in SQLite's own steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import apsw

from fhir_server.store.port import WorkBudgetExceeded
from fhir_server.store.work import Work

CHUNK: Final = 500
"""Steps between two looks at the budget."""

FULL: Final = 60_000_000
"""Steps of one whole search: about one or two seconds on an ordinary machine."""


class Budget:
    """Counts the steps of one connection and stops what goes past its limit.

    Attributes:
        done: Steps in all, whichever limit they were counted against.
        work: That of the request which asks now: what nobody waits for any more is stopped too.
        is_first: Whether what goes past the limit is asked again, elsewhere and with a larger one.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self.spent = 0
        self.done = 0
        self.work: Work | None = None
        self.is_first = False
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
        self.done += steps

    def check(self) -> None:
        """Stop what was charged past the limit, between SQLite's own steps.

        Raises:
            WorkBudgetExceeded: It is past the limit.
        """
        if self._counting and (self.spent > self._limit or self._is_given_up()):
            raise WorkBudgetExceeded("the search went past its work budget")

    def _look(self) -> bool:
        self.spent += CHUNK
        self.done += CHUNK
        self._over = self.spent > self._limit or self._is_given_up()
        return self._over

    def _is_given_up(self) -> bool:
        return self.work is not None and self.work.is_given_up

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
