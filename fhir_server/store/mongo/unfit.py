"""Why a database cannot be used: one plain sentence, what is wrong and what to do about it.

The driver's own texts are looked at and never passed on: they may hold names, or more.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo.errors import OperationFailure, PyMongoError

from fhir_server.store.mongo.address import Address

OLDEST: Final = (6, 0)
"""MongoDB's version below which this server does not go."""

OLDEST_WIRE: Final = 17
"""The wire version of `OLDEST` (specifications/source/wireversion-featurelist)."""

ACTIONS: Final = frozenset(
    {
        "find", "insert", "update", "remove", "createCollection", "createIndex",
        "listCollections", "listIndexes", "dbStats", "collStats",
    }
)  # fmt: skip
"""What the account must be allowed in the database; the role readWrite has all of it."""

_AUTHENTICATION_FAILED: Final = frozenset({18, 11, 8000})
_UNAUTHORIZED: Final = 13
_DIFFERS_IN_CASE: Final = 13297
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Probe:
    """What one member said, asked alone: its `hello`, or the failure to reach it."""

    name: str
    hello: Mapping[str, Any] | None = None
    error: BaseException | None = None


# --- the way there ---------------------------------------------------------------------------


def without_primary(address: Address, probes: list[Probe]) -> str:
    """Return why no primary was found, by what each member said when it was asked alone."""
    answers = [probe for probe in probes if probe.hello is not None]
    for probe in answers:
        if text := of_hello(address, probe.name, probe.hello or {}):
            return text
    if not answers:
        return _unreached(address, probes)
    if primary := next(
        (one for one in answers if (one.hello or {}).get("isWritablePrimary")), None
    ):
        members = ", ".join((primary.hello or {}).get("hosts", ()))
        return (
            f"the replica set names its members {members}, and not all that matters of them can be "
            "reached by these names from here; make the names resolvable, or reconfigure the set"
        )
    hosts = (answers[0].hello or {}).get("hosts", ())
    up = ", ".join(probe.name for probe in answers)
    return (
        f"the replica set has no primary: of its {len(hosts)} members {up} answered; more than "
        "half must be up and reach one another"
    )


def of_hello(address: Address, name: str, hello: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a member for good, by its `hello`; None where nothing is."""
    if hello.get("maxWireVersion", 0) < OLDEST_WIRE:
        return f"{name} runs a MongoDB that is too old: 6.0 or later is needed"
    if hello.get("msg") == "isdbgrid":
        return None
    if hello.get("isreplicaset"):
        return f"{name} waits to be made a replica set: run rs.initiate() on it once"
    there = hello.get("setName")
    if there is None:
        return (
            f"{name} is a single server, which has no transactions: start it with --replSet rs0 "
            "and run rs.initiate() on it once (one member suffices to try, three are safe)"
        )
    if hello.get("isWritablePrimary") and "electionId" not in hello:
        return f"{name} is not MongoDB itself: a service that is only like it is not enough"
    asked = address.options.get("replicaset", there)
    if there != asked:
        return f"{name} belongs to the replica set {there}, not to {asked}: correct replicaSet"
    return None


def why_unreached(address: Address, probe: Probe) -> str:
    """Return why a member could not be reached, and what to do."""
    return _reason(probe.error, has_tls=address.has_tls)[1]


def _unreached(address: Address, probes: list[Probe]) -> str:
    """Return why no member could be reached: the reason that says most."""
    reasons = [(*_reason(one.error, has_tls=address.has_tls), one.name) for one in probes]
    weight, text, _ = max(reasons)
    names = ", ".join(name for one, _, name in reasons if one == weight)
    return f"{names}: {text}"


def _reason(error: BaseException | None, *, has_tls: bool) -> tuple[int, str]:
    """Return how much a failure says, and what."""
    match error:
        case socket.gaierror():
            return 5, "the name cannot be resolved; correct the host, or the DNS"
        case ConnectionRefusedError():
            return 2, "nobody listens there; start the database, or correct host and port"
        case TimeoutError():
            return 3, "no answer; look whether the server is up and a firewall lets us through"
        case PyMongoError():
            return _of_driver(str(error), has_tls=has_tls)
        case _:
            return 1, "it cannot be reached; look whether it is up, and at its log"


def _of_driver(text: str, *, has_tls: bool) -> tuple[int, str]:
    """Return what a failure says where the port could be reached: it is TLS, or its absence.

    The driver keeps OpenSSL's text and not its exception.
    """
    for sign, sentence in _TLS:
        if sign in text:
            return 9, sentence
    if has_tls:
        return 8, (
            "no encrypted connection can be made; either the server does not speak TLS (then take "
            "tls=true out), or it wants a certificate of ours (tlsCertificateKeyFile=…)"
        )
    return 4, (
        "the server ends the connection at once; if it wants TLS, add tls=true (and tlsCAFile=…)"
    )


_NAME: Final = "the server's certificate is for another name; use a name that it is for"
_TLS: Final = (
    ("Hostname mismatch", _NAME),
    ("IP address mismatch", _NAME),
    ("certificate has expired", "the server's certificate has expired; renew it"),
    (
        "certificate verify failed",
        "the server's certificate is by an authority unknown here; name it by tlsCAFile=…",
    ),
)
"""Signs in OpenSSL's texts (x509_txt.c), and what they mean."""


# --- what it answers -------------------------------------------------------------------------


def of_refusal(address: Address, error: PyMongoError) -> str | None:
    """Return what a refused command says of our account; None where it is another matter."""
    code = error.code if isinstance(error, OperationFailure) else None
    if code in _AUTHENTICATION_FAILED:
        return (
            "the database refuses user and password (or certificate); correct them, or authSource, "
            "the database in which the user was made"
        )
    if code == _UNAUTHORIZED and not address.has_credentials:
        return "the database wants a login; put user and password into the address"
    if code == _UNAUTHORIZED:
        return no_rights(address.database)
    if code == _DIFFERS_IN_CASE:
        return of_case(address.database)
    return None


def of_case(database: str, there: str = "") -> str:
    """Return that a database is there whose name differs in upper and lower case alone."""
    other = f"the database {there}" if there else "a database"
    return (
        f"beside {other} there can be none of the name {database}, which differs in upper and "
        "lower case alone; write the name as it is there, or choose another"
    )


def of_strangers(database: str, collections: Sequence[str]) -> str:
    """Return that a database is somebody else's; `collections` are what it holds."""
    more = len(collections) - _SHOWN
    shown = ", ".join(sorted(collections)[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return (
        f"the database {database} holds no store of this server, but something else ({shown}); "
        "name the store's database, or an empty one"
    )


def no_rights(database: str) -> str:
    """Return that the account may not do what is needed."""
    return (
        f"the account may not do all that is needed in the database {database}; give it the role "
        f"readWrite there: db.grantRolesToUser(user, [{{role: 'readWrite', db: '{database}'}}])"
    )


def lacks_rights(status: Mapping[str, Any], database: str, collections: frozenset[str]) -> bool:
    """Return whether an account lacks an action it needs, by `connectionStatus` of it.

    Args:
        status: The answer, with `showPrivileges`.
        database: The database in which the actions are needed.
        collections: The collections in which they are needed.
    """
    found = status["authInfo"]
    if not found["authenticatedUsers"]:
        return False  # access control is off, else the first command was refused
    allowed: dict[str, set[str]] = {name: set() for name in collections}
    for privilege in found.get("authenticatedUserPrivileges", ()):
        resource = privilege["resource"]
        everything = bool(resource.get("anyResource"))
        if not everything and resource.get("db") not in {"", database}:
            continue
        names = collections if everything or not resource.get("collection") else {
            resource["collection"]
        } & collections  # fmt: skip
        for name in names:
            allowed[name].update(privilege["actions"])
    return any(not actions >= ACTIONS for actions in allowed.values())


def of_version(version: tuple[int, ...], compatibility: str | None) -> str | None:
    """Return what is wrong with the database's version, or its feature compatibility version."""
    if version[:2] < OLDEST:
        shown = ".".join(map(str, version[:3]))
        return f"the database is MongoDB {shown}: 6.0 or later is needed"
    if compatibility and tuple(map(int, compatibility.split("."))) < OLDEST:
        return (
            f"the database runs as MongoDB {compatibility} did (featureCompatibilityVersion); "
            "when every member is at 6.0 or later, set it to 6.0 by "
            "db.adminCommand({setFeatureCompatibilityVersion: '6.0'})"
        )
    return None


def of_clock(ahead: float, *, most: float) -> str | None:
    """Return what is wrong with the clocks; `ahead` is the database's before ours, in seconds."""
    if abs(ahead) <= most:
        return None
    how = "ahead of" if ahead > 0 else "behind"
    return (
        f"the database's clock is {abs(ahead):.0f} seconds {how} this machine's; set both right, "
        "by NTP"
    )
