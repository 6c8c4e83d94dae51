"""The settings of the contract's section 3."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_server.settings import WrongSettings, load_settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without `.env`, and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_defaults_are_the_contracts() -> None:
    """Without a variable the store is ./data/fhir.db and a body may have 50 MiB."""
    settings = load_settings()

    assert settings.store == "sqlite:///./data/fhir.db"
    assert settings.max_body == 52_428_800
    assert settings.vneid_claim_id == "SoDinhDanh"
    assert settings.vneid_acr_level2 == "LoA2"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FHIR_SERVER_STORES", "sqlite:///x"),
        ("FHIR_SERVER_STORE", "postgres://x"),
        ("FHIR_SERVER_STORE", "sqlite:///"),
        ("FHIR_SERVER_MAX_BODY", "much"),
        ("FHIR_SERVER_LOG", "xml"),
        ("FHIR_SERVER_REQUIRE_SIGNATURE", "maybe"),
        ("FHIR_SERVER_BASE_URL", "example.org"),
        ("FHIR_SERVER_BASE_URL", "http://x/path/"),
    ],
)
def test_a_wrong_or_unknown_variable_is_named_in_one_line(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal is one line, and begins with the variable."""
    monkeypatch.setenv(name, value)

    with pytest.raises(WrongSettings) as refusal:
        load_settings()

    assert str(refusal.value).startswith(f"{name}: ")
    assert "\n" not in str(refusal.value)


def test_a_wrong_value_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store's URL may hold a password, so the refusal does not quote it."""
    monkeypatch.setenv("FHIR_SERVER_STORE", "postgres://user:geheim@db/x")

    with pytest.raises(WrongSettings) as refusal:
        load_settings()

    assert "geheim" not in str(refusal.value)


def test_a_file_is_read_and_checked_like_the_environment(elsewhere: Path) -> None:
    """`.env` gives settings, and an unknown variable in it is refused too."""
    (elsewhere / ".env").write_text("FHIR_SERVER_LOG=text\n", encoding="utf-8")
    assert load_settings().log == "text"

    (elsewhere / ".env").write_text("export FHIR_SERVER_LOGS=text\n", encoding="utf-8")
    with pytest.raises(WrongSettings, match="FHIR_SERVER_LOGS"):
        load_settings()


@pytest.mark.parametrize(
    ("store", "path"), [("sqlite:///./d/x.db", "d/x.db"), ("sqlite:////srv/x.db", "/srv/x.db")]
)
def test_three_slashes_are_relative_and_four_absolute(
    store: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sqlite:///x` is a path below the working folder, `sqlite:////x` from the root."""
    monkeypatch.setenv("FHIR_SERVER_STORE", store)

    assert load_settings().sqlite_path == Path(path)
