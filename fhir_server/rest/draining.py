"""How a server stops without an error seen by a client: it says so first, and goes on answering.

Asked to stop (SIGTERM), /readyz says at once that it is not ready, every answer closes its
connection, and requests are still taken, until those who send them have gone elsewhere: no request
came for `IDLE` seconds, and whoever looks at /readyz was told so `TOLD` times (a load balancer may
count more than one); after `MOST` seconds in any case. A server that nobody asks anything stops at
once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

IDLE: Final = 1.0
TOLD: Final = 2
MOST: Final = 5.0
WATCHED: Final = 10.0
"""Seconds in which somebody has looked twice who looks regularly."""

_LOOKERS: Final = 64


@dataclass(slots=True)
class _Looker:
    ready: deque[float] = field(default_factory=lambda: deque(maxlen=2))
    told: int = 0


class Draining:
    """Whether this process is about to stop, and whether it may.

    Attributes:
        is_begun: It is about to.
        asked_at: When the last request came, but for those of the health paths.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._began = 0.0
        self._lookers: dict[str, _Looker] = {}
        self.is_begun = False
        self.asked_at = float("-inf")

    def begin(self) -> None:
        """Be about to stop."""
        if not self.is_begun:
            self.is_begun = True
            self._began = self._clock()

    def looked(self, who: str, *, ready: bool) -> None:
        """Note that somebody looked at /readyz, and what was answered."""
        looker = self._lookers.pop(who, None) or _Looker()
        self._lookers[who] = looker
        if len(self._lookers) > _LOOKERS:
            del self._lookers[next(iter(self._lookers))]
        if ready:
            looker.ready.append(self._clock())
        elif self.is_begun:
            looker.told += 1

    @property
    def is_over(self) -> bool:
        """Whether it may stop now."""
        if not self.is_begun:
            return False
        now = self._clock()
        if now - self._began >= MOST:
            return True
        return now - self.asked_at >= IDLE and all(map(self._knows, self._lookers.values()))

    def _knows(self, looker: _Looker) -> bool:
        """Return whether somebody has heard of it, or does not look regularly."""
        ready = looker.ready
        looks = len(ready) == ready.maxlen and ready[0] >= self._began - WATCHED
        return not looks or looker.told >= TOLD
