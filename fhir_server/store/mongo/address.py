"""The database's address, as `FHIR_SERVER_STORE` gives it; what it may ask for and what it may not.

`mongodb://host1,host2,host3/name?replicaSet=rs0`, or `mongodb+srv://name.of.a.cluster/name`, with
any option of the driver, but for those that would weaken what a commit or a read promises.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_plus

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from fhir_server.model.outcome import Unavailable

FIXED: Final[dict[str, Any]] = {
    "w": "majority",
    "journal": True,
    "readConcernLevel": "majority",
    "readPreference": "primary",
    "retryWrites": True,
    "retryReads": True,
    "directConnection": False,
    "uuidRepresentation": "standard",
}
"""The server's own, whatever the address says."""

DEFAULTS: Final[dict[str, Any]] = {
    "appname": "fhir-server",
    "serverSelectionTimeoutMS": 5_000,
    "connectTimeoutMS": 5_000,
    "socketTimeoutMS": 60_000,
    "waitQueueTimeoutMS": 10_000,
    "heartbeatFrequencyMS": 2_000,
    "wtimeoutMS": 10_000,
    "maxPoolSize": 64,
}
"""Where the address does not say otherwise; a silent primary is noticed after
`heartbeatFrequencyMS` and `connectTimeoutMS`."""

_ONLY: Final = {
    "w": "majority",
    "journal": "true",
    "readconcernlevel": "majority",
    "readpreference": "primary",
    "retrywrites": "true",
    "retryreads": "true",
    "directconnection": "false",
    "loadbalanced": "false",
}
_NEVER: Final = frozenset({"readpreferencetags", "maxstalenessseconds"})
_FILES: Final = frozenset({"tlscafile", "tlscertificatekeyfile", "tlscrlfile"})
_SYSTEM: Final = frozenset({"admin", "local", "config"})
"""MongoDB's own databases."""
_SRV: Final = frozenset({"srvmaxhosts", "srvservicename", "srvallowedhostssuffix"})


@dataclass(frozen=True, slots=True)
class Address:
    """An address that may be used.

    Attributes:
        url: As it was given, with the password: it is never shown.
        options: Its options by their names in small letters.
    """

    url: str = field(repr=False)
    database: str
    hosts: tuple[tuple[str, int], ...]
    options: Mapping[str, str] = field(repr=False)
    has_credentials: bool

    @property
    def is_srv(self) -> bool:
        """Whether its hosts are found by DNS records."""
        return self.url.startswith("mongodb+srv://")

    @property
    def has_tls(self) -> bool:
        """Whether the way to the database is encrypted."""
        asked = self.options.get("tls", self.options.get("ssl"))
        if asked is not None:
            return asked == "true"
        return self.is_srv or any(name.startswith("tls") for name in self.options)

    @property
    def is_verified(self) -> bool:
        """Whether it is made sure that it is the right database at the other end."""
        off = ("tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames")
        return self.has_tls and not any(self.options.get(name) == "true" for name in off)

    @property
    def is_local(self) -> bool:
        """Whether all of it is on this machine."""
        return all(
            host.startswith("127.") or host in {"localhost", "::1"} for host, _ in self.hosts
        )

    @property
    def label(self) -> str:
        """The hosts and the database's name, which may be shown."""
        hosts = ",".join(named(host, port) for host, port in self.hosts)
        return f"{hosts}/{self.database}"

    def alone(self, host: str, port: int) -> str:
        """Return the address of one member alone, with what TLS needs and no credentials."""
        kept = "&".join(
            f"{name}={value}"
            for name, value in self.raw_options
            if name.lower().startswith(("tls", "ssl"))
        )
        tls = (
            ""
            if "tls" in self.options or "ssl" in self.options or not self.has_tls
            else "&tls=true"
        )
        return f"mongodb://{named(host, port)}/?{kept}{tls}".replace("?&", "?").rstrip("?")

    @property
    def raw_options(self) -> list[tuple[str, str]]:
        """The options as they were written, still escaped."""
        return _pairs(self.url.partition("?")[2])


def named(host: str, port: int) -> str:
    """Return host and port as one writes them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_of(url: str) -> Address:
    """Return the address that a URL is.

    Raises:
        Unavailable: It is no address of a database, or asks for what this server does not do; the
            text names what, and repeats no value.
    """
    before, _, query = url.partition("?")
    pairs = _pairs(query)
    for name, value in pairs:
        _check(name, value)
    options = {name.lower(): unquote_plus(value) for name, value in pairs}
    scheme, _, rest = before.partition("://")
    hosts = rest.rpartition("@")[2].partition("/")[0]
    try:
        parsed = _parsed(f"mongodb://{rest}?{'&'.join(_plain(pairs))}".rstrip("?"))
    except (PyMongoError, ValueError, UnicodeError):
        raise Unavailable(
            "this is no address of a MongoDB database; it has the form "
            "mongodb://host1,host2,host3/name?replicaSet=rs0, with %, / and @ in a name or "
            "password escaped"
        ) from None
    if not parsed["database"] or parsed["collection"]:
        raise Unavailable(
            "the address must name the database, without a dot in it: "
            "mongodb://host1,host2,host3/name?replicaSet=rs0"
        )
    if parsed["database"].lower() in _SYSTEM:
        raise Unavailable(
            f"the database {parsed['database']} is MongoDB's own; name one for the store, and the "
            "database in which the user was made by authSource: "
            "mongodb://host1,host2,host3/fhir?replicaSet=rs0&authSource=admin"
        )
    if scheme == "mongodb+srv" and ("," in hosts or ":" in hosts):
        raise Unavailable("a mongodb+srv address has one name, without a port")
    return Address(
        url=url,
        database=parsed["database"],
        hosts=tuple((host, port or 27017) for host, port in parsed["nodelist"]),
        options=options,
        has_credentials=parsed["username"] is not None or "authmechanism" in options,
    )


def _pairs(query: str) -> list[tuple[str, str]]:
    """Return names and values of a query, both still escaped."""
    parts = query.replace(";", "&").split("&") if query else []
    return [(name, value) for name, _, value in (part.partition("=") for part in parts) if name]


def _plain(pairs: list[tuple[str, str]]) -> list[str]:
    """Return the options that are allowed beside a list of hosts."""
    return [f"{name}={value}" for name, value in pairs if name.lower() not in _SRV]


def _check(name: str, raw: str) -> None:
    """Refuse an option that is unknown, wrong, or would weaken what the server promises."""
    lower, value = name.lower(), unquote_plus(raw)
    if lower in _NEVER or (only := _ONLY.get(lower, value)) != value:
        what = f"{name} must be {only}" if lower not in _NEVER else f"{name} is not for this server"
        raise Unavailable(
            f"{what}: it keeps to writes and reads of a majority, at the primary; "
            "take the option out of the address"
        )
    if lower in _FILES and not _is_readable(value):
        raise Unavailable(f"the file that {name} names cannot be read")
    if lower in _SRV:
        return
    try:
        _parsed(f"mongodb://host/?{name}={raw}")
    except PyMongoError as error:
        # What is only wrong beside, or without, another option is found with all of them.
        if "nknown option" in str(error) or "is not a supported" in str(error):
            raise Unavailable(f"{_shown(name)} is no option of an address") from None
    except (ValueError, TypeError):
        raise Unavailable(f"the value of the option {_shown(name)} is wrong") from None


def _shown(name: str) -> str:
    """Return an option's name, unless it may be a piece of a password that was not escaped."""
    return name if name.isascii() and name.isalpha() else "what stands after the question mark"


def _is_readable(path: str) -> bool:
    try:
        with Path(path).open("rb"):
            return True
    except OSError:
        return False


def _parsed(url: str) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(parse_uri(url, validate=True, warn=False))
