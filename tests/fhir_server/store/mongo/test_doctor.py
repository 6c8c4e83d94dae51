"""What `fhir-server doctor` says of a database: what is right, what is wrong, what to do."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from fhir_server.model.outcome import Unavailable
from fhir_server.model.ucum import SYSTEM as UCUM
from fhir_server.search.values import IndexValues, TextValue
from fhir_server.settings import Settings
from fhir_server.store.bulk import BUCKET, MARK, UNFINISHED
from fhir_server.store.fact import Fact
from fhir_server.store.mongo import keys, unfit
from fhir_server.store.mongo.address import address_of
from fhir_server.store.mongo.connect import Opened, client_of, open_database
from fhir_server.store.mongo.doctor import disk, examine, oplog, state_of, way
from fhir_server.store.mongo.schema import Collections
from fhir_server.store.mongo.staging import record_key
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch, Put
from tests.contracts.making import asked, ids, made, observation, patient
from tests.data import ROOT
from tests.fhir_server.store.mongo.conftest import QUICK
from tests.mongo.replica_set import ReplicaSet
from tests.ports import free_port

GB = 10**9
NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest_asyncio.fixture
async def opened(members: ReplicaSet, request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    """An open database of this test's own."""
    name = f"t{abs(hash(request.node.name)) % 10**9}"
    found = await open_database(members.url(name, QUICK), patience=60)
    yield found
    await found.close()


async def _facts(url: str, **how: Any) -> dict[str, Fact]:
    return {fact.name: fact for fact in await examine(url, **how)}


# --- a database that is well -----------------------------------------------------------------


async def test_a_database_that_is_well(opened: Opened) -> None:
    """Every fact is well, and says what there is."""
    facts = await _facts(opened.address.url)

    assert [fact for fact in facts.values() if not fact.well] == []
    assert facts["mongodb"].text.startswith("MongoDB 6.0")
    assert facts["replica set rs0"].text.count("secondary") == 2
    assert facts["indexes"].text.startswith("all ")
    assert facts["contents"].text == "0 resources, 0 versions, 0 audit entries"
    assert facts["sharded"].text == "no"
    assert {"connection", "account", "database clock", "majority", "oplog", "disk"} <= set(facts)


async def test_an_address_of_one_member_is_good_while_it_is_up(opened: Opened) -> None:
    """The others are found by it; but nothing starts while it is down, and that is said."""
    _, _, after = opened.address.url.partition("://")
    hosts, _, rest = after.partition("/")
    one = f"mongodb://{hosts.split(',')[0]}/{rest}"

    assert "no server starts while that is down" in (await _facts(one))["replica set rs0"].text
    assert "no server" not in (await _facts(opened.address.url))["replica set rs0"].text


async def test_types_whose_words_are_not_indexed_are_named(opened: Opened) -> None:
    """What was stored before words were indexed is found by them once it is indexed anew."""
    store = await MongoStore.open(opened.address.url)
    write = made(patient("p1", name=[{"text": "Nguyễn Văn An"}]))
    before = write.index.values
    silent = tuple(value for value in before if not isinstance(value, TextValue))
    await store.commit(Batch(writes=[msgspec.structs.replace(write, index=IndexValues(silent))]))
    asking = asked("Patient", "_content=van an")

    words = (await _facts(opened.address.url))["words"]
    assert (words.well, ids(await store.search(asking))) == (False, [])
    assert "does: Patient; fhir-server reindex" in words.text
    await store.reindex([(("Patient", "p1"), 1, write.index)])

    assert (await _facts(opened.address.url))["words"].well
    assert ids(await store.search(asking)) == ["p1"]
    await store.close()


async def test_types_whose_units_are_not_indexed_are_named(opened: Opened) -> None:
    """What was stored before units had indexes is found by them once it is indexed anew."""
    store = await MongoStore.open(opened.address.url)
    kilograms = {"value": Decimal("70.5"), "unit": "kg", "system": UCUM, "code": "kg"}
    write = made(observation("o1", "Patient/p1", valueQuantity=kilograms))
    await store.commit(Batch(writes=[write]))
    async with client_of(opened.address) as client:
        resource = Collections(client[opened.address.database]).resource
        least = keys.path("Observation", "value-quantity")
        stored = await resource.find_one({"_id": "Observation/o1"})
        assert stored is not None
        old = {name: value for name, value in stored["o"].items() if least in name}
        await resource.update_one({"_id": "Observation/o1"}, {"$set": {"o": old}})
    asking = asked("Observation", "value-quantity=70500||g,70.5||kg")

    units = (await _facts(opened.address.url))["units"]
    assert (units.well, ids(await store.search(asking))) == (False, [])
    assert "indexes: Observation; fhir-server reindex" in units.text
    await store.reindex([(("Observation", "o1"), 1, write.index)])

    assert (await _facts(opened.address.url))["units"].well
    assert ids(await store.search(asking)) == ["o1"]
    await store.close()


async def test_types_whose_composites_are_not_told_are_named(opened: Opened) -> None:
    """Of two components a key says that single parameters do not tell: it was not there before."""
    store = await MongoStore.open(opened.address.url)
    parts = [
        {
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "valueQuantity": {"value": Decimal(value), "unit": "mm[Hg]"},
        }
        for code, value in (("8480-6", "120"), ("8462-4", "80"))
    ]
    write = made(observation("o1", "Patient/p1", component=parts))
    await store.commit(Batch(writes=[write]))
    assert (await _facts(opened.address.url))["units"].well
    key = keys.parted("Observation", "component-code-value-quantity")
    async with client_of(opened.address) as client:
        resource = Collections(client[opened.address.database]).resource
        done = await resource.update_one({"x": key}, {"$pull": {"x": key}})

    assert done.modified_count == 1
    assert not (await _facts(opened.address.url))["units"].well
    await store.close()


async def test_types_whose_order_is_not_indexed_are_named(opened: Opened, tmp_path: Path) -> None:
    """A store of an older server is reindexed, whatever an older program had come to."""
    url = opened.address.url
    store = await MongoStore.open(url)
    assert (await _facts(url))["order"].well
    await store.commit(Batch(writes=[made(patient(one, gender="male")) for one in ("p1", "p2")]))
    await store.commit(Batch(puts=[Put("reindex", "Patient", b"99")]))
    await store.close()
    meta, resource = opened.collections.meta, opened.collections.resource
    await resource.update_many({}, {"$unset": {"o": 1}})
    await meta.update_one({"_id": "head"}, {"$set": {"schema": 1}, "$unset": {"unordered": 1}})

    facts = await _facts(url)
    assert not facts["order"].well
    assert "stored before: Patient; when no older server" in facts["order"].text
    assert facts["units"].well
    assert await _run(url, tmp_path, "reindex") == (0, "2 resources indexed again\n")

    assert (await _facts(url))["order"].well
    least = "o.b" + keys.path("Patient", "gender")
    assert await resource.count_documents({least: "male"}) == 2
    head = await meta.find_one({"_id": "head"})
    assert head is not None
    assert (head["schema"], head["unordered"]) == (2, [])


async def _run(url: str, folder: Path, command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fhir_server", command, cwd=ROOT,
        env={"FHIR_SERVER_STORE": url, "FHIR_SERVER_KEYS": str(folder), "PATH": "/usr/bin"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_the_command_ends_well_where_all_is_well(opened: Opened, tmp_path: Path) -> None:
    """Every line is `ok`, the audit chain's among them, and the address shows no option."""
    status, said = await _run(opened.address.url, tmp_path / "keys", "doctor")

    assert status == 0, said
    assert all(line.startswith("ok ") for line in said.splitlines())
    assert f"store {Settings(store=opened.address.url).shown_store}\n" in said
    assert "audit: 0 AuditEvents, the chain is whole" in said


# --- what is wrong ---------------------------------------------------------------------------


async def test_the_command_names_what_no_start_would_go_past(
    opened: Opened, tmp_path: Path
) -> None:
    """With a different index the store is not opened, and all of the database is looked at."""
    await opened.collections.audit.drop_index("recorded")
    await opened.collections.audit.create_index([("a", 1)], name="recorded")

    status, said = await _run(opened.address.url, tmp_path / "keys", "doctor")

    assert status == 1
    wrong = [line for line in said.splitlines() if line.startswith("BAD")]
    assert len(wrong) == 1, said
    assert wrong[0].startswith("BAD  indexes: audit.recorded differ from what this server makes")
    assert "ok   majority: " in said


async def test_the_command_says_once_that_there_is_no_database(tmp_path: Path) -> None:
    """Where nobody listens, one line says so, and which host."""
    url = f"mongodb://127.0.0.1:{free_port()}/fhir?replicaSet=rs0{QUICK}"

    status, said = await _run(url, tmp_path / "keys", "doctor")

    assert status == 1
    wrong = [line for line in said.splitlines() if line.startswith("BAD")]
    assert len(wrong) == 1, said
    assert wrong[0].startswith("BAD  database: FHIR_SERVER_STORE: 127.0.0.1:")


async def test_an_index_that_is_missing_is_said(opened: Opened) -> None:
    """The next start makes it."""
    await opened.collections.resource.drop_index("keys")

    fact = (await _facts(opened.address.url))["indexes"]

    assert fact == Fact(
        "indexes", well=False, text="resource.keys missing: the next start makes them"
    )


async def test_all_that_is_wrong_with_indexes_is_said(opened: Opened) -> None:
    """Of another's in our way none hides another, nor one that is missing."""
    await opened.collections.audit.drop_index("recorded")
    await opened.collections.audit.create_index([("a", 1)], name="recorded")
    await opened.collections.history.drop_index("types")
    await opened.collections.history.create_index([("t", 1), ("_id", -1)], name="mine")
    await opened.collections.resource.drop_index("keys")

    text = (await _facts(opened.address.url))["indexes"].text

    assert "history.mine, audit.recorded differ from what this server makes" in text
    assert "db.history.dropIndex('mine'), db.audit.dropIndex('recorded')" in text
    assert "; history.types, resource.keys missing" in text or (
        "; resource.keys, history.types missing" in text
    )


async def test_an_index_that_is_not_ours_is_mentioned(opened: Opened) -> None:
    """It is no fault, and the shard keys' are ours."""
    await opened.collections.resource.create_index([("b", 1)], name="slow")
    await opened.collections.resource.create_index([("k", "hashed")], name="shards")

    fact = (await _facts(opened.address.url))["indexes"]

    assert fact.well
    assert fact.text.startswith("all ")
    assert fact.text.endswith(
        "resource.slow not this server's and paid for by every write: if nobody needs them, "
        "db.resource.dropIndex('slow')"
    )


@pytest.mark.parametrize("how", [{"expireAfterSeconds": 60}, {"unique": True}], ids=str)
async def test_an_index_that_would_lose_documents_is_refused(
    opened: Opened, how: dict[str, Any]
) -> None:
    """One deletes what is kept after a time, the other refuses what must be kept."""
    await opened.collections.history.create_index([("u", 1)], name="theirs", **how)

    fact = (await _facts(opened.address.url))["indexes"]

    assert not fact.well
    assert "db.history.dropIndex('theirs')" in fact.text
    with pytest.raises(Unavailable, match=r"history\.theirs"):
        await open_database(opened.address.url)


async def test_a_database_without_a_store_is_said(opened: Opened) -> None:
    """Nothing is made by looking."""
    url = opened.address.url.replace(opened.address.database, "never_opened")

    facts = await _facts(url)

    assert facts["store"] == Fact(
        "store", well=True, text="never_opened holds none yet; the first start makes it"
    )
    assert [fact for fact in facts.values() if not fact.well] == []
    assert not {"schema", "indexes"} & set(facts)
    assert "never_opened" not in await opened.client.list_database_names()


async def test_a_move_that_is_not_finished_is_said(opened: Opened) -> None:
    """Not that a start makes what is missing: it would not start."""
    await opened.collections.ledger.insert_one({"_id": record_key(BUCKET, MARK), "v": b"{}"})
    await opened.collections.resource.drop_index("keys")

    facts = await _facts(opened.address.url)

    assert facts["store"] == Fact("store", well=False, text=UNFINISHED)
    assert "missing" not in facts["indexes"].text


async def test_the_command_ends_well_where_no_store_is_yet(opened: Opened, tmp_path: Path) -> None:
    """A fresh replica set is as it should be, and looking makes nothing."""
    url = opened.address.url.replace(opened.address.database, "never_opened")

    status, said = await _run(url, tmp_path / "keys", "doctor")

    assert status == 0, said
    assert "ok   store: never_opened holds none yet; the first start makes it" in said
    assert "never_opened" not in await opened.client.list_database_names()


async def test_a_database_that_cannot_hold_a_store_is_said_once(
    opened: Opened, tmp_path: Path
) -> None:
    """Somebody else's, or one whose name differs from another's in case alone."""
    name = opened.address.database
    for wrong, said in (
        (f"{name}_shop", "something else (orders)"),
        (name.upper(), "in upper and"),
    ):
        if "shop" in wrong:
            await opened.client[wrong]["orders"].insert_one({"_id": 1})
        status, out = await _run(
            opened.address.url.replace(name, wrong), tmp_path / "keys", "doctor"
        )

        bad = [line for line in out.splitlines() if not line.startswith("ok ")]
        assert (status, len(bad)) == (1, 1), out
        assert bad[0].startswith("BAD  store: ")
        assert said in bad[0]


@pytest.mark.parametrize(("off", "well"), [(8, False), (-8, False), (1, True)])
async def test_a_clock_that_is_off_is_said(opened: Opened, off: float, *, well: bool) -> None:
    """Over five seconds is worth a look, long before a start is refused."""
    fact = (await _facts(opened.address.url, now=lambda: time.time() + off))["database clock"]

    assert fact.well is well
    assert well or "set both right, by NTP" in fact.text


async def test_a_store_of_a_newer_server_is_said(opened: Opened) -> None:
    """The operator is told which version to install."""
    await opened.collections.meta.update_one({"_id": "head"}, {"$set": {"schema": 99}})

    fact = (await _facts(opened.address.url))["schema"]

    assert not fact.well
    assert "schema 99 is a newer server's" in fact.text


async def test_a_member_that_is_down_is_named(opened: Opened, mortal: ReplicaSet) -> None:
    """The others still are a majority: the facts say so, and which one to start."""
    down = (mortal.primary() + 1) % 3
    mortal.kill(down)

    facts = await _facts(opened.address.url)

    fact = facts["replica set rs0"]
    assert not fact.well
    assert f"{mortal.hosts[down]} does not answer (nobody listens there" in fact.text
    assert f"start {mortal.hosts[down]} again" in fact.text
    assert facts["majority"].well


async def test_a_set_without_a_majority_is_said(mortal: ReplicaSet) -> None:
    """There is no primary to ask: the one sentence says why."""
    last = mortal.primary()
    mortal.kill(*(number for number in range(3) if number != last))
    until = time.monotonic() + 30
    while mortal.ask(last, "hello")["isWritablePrimary"]:  # it steps down when it notices
        assert time.monotonic() < until

    with pytest.raises(Unavailable, match="more than half must be up"):
        await examine(mortal.url("fhir", QUICK), patience=1)


# --- each fact by itself ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mongodb://127.0.0.1/fhir", None),
        ("mongodb://localhost,[::1]:27018/fhir", None),
        ("mongodb://me:x@db/fhir?tls=true", None),
        ("mongodb://db/fhir", "not encrypted"),
        ("mongodb://me:x@127.0.0.1,db/fhir", "not encrypted"),
        ("mongodb://db/fhir?tls=true", "anybody may log in"),
        ("mongodb://me:x@db/fhir?tls=true&tlsAllowInvalidCertificates=true", "not checked"),
        ("mongodb://me:x@db/fhir?tls=true&tlsInsecure=true", "not checked"),
        ("mongodb+srv://me:x@db.example/fhir", None),
    ],
)
def test_the_way_to_the_database(url: str, said: str | None) -> None:
    """Off this machine it must be encrypted, checked, and want a login."""
    fact = way(address_of(url))

    assert fact.well is (said is None)
    assert said is None or said in fact.text


@pytest.mark.parametrize(
    ("hours", "full", "well"), [(2, 0.2, True), (2, 0.95, False), (48, 0.95, True)]
)
def test_the_oplog(hours: float, full: float, *, well: bool) -> None:
    """A full one that reaches back less than a day is too small; one that still grows is not."""
    assert oplog(hours, full=full).well is well


@pytest.mark.parametrize(
    ("total", "free", "well"), [(100, 50, True), (100, 4, False), (10, 0.9, False), (10, 1.1, True)]
)
def test_the_disk(total: float, free: float, *, well: bool) -> None:
    """Five percent, and a gigabyte, must be free."""
    assert disk("", total=total * GB, free=free * GB).well is well


def _hello(**fields: Any) -> dict[str, Any]:
    return {"lastWrite": {"lastWriteDate": NOW}, **fields}


@pytest.mark.parametrize(
    ("hello", "advice", "state"),
    [
        (_hello(isWritablePrimary=True), "", "h:1 primary"),
        (_hello(secondary=True), "", "h:1 secondary"),
        ({"arbiterOnly": True}, "", "h:1 arbiter"),
        (_hello(), "look at the log of h:1", "h:1 is catching up or failing"),
        (
            {"secondary": True, "lastWrite": {"lastWriteDate": NOW - timedelta(seconds=90)}},
            "look why h:1 falls behind",
            "h:1 90 s behind",
        ),
    ],
    ids=["primary", "secondary", "arbiter", "recovering", "behind"],
)
def test_the_state_of_a_member(hello: dict[str, Any], advice: str, state: str) -> None:
    """What a member says of itself is put in words."""
    address = address_of("mongodb://h:1/fhir")

    assert state_of(address, _hello(), unfit.Probe("h:1", hello=hello)) == (advice, state)
