"""The turnstile before the write lock."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from fhir_server.store.sqlite import turn
from fhir_server.store.sqlite.turn import Turn


def test_one_stands_in_the_turnstile_at_a_time(path: Path) -> None:
    """Whoever comes second goes on when the first has left, and not before."""
    first, second = Turn(path), Turn(path)
    passed = threading.Event()

    def go() -> None:
        with second:
            passed.set()

    with first:
        waiting = threading.Thread(target=go)
        waiting.start()
        assert not passed.wait(0.05)

    assert passed.wait(2)
    waiting.join()
    first.close()
    second.close()


def test_who_never_leaves_is_passed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was stopped in the turnstile does not stop the others for ever."""
    monkeypatch.setattr(turn, "_PATIENCE", 0.05)
    first, second = Turn(path), Turn(path)

    with first:
        began = time.monotonic()
        with second:
            waited = time.monotonic() - began

    assert 0.04 < waited < 2
    first.close()
    second.close()
