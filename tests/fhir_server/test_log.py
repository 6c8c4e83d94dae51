"""The log holds facts by name and id, never a person's data."""

from __future__ import annotations

import pytest
import structlog

from fhir_server import log


def test_an_exceptions_text_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """An exception is logged by class and place; its text may quote a patient."""
    log.configure("json")

    try:
        raise ValueError("NGUYỄN THỊ MẪU")
    except ValueError:
        structlog.get_logger("test").exception("request.failed", request_id="r-1")

    line = capsys.readouterr().err
    assert "ValueError" in line
    assert "test_log.py" in line
    assert "MẪU" not in line
