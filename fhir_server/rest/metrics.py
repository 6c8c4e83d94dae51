"""Counts of requests and their times, as Prometheus reads them.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

BOUNDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds of the histogram's buckets, in seconds."""

_KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(slots=True)
class Metrics:
    """What one process has answered since it started."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0
    in_flight: int = 0
    failures: int = 0

    def observe(self, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self.requests[method if method in _KNOWN_METHODS else "other", status] += 1
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def exposition(self) -> bytes:
        """Return all of it as text."""
        lines = [
            "# HELP http_requests_total Requests answered.",
            "# TYPE http_requests_total counter",
        ]
        for (method, status), number in sorted(self.requests.items()):
            lines.append(f'http_requests_total{{method="{method}",status="{status}"}} {number}')
        lines += [
            "# HELP http_request_duration_seconds Time from request to answer.",
            "# TYPE http_request_duration_seconds histogram",
        ]
        total = 0
        for bound, number in zip((*BOUNDS, "+Inf"), self.buckets, strict=True):
            total += number
            lines.append(f'http_request_duration_seconds_bucket{{le="{bound}"}} {total}')
        lines += [
            f"http_request_duration_seconds_sum {self.seconds:.6f}",
            f"http_request_duration_seconds_count {total}",
            "# HELP http_requests_in_flight Requests being answered.",
            "# TYPE http_requests_in_flight gauge",
            f"http_requests_in_flight {self.in_flight}",
            "# HELP http_failures_total Answers cut short by an unexpected failure.",
            "# TYPE http_failures_total counter",
            f"http_failures_total {self.failures}",
        ]
        return ("\n".join(lines) + "\n").encode()
