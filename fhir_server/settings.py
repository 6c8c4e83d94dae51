"""The settings of the contract's section 3: the environment, or a `.env` file, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "FHIR_SERVER_"


class WrongSettings(Exception):
    """A setting that is wrong or unknown; the text is the one line that names it."""


class Settings(BaseSettings):
    """What an operator sets; each field is `FHIR_SERVER_` and its name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    store: str = Field(
        "sqlite:///./data/fhir.db",
        description="`sqlite:///file` (four slashes: absolute) or `mongodb://…`",
    )
    base_url: str | None = Field(
        None, description="Public origin; default `http://127.0.0.1:PORT`; FHIR is below it"
    )
    vneid_issuer: str | None = Field(None, description="The OpenID provider citizens log in at")
    vneid_client_id: str | None = Field(None, description="Our client id there")
    vneid_client_secret: str | None = Field(None, description="Our client secret there")
    vneid_scope: str = Field("openid", description="The scope asked for there")
    vneid_claim_id: str = Field("SoDinhDanh", description="The claim with the 12-digit number")
    vneid_acr_level2: str = Field("LoA2", description="The `acr` of a level-2 login")
    require_signature: Literal["no", "yes"] = Field(
        "no", description="`yes` refuses a dossier envelope without a valid CHUKYDONVI"
    )
    keys: Path = Field(Path("data/keys"), description="Folder of the signing keys")
    max_body: int = Field(
        52_428_800, ge=1024, description="Largest body under /fhir, in decoded bytes"
    )
    log: Literal["json", "text"] = Field("json", description="Form of the log's lines")

    @field_validator("store")
    @classmethod
    def _known_store(cls, value: str) -> str:
        if value.startswith("sqlite:///") and len(value) > len("sqlite:///"):
            return value
        if value.startswith(("mongodb://", "mongodb+srv://")):
            return value
        msg = "must be sqlite:///file or mongodb://host1,host2,host3/name?replicaSet=rs0"
        raise ValueError(msg)

    @field_validator("store")
    @classmethod
    def _named_database(cls, value: str) -> str:
        """Of an address of MongoDB: the engine looks at its options when it opens it."""
        if value.startswith("sqlite:"):
            return value
        place, _, options = value.partition("://")[2].partition("?")
        hosts, _, name = place.rpartition("@")[2].partition("/")
        if not hosts or not name or "@" in options or any(one.isspace() for one in value):
            msg = (
                "must name hosts and database: mongodb://host1,host2,host3/name?replicaSet=rs0, "
                "with what is special in a password escaped"
            )
            raise ValueError(msg)
        return value

    @field_validator("base_url", "vneid_issuer")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query:
            msg = "must be an http or https URL"
            raise ValueError(msg)
        return value.rstrip("/")

    @field_validator("base_url")
    @classmethod
    def _origin(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).path:
            msg = "must be an origin such as https://book.example, without a path"
            raise ValueError(msg)
        return value

    @property
    def is_embedded(self) -> bool:
        """Whether the store is a file of ours."""
        return self.store.startswith("sqlite:")

    @property
    def shown_store(self) -> str:
        """The store as it may be shown: of a database hosts and name, no user and no option."""
        if self.is_embedded:
            return self.store
        scheme, _, rest = self.store.partition("?")[0].partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    @property
    def sqlite_path(self) -> Path:
        """The file of an embedded store: `sqlite:///x` is relative, `sqlite:////x` absolute."""
        return Path(self.store.removeprefix("sqlite:///"))


def load_settings(**given: Any) -> Settings:
    """Return the settings of this process.

    Args:
        given: What stands for a variable, by the field's name.

    Raises:
        WrongSettings: A `FHIR_SERVER_` variable is unknown, or its value is wrong.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in sorted(_names()):
        if name not in known:
            msg = f"{name}: not a setting of this server; known are {', '.join(sorted(known))}"
            raise WrongSettings(msg)
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        text = first["msg"].removeprefix("Value error, ")
        # The value itself is not repeated: it may be a secret.
        msg = f"{name}: {text}"
        raise WrongSettings(msg) from None


def _names() -> set[str]:
    """The FHIR_SERVER_ variables of the environment and of `.env`."""
    names = {name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
    file = Path(".env")
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            name = line.strip().removeprefix("export ").partition("=")[0].strip().upper()
            if name.startswith(PREFIX):
                names.add(name)
    return names
