"""The address, and the start: a database that will not do is refused in one plain sentence."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure
from structlog.testing import capture_logs

from fhir_server.app import Serving
from fhir_server.model.outcome import Unavailable
from fhir_server.serve import welcome
from fhir_server.settings import Settings, WrongSettings, load_settings
from fhir_server.store.mongo import connect, unfit
from fhir_server.store.mongo.address import address_of
from fhir_server.store.mongo.connect import Opened, client_of, open_database
from fhir_server.store.mongo.deploy.certificates import SERVER, Authority
from fhir_server.store.mongo.schema import HEAD, INDEXES, SHARD_KEYS, Document, compare
from fhir_server.stores import Refused, open_store
from tests.fhir_server.store.mongo.conftest import QUICK
from tests.mongo.replica_set import ReplicaSet, mongod
from tests.mongo.shared import need_mongod
from tests.ports import free_port

GOOD = "mongodb://h1,h2,h3/fhir?replicaSet=rs0"
_EVERYTHING = {"anyResource": True}


# --- the address -----------------------------------------------------------------------------


def test_an_address_is_taken_apart() -> None:
    """Hosts, database and options are known, and the label shows no secret."""
    address = address_of("mongodb://me:p%40ss@h1,h2:27018/fhir?replicaSet=rs0&tls=true")

    assert address.hosts == (("h1", 27017), ("h2", 27018))
    assert address.label == "h1:27017,h2:27018/fhir"
    assert (address.has_credentials, address.has_tls, address.is_local) == (True, True, False)
    assert "p%40ss" not in repr(address)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mongodb://h1,h2", "must name the database"),
        ("mongodb://h1/", "must name the database"),
        ("mongodb://h1/a.b", "without a dot"),
        ("mongodb://me:geheim@h1/admin", "admin is MongoDB's own; name one for the store"),
        ("mongodb://h1/local?replicaSet=rs0", "local is MongoDB's own"),
        ("mongodb://h1/config", "config is MongoDB's own"),
        ("mongodb://me:geheim@@h1/fhir", "no address of a MongoDB database"),
        ("mongodb:///fhir", "no address of a MongoDB database"),
        ("mongodb://h1:port/fhir", "no address of a MongoDB database"),
        ("mongodb+srv://h1,h2/fhir", "one name, without a port"),
        (GOOD + "&w=1", "w must be majority"),
        (GOOD + "&journal=false", "journal must be true"),
        (GOOD + "&readPreference=secondary", "readPreference must be primary"),
        (GOOD + "&readConcernLevel=local", "readConcernLevel must be majority"),
        (GOOD + "&retryWrites=false", "retryWrites must be true"),
        (GOOD + "&directConnection=true", "directConnection must be false"),
        (GOOD + "&readPreferenceTags=dc:1", "readPreferenceTags is not for this server"),
        (GOOD + "&maxPoolSize=geheim", "value of the option maxPoolSize is wrong"),
        (GOOD + "&colour=geheim", "colour is no option"),
        (GOOD + "&tls=true&tlsCAFile=/no/such/geheim", "file that tlsCAFile names cannot be read"),
        ("mongodb://me:ge?heim@h1/fhir", "no option of an address"),
    ],
)
def test_an_address_that_will_not_do_is_refused_without_its_secrets(url: str, said: str) -> None:
    """One sentence names what is wrong, and no value."""
    with pytest.raises(Unavailable, match=re.escape(said)) as refusal:
        address_of(url)

    assert not re.search("geheim|heim", str(refusal.value))


def test_files_that_hold_no_certificates_are_refused(tmp_path: Path) -> None:
    """What TLS options name must be certificates and keys."""
    file = tmp_path / "ca.pem"
    file.write_text("not a certificate", encoding="utf-8")

    with pytest.raises(Unavailable, match="holds no certificate"):
        client_of(address_of(f"{GOOD}&tls=true&tlsCAFile={file}"))


async def test_the_servers_own_concerns_hold_whatever_the_address_says() -> None:
    """Majority writes in the journal, majority reads at the primary, with bounded times."""
    client = client_of(address_of(GOOD + "&maxPoolSize=7&appname=ours"))

    assert client.write_concern.document == {
        "w": "majority",
        "j": True,
        "wtimeout": 10_000,
    }
    assert client.read_concern.level == "majority"
    assert client.read_preference.name == "Primary"
    assert client.options.pool_options.max_pool_size == 7
    assert client.options.pool_options.appname == "ours"
    assert client.options.pool_options.socket_timeout == 60
    assert client.options.server_selection_timeout == 5
    await client.close()


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://h1,h2",
        "mongodb:///fhir",
        "mongodb://me:geheim@h1",
        "mongodb://me:ge heim@h1/fhir",
        "mongodb://me:ge/hei?m@h1/fhir",
    ],
)
def test_the_setting_is_refused_by_its_name_alone(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong address stops the start with one line that names the variable, and no value."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FHIR_SERVER_STORE", url)

    with pytest.raises(WrongSettings) as refusal:
        load_settings()

    assert str(refusal.value).startswith("FHIR_SERVER_STORE: ")
    assert "hei" not in str(refusal.value)


def test_a_store_is_shown_without_user_and_options() -> None:
    """What is printed of the setting holds no secret."""
    settings = Settings(store="mongodb://me:geheim@h1,h2/fhir?tlsCertificateKeyFilePassword=geheim")

    assert settings.shown_store == "mongodb://h1,h2/fhir"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (GOOD, True),
        ("mongodb://me:geheim@h1/fhir", False),
        (GOOD + "&tls=true&tlsCertificateKeyFilePassword=geheim", False),
        (GOOD + "&authMechanismProperties=AWS_SESSION_TOKEN:geheim", False),
    ],
)
def test_what_a_demo_prints_at_its_start_holds_no_secret(url: str, *, shown: bool) -> None:
    """The command for a token names the store, but where its address holds a secret."""
    said = welcome(Settings(store=url), Serving(demo=True), datetime(2026, 11, 26, tzinfo=UTC))

    assert "geheim" not in said
    assert (f"FHIR_SERVER_STORE='{url}'" in said) is shown
    assert " token --client system" in said


# --- no way there ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("no-such-host.invalid", "the name cannot be resolved"),
        (f"127.0.0.1:{free_port()}", "nobody listens there"),
    ],
    ids=["unknown name", "nobody there"],
)
async def test_a_host_that_is_not_there_is_said_so(place: str, said: str) -> None:
    """The refusal names the host."""
    with pytest.raises(Unavailable, match=said) as refusal:
        await open_database(f"mongodb://{place}/fhir?replicaSet=rs0{QUICK}", patience=0)

    assert str(refusal.value).startswith(place)


@pytest.mark.parametrize(
    ("host", "age", "said"),
    [
        ("other.example", 0, "certificate is for another name"),
        ("127.0.0.1", 900, "certificate has expired"),
    ],
    ids=["another name", "expired"],
)
async def test_a_certificate_that_is_not_good_is_said_so(
    tmp_path: Path, host: str, age: int, said: str
) -> None:
    """Nothing is sent to a server whose certificate is for another, or has ended."""
    made = datetime.now(UTC) - timedelta(days=age)
    signer = Authority(tmp_path, made)
    (tmp_path / "ca.pem").write_bytes(signer.pem)
    signer.issue(tmp_path / "server.pem", SERVER, [host], os.getuid())
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "server.pem")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", ssl=tls)
    port = server.sockets[0].getsockname()[1]
    url = f"mongodb://127.0.0.1:{port}/fhir?tls=true&tlsCAFile={tmp_path / 'ca.pem'}{QUICK}"

    with pytest.raises(Unavailable, match=said):
        await open_database(url, patience=0)

    server.close()


async def test_a_start_that_waits_says_soon_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without TLS, asked for it: said before the driver has given up, and once."""
    monkeypatch.setattr(connect, "_SOON", 0.05)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    url = f"mongodb://127.0.0.1:{port}/x?replicaSet=rs0&tls=true&serverSelectionTimeoutMS=3000"

    with capture_logs() as logs:
        waiting = asyncio.create_task(open_database(url, patience=0))
        await asyncio.wait({waiting}, timeout=2.7)
        soon = [line["why"] for line in logs if line["event"] == "store.waiting"]
        with pytest.raises(Unavailable):
            await waiting
    server.close()

    assert len(soon) == 1
    assert "no encrypted connection can be made" in soon[0]


async def test_a_cluster_that_the_dns_does_not_know_is_said_so() -> None:
    """A mongodb+srv address is looked up when it is opened."""
    with pytest.raises(Unavailable, match="no cluster is found under this name"):
        await open_database("mongodb+srv://no-such-cluster.invalid/fhir", patience=0)


@pytest.fixture
def single(tmp_path: Path) -> Iterator[str]:
    """`host:port` of a server that is started without --replSet."""
    need_mongod()
    port = free_port()
    place = ["--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket"]
    with (tmp_path / "log").open("wb") as log:
        alone = subprocess.Popen([mongod(), "--dbpath", tmp_path, *place], stdout=log, stderr=log)
    yield f"127.0.0.1:{port}"
    alone.kill()
    alone.wait()


@pytest.mark.parametrize("options", [f"?{QUICK[1:]}", f"?replicaSet=rs0{QUICK}"])
async def test_a_single_server_is_refused(single: str, options: str) -> None:
    """Without a replica set there are no transactions: the refusal says what to do."""
    with pytest.raises(Unavailable, match=r"is a single server.*--replSet"):
        await open_database(f"mongodb://{single}/fhir{options}", patience=30)


async def test_a_replica_set_that_is_not_initiated_is_refused(
    own: Callable[..., ReplicaSet],
) -> None:
    """The refusal says that it must be, and how."""
    alone = own(count=1)
    alone._run(0)

    with pytest.raises(Unavailable, match=r"run rs\.initiate\(\)"):
        await open_database(alone.url("fhir", QUICK), patience=0)


async def test_another_replica_set_is_refused(members: ReplicaSet) -> None:
    """A wrong name of the set is named, at once."""
    url = members.url("fhir", QUICK).replace("rs0", "rs9")

    with pytest.raises(Unavailable, match="belongs to the replica set rs0, not to rs9"):
        await open_database(url, patience=60)


async def test_a_set_without_a_majority_is_waited_for_and_then_refused(
    mortal: ReplicaSet,
) -> None:
    """One of three members is not enough; when another is back the start goes on."""
    rest = [number for number in range(3) if number != mortal.primary()]
    mortal.kill(*rest)
    with pytest.raises(Unavailable, match="has no primary: of its 3 members 127"):
        await open_database(mortal.url("waited_for", QUICK), patience=3)

    mortal.restart(rest[0])
    found = await open_database(mortal.url("waited_for", QUICK), patience=60)
    await found.close()


async def test_the_command_says_why_and_names_the_variable(tmp_path: Path) -> None:
    """What stops a command begins with the setting."""
    settings = Settings(store=f"mongodb://127.0.0.1:{free_port()}/fhir?replicaSet=rs0{QUICK}")

    with pytest.raises(Refused, match=r"^FHIR_SERVER_STORE: 127\.0\.0\.1:\d+: nobody listens"):
        await open_store(settings, patience=0)


# --- what it is ------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def opened(members: ReplicaSet, request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    """An open database of this test's own."""
    name = f"t{abs(hash(request.node.name)) % 10**9}"
    found = await open_database(members.url(name, QUICK), patience=60)
    yield found
    await found.close()


async def test_everything_is_made_at_the_start(opened: Opened) -> None:
    """Collections that compress, their indexes and the head are there, and stay at the next."""
    database = opened.collections.database
    there = {one["name"]: one["options"] async for one in await database.list_collections()}
    head = await opened.collections.meta.find_one({"_id": HEAD})

    again = await open_database(opened.address.url)

    assert set(there) == set(INDEXES)
    assert all("zstd" in str(options) for options in there.values())
    found = await compare(again.collections)
    assert (found.missing, found.different) == ((), ())
    assert await again.collections.meta.find_one({"_id": HEAD}) == head
    await again.close()


async def test_an_index_that_is_missing_is_made(opened: Opened) -> None:
    """Somebody dropped it: the next start makes it."""
    await opened.collections.resource.drop_index("keys")
    assert (await compare(opened.collections)).missing == ("resource.keys",)

    with capture_logs() as logs:
        again = await open_database(opened.address.url)

    assert (await compare(again.collections)).missing == ()
    said = [(one["collection"], one["made"]) for one in logs if one["event"] == "store.indexing"]
    assert said == [("resource", ["keys"])]
    await again.close()


async def test_an_index_that_is_different_is_refused_by_its_name(opened: Opened) -> None:
    """It is not dropped behind the operator's back; the refusal says how to."""
    await opened.collections.audit.drop_index("recorded")
    await opened.collections.audit.create_index([("a", 1)], name="recorded")

    with pytest.raises(Unavailable, match=r"db\.audit\.dropIndex\('recorded'\)"):
        await open_database(opened.address.url)


@pytest.mark.parametrize("collection", ["orders", "audit"])
async def test_a_database_of_somebody_else_is_refused(opened: Opened, collection: str) -> None:
    """A wrong name in the address: nothing is made beside what is there, also under our names."""
    shop = f"{opened.address.database}_{collection}"
    url = opened.address.url.replace(opened.address.database, shop)
    await opened.client[shop][collection].insert_one({"_id": 1})

    said = re.escape(f"holds no store of this server, but something else ({collection})")
    with pytest.raises(Unavailable, match=said):
        await open_database(url, patience=0)

    assert await opened.client[shop].list_collection_names() == [collection]


async def test_a_start_that_was_interrupted_is_gone_on_with(opened: Opened) -> None:
    """Empty collections of ours without a head are no stranger's."""
    await opened.collections.meta.delete_many({})

    again = await open_database(opened.address.url)

    assert await again.collections.meta.find_one({"_id": HEAD}) is not None
    await again.close()


async def test_a_name_that_differs_in_case_alone_is_refused(opened: Opened) -> None:
    """MongoDB has no two such; the other one is named, so far as the account may see it."""
    name = opened.address.database
    url = opened.address.url.replace(name, name.upper())

    with pytest.raises(Unavailable, match=f"beside the database {name} there can be none"):
        await open_database(url, patience=0)

    with pytest.raises(OperationFailure) as refused:
        await opened.client[name.upper()]["meta"].insert_one({"_id": 1})
    text = unfit.of_refusal(opened.address, refused.value)
    assert text is not None
    assert text.startswith(f"beside a database there can be none of the name {name}")


async def test_a_store_of_a_newer_server_is_refused(opened: Opened) -> None:
    """An old server does not touch what it does not know."""
    await opened.collections.meta.update_one({"_id": HEAD}, {"$set": {"schema": 99}})

    with pytest.raises(Unavailable, match="written by a newer version"):
        await open_database(opened.address.url)


@pytest.mark.parametrize(("off", "how"), [(90, "behind"), (-90, "ahead of")])
async def test_a_clock_far_off_is_refused(opened: Opened, off: float, how: str) -> None:
    """The database's clock and ours must agree."""
    with pytest.raises(Unavailable, match=rf"clock is (89|90|91) seconds {how} this machine's"):
        await open_database(opened.address.url, now=lambda: time.time() + off)


@pytest.mark.parametrize(
    ("version", "compatibility", "said"),
    [
        ((5, 0, 20, 0), None, "MongoDB 5.0.20: 6.0 or later"),
        ((4, 4, 1, 0), "4.4", "MongoDB 4.4.1"),
        ((7, 0, 2, 0), "5.0", "setFeatureCompatibilityVersion: '6.0'"),
        ((6, 0, 5, 0), "6.0", None),
        ((10, 0, 0, 0), "10.0", None),
        ((8, 0, 1, 0), None, None),
    ],
)
def test_versions(version: tuple[int, ...], compatibility: str | None, said: str | None) -> None:
    """6.0 is the oldest, of the program and of how it works."""
    text = unfit.of_version(version, compatibility)

    assert text is None if said is None else said in str(text)


def test_a_member_too_old_for_the_driver_is_named() -> None:
    """By its wire version, before it is asked anything else."""
    text = unfit.of_hello(address_of(GOOD), "h1:27017", {"maxWireVersion": 13, "setName": "rs0"})

    assert text == "h1:27017 runs a MongoDB that is too old: 6.0 or later is needed"


def test_a_service_that_is_only_like_mongodb_is_refused() -> None:
    """Elections are what reads that never go back in time are built on."""
    hello = {"maxWireVersion": 17, "setName": "rs0", "isWritablePrimary": True}

    text = unfit.of_hello(address_of(GOOD), "h1:27017", hello)

    assert text is not None
    assert "not MongoDB itself" in text


def test_members_under_names_that_do_not_resolve_here_are_named() -> None:
    """The seed answers, but the set's own names for its members lead nowhere from here."""
    hello = {
        "maxWireVersion": 17, "setName": "rs0", "isWritablePrimary": True, "electionId": "1",
        "hosts": ["db1:27017", "db2:27017"],
    }  # fmt: skip

    text = unfit.without_primary(address_of(GOOD), [unfit.Probe("h1:27017", hello=hello)])

    assert text.startswith("the replica set names its members db1:27017, db2:27017")


def _status(*privileges: Mapping[str, Any]) -> dict[str, Any]:
    users = [{"user": "me", "db": "admin"}]
    return {
        "authInfo": {
            "authenticatedUsers": users,
            "authenticatedUserPrivileges": list(privileges),
        }
    }


@pytest.mark.parametrize(
    ("resource", "actions", "lacks"),
    [
        ({"db": "fhir", "collection": ""}, unfit.ACTIONS, False),
        ({"db": "", "collection": ""}, unfit.ACTIONS, False),
        (_EVERYTHING, unfit.ACTIONS, False),
        ({"db": "fhir", "collection": ""}, {"find", "listCollections"}, True),
        ({"db": "other", "collection": ""}, unfit.ACTIONS, True),
        ({"db": "fhir", "collection": "meta"}, unfit.ACTIONS, True),
    ],
    ids=["readWrite", "of any database", "root", "read", "of another", "of one collection"],
)
def test_rights(resource: dict[str, Any], actions: set[str], *, lacks: bool) -> None:
    """All that is needed must be allowed in every collection."""
    status = _status({"resource": resource, "actions": sorted(actions)})

    assert unfit.lacks_rights(status, "fhir", frozenset(INDEXES)) is lacks


def test_where_nobody_must_log_in_nothing_is_lacking() -> None:
    """Without access control there are no users, and no rights are looked for."""
    status = {"authInfo": {"authenticatedUsers": [], "authenticatedUserPrivileges": []}}

    assert not unfit.lacks_rights(status, "fhir", frozenset(INDEXES))


@pytest.mark.parametrize(
    ("code", "has_credentials", "said"),
    [
        (18, True, "refuses user and password"),
        (13, False, "wants a login"),
        (13, True, "role readWrite"),
        (26, True, None),
    ],
)
def test_what_a_refused_command_says_of_the_account(
    code: int, said: str | None, *, has_credentials: bool
) -> None:
    """Wrong credentials, none, and too few rights are three things."""
    address = replace(address_of(GOOD), has_credentials=has_credentials)

    text = unfit.of_refusal(address, OperationFailure("geheim", code))

    assert text is None if said is None else said in str(text)
    assert "geheim" not in str(text)


async def test_a_login_with_a_password(own: Callable[..., ReplicaSet], tmp_path: Path) -> None:
    """Where access control is on: right, wrong, none, and with too few rights."""
    key = tmp_path / "key"
    key.write_text("a shared key of some length", encoding="ascii")
    key.chmod(0o400)
    some = own(count=1, options=("--keyFile", str(key))).start()
    some.ask(0, {"createUser": "root", "pwd": "r", "roles": ["root"]})
    root: AsyncMongoClient[Document] = AsyncMongoClient(
        f"mongodb://root:r@{some.hosts[0]}", directConnection=True
    )
    for name, role in (("writer", "readWrite"), ("reader", "read")):
        roles = [{"role": role, "db": "fhir"}]
        await root.admin.command("createUser", name, pwd="geheim", roles=roles)
    await root.close()

    def url(login: str) -> str:
        return some.url("fhir", QUICK + "&authSource=admin").replace("://", f"://{login}")

    for login, said in (
        ("writer:falsch@", "refuses user and password"),
        ("", "wants a login"),
        ("reader:geheim@", r"role: 'readWrite', db: 'fhir'"),
    ):
        with pytest.raises(Unavailable, match=said) as refusal:
            await open_database(url(login), patience=0)
        assert not re.search("geheim|falsch", str(refusal.value))
    await (await open_database(url("writer:geheim@"), patience=30)).close()


def test_every_collection_but_the_head_has_a_shard_key() -> None:
    """`meta` is small, and its head is what every transaction takes first: it is on one shard."""
    assert set(SHARD_KEYS) == set(INDEXES) - {"meta"}
