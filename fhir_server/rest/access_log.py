"""One line of the log for each request, written many at a time.

Where the log is JSON, as it is in service, the line is made here and not by structlog's chain:
that chain and a write for each line cost more than a read does (86 of 167 µs, measured).
The lines of the last quarter of a second may be lost with the process; the AuditEvents are not.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.stdlib.get_logger("access")

_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9\-._/$]{1,256}").fullmatch
# A person's number, a card or an account may stand where an id is expected: it is not logged.
_NUMBER: Final = re.compile(r"[A-Za-z]{0,3}[0-9]{6,}(?![0-9a-f-])").fullmatch
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS: Final = 0.25
_LINES: Final = 256


@lru_cache(maxsize=4096)
def logged(path: str) -> str:
    """Return a path as the log may hold it: no query, no long numbers, nothing strange."""
    if not _PLAIN_PATH(path):
        return "-"
    return "/".join("#" if _NUMBER(part) else part for part in path.split("/"))


def _to_standard_error(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


class AccessLog:
    """The lines that wait to be written."""

    def __init__(self, write: Callable[[str], None] = _to_standard_error) -> None:
        self._write = write
        self._lines: list[str] = []
        self._is_json: bool | None = None

    def add(self, method: str, path: str, status: int, seconds: float, request_id: str) -> None:
        """Log one request, answered at this moment."""
        method = method if method in _METHODS else "other"
        path, ms = logged(path), round(seconds * 1000, 1)
        if self._is_json is None:
            self._is_json = _is_json()
        if not self._is_json:
            log.info(
                "request", method=method, path=path, status=status, ms=ms, request_id=request_id
            )
            return
        # Every part is of a known alphabet, so nothing is to be escaped.
        second, rest = divmod(time.time_ns() // 1000, 1_000_000)
        self._lines.append(
            f'{{"event": "request", "method": "{method}", "path": "{path}", "status": {status}, '
            f'"ms": {ms}, "request_id": "{request_id}", "level": "info", '
            f'"timestamp": "{_second(second)}.{rest:06d}Z"}}\n'
        )
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(_SECONDS, self.flush)
        elif len(self._lines) >= _LINES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._write("".join(lines))


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _is_json() -> bool:
    processors = structlog.get_config()["processors"]
    return isinstance(processors[-1], structlog.processors.JSONRenderer)
