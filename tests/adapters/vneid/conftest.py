"""The world of access, for each test its own."""

from __future__ import annotations

from tests.auth.conftest import world

__all__ = ["world"]
