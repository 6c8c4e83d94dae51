"""Whether a group of commits begins now, or waits for those who were just answered to ask again.

Where it does not wait, they and those who came meanwhile take turns, in groups of half the size,
and each costs the members of the database nearly as much as one of them all. Where it takes this
process long to make one commit ready (a transaction of many resources) they had better take turns:
it works on some while the database does on the others.

So a group waits as long as more are expected to come in some time than it would have made in that
time if it had begun: 16 clients that read make one group, 16 that send transactions two.
"""

from __future__ import annotations

from typing import Final

FIXED: Final = 0.008
"""Seconds that a group takes at most whatever is in it; more than that grows with what it makes."""
WORTH: Final = 4.0
"""Groups that are worth one more: each works this process and three members, which have fewer
processors than they are where they share a machine. Of 16 clients (everything on two processors,
others at work on them too) a read took 1.40 ms of all processors' time where it had taken 1.72 and
a create 3.1 ms instead of 3.9."""
FEW: Final = 4
"""For each so many who ask it is worth one: few do not keep a machine busy, and need not wait."""
LATE: Final = 1.5
"""Times as long as they should take to be back; then those who are not are not waited for."""
LONGEST: Final = 0.024
"""Seconds for which a group waits at most."""


class Pace:
    """Who was answered, and how fast they come back; times are seconds of one clock."""

    __slots__ = ("_back", "_each", "_expected", "_last", "_most", "_told", "_took", "_when")

    def __init__(self, most: int) -> None:
        """Know nothing yet of groups of so many at most."""
        self._most = most
        self._expected = 1
        self._took = 0.0
        self._told = self._back = 0
        self._when = self._last = 0.0
        self._each = 0.0

    def came(self, now: float) -> None:
        """Note that somebody asks."""
        self._back += 1
        self._last = now

    def told(self, now: float, took: float, count: int, waiting: int) -> None:
        """Note that a group is answered.

        Args:
            now: The time.
            took: How long it was made.
            count: How many were in it.
            waiting: How many wait already for the next one.
        """
        if self._told:
            lasted = (self._last if self._back else now) - self._when
            self._each = (self._each + lasted / max(1, self._back)) / 2
        self._expected = min(count + waiting, self._most)
        self._took = min(took, FIXED)
        self._when, self._told, self._back = now, count, 0

    def wait(self, now: float, waiting: int) -> float:
        """Return for how many seconds more a group of so many waits at most; 0: it begins."""
        idle = now - self._when
        worth = min(WORTH, self._expected / FEW)
        if waiting >= self._expected or self._each * waiting >= idle + worth * self._took:
            return 0.0
        return max(0.0, min(LATE * self._each * self._told, LONGEST) - idle)
