"""Makes the members of docker-compose.yml a replica set, with the users that may log in, once.

    python -m fhir_server.store.mongo.deploy.initiate MEMBERS DATABASE HOST:PORT...

MEMBERS is the folder of the members' certificates and shared key (`certificates.py`). It may be
run again at every start: what is there stays. Nobody has a password: the server and the
administrator log in by their certificates (MONGODB-X509).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from fhir_server.store.mongo.deploy.certificates import ADMINISTRATOR, SERVER

NAME: Final = "rs0"
WITHIN: Final = 60.0
"""Seconds in which the members must be up, and one of them primary."""

_ALREADY_INITIALIZED: Final = 23
_USER_EXISTS: Final = 51003
_PAUSE: Final = 0.25

Client = MongoClient[dict[str, Any]]


def initiate(members: Path, database: str, hosts: Sequence[str]) -> None:
    """Make them a replica set, and the users.

    Args:
        members: The folder of certificates and key.
        database: The database that the server keeps its store in.
        hosts: `host:port` of the members, by which they and the server know them.

    Raises:
        PyMongoError: A member refuses it, or is not up in time.
    """
    first = _as_member(members, [hosts[0]], directConnection=True)
    try:
        _eventually(lambda: _replica_set(first, hosts))
    finally:
        first.close()
    all_of_them = _as_member(members, hosts, replicaSet=NAME)
    try:
        _eventually(lambda: _users(all_of_them, database))
    finally:
        all_of_them.close()


def _as_member(members: Path, hosts: Sequence[str], **options: Any) -> Client:
    """Log in as the members do with one another, by their shared key.

    So no first user with a password is needed (MongoDB: security-internal-authentication; the
    user `__system` of the database `local`, whose password the key file is).
    """
    key = "".join((members / "keyfile").read_text(encoding="ascii").split())
    return MongoClient(
        list(hosts),
        username="__system",
        password=key,
        authSource="local",
        authMechanism="SCRAM-SHA-256",
        tls=True,
        tlsCAFile=str(members / "ca.pem"),
        tlsCertificateKeyFile=str(members / "administrator.pem"),
        serverSelectionTimeoutMS=2_000,
        appname="fhir-server-initiate",
        **options,
    )


def _replica_set(client: Client, hosts: Sequence[str]) -> None:
    configuration = {
        "_id": NAME,
        "members": [{"_id": number, "host": host} for number, host in enumerate(hosts)],
    }
    try:
        client.admin.command("replSetInitiate", configuration)
    except OperationFailure as error:
        if error.code != _ALREADY_INITIALIZED:
            raise


def _users(client: Client, database: str) -> None:
    _user(client, SERVER, [{"role": "readWrite", "db": database}, _in_admin("clusterMonitor")])
    _user(client, ADMINISTRATOR, [_in_admin("root")])


def _in_admin(role: str) -> dict[str, str]:
    return {"role": role, "db": "admin"}


def _user(client: Client, name: x509.Name, roles: list[dict[str, str]]) -> None:
    concern = {"w": "majority", "wtimeout": 10_000}
    external = client["$external"]
    try:
        external.command("createUser", name.rfc4514_string(), roles=roles, writeConcern=concern)
    except OperationFailure as error:
        if error.code != _USER_EXISTS:
            raise


def _eventually(work: Callable[[], None]) -> None:
    """Do work, again while the members are still starting."""
    until = time.monotonic() + WITHIN
    while True:
        try:
            work()
        except (ConnectionFailure, OperationFailure) as error:
            if time.monotonic() > until or not _may_pass(error):
                raise
            time.sleep(_PAUSE)
        else:
            return


def _may_pass(error: PyMongoError) -> bool:
    # 74: not all members can be reached yet. 91, 189, 10107 and so on: no primary yet.
    passing = {74, 91, 94, 189, 10107, 11602, 13435, 13436}
    return isinstance(error, ConnectionFailure) or (
        isinstance(error, OperationFailure) and error.code in passing
    )


def main(arguments: Sequence[str]) -> None:
    """Initiate the members that are named."""
    if len(arguments) < 3:  # noqa: PLR2004 - folder, database and a member
        sys.exit("usage: initiate MEMBERS DATABASE HOST:PORT...")
    try:
        initiate(Path(arguments[0]), arguments[1], arguments[2:])
    except PyMongoError as error:
        code = error.code if isinstance(error, OperationFailure) else "-"
        sys.exit(f"The replica set could not be made: {type(error).__name__}, code {code}.")
    sys.stdout.write(f"{NAME}: {', '.join(arguments[2:])}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
