"""The shared test data, for the tests here."""

from tests.skips import data  # noqa: F401 - the fixture
