"""What was answered is there, whole and once, though primaries are killed and members cut off."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from fhir_server.demo_dossiers import CASES
from tests.journeys.failing import (
    CHANGED,
    CUT,
    HANG,
    KILL,
    SILENT,
    SYSTEM,
    Load,
    Told,
    is_counting,
)
from tests.mongo import shared
from tests.mongo.replica_set import ReplicaSet
from tests.people import S
from tests.proxy import Network
from tests.server import Server

SECONDS = float(os.environ.get("TEST_FAILOVER_SECONDS", "15"))
KILLS = int(os.environ.get("TEST_FAILOVER_KILLS", "2"))
CUTS = int(os.environ.get("TEST_FAILOVER_CUTS", "1"))

Resource = dict[str, Any]
History = dict[str, list[Resource]]
"""Of each resource, by its name, all versions, oldest first."""


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """Three members, each behind a proxy."""
    shared.need_mongod()
    with Network(ReplicaSet(tmp_path / "members")) as network:
        yield network


@pytest.fixture
def servers(network: Network, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Two servers over them, with the same keys and the same public origin."""
    first = Server(tmp_path / "first")
    extra = {
        "FHIR_SERVER_STORE": network.members.url(),
        "FHIR_SERVER_BASE_URL": first.url,
        "FHIR_SERVER_KEYS": f"{tmp_path}/keys",
    }
    first.extra.update(extra)
    second = Server(tmp_path / "second", extra=extra)
    yield first.start(), second.start()
    for server in (first, second):
        server.end()


def failures() -> list[str]:
    """Return what fails, in turn: kills, and cuts between them, the last one a silent one."""
    cuts = [SILENT if number == 2 else CUT for number in range(1, CUTS + 1)]
    every = [(number / KILLS, KILL) for number in range(KILLS)]
    every += [((number + 0.4) / CUTS, cut) for number, cut in enumerate(cuts)]
    return [failure for _, failure in sorted(every)]


@pytest.mark.timeout(900)
def test_nothing_answered_is_lost_when_members_fail(
    network: Network, servers: tuple[Server, Server], capsys: pytest.CaptureFixture[str]
) -> None:
    """20 clients write and read at two servers meanwhile: each answer holds, and none is a 500."""
    first, second = servers
    tokens = first.token(client="system"), first.token(client="hospital-01999")
    before = kinds(histories(first, tokens[0]))
    load = Load(network, servers, tokens)

    load.run(SECONDS, failures())

    told = load.told
    with capsys.disabled():
        print(f"\nmeasured: {said(load)}")
    assert Counter(name for name, _ in load.recoveries) == Counter(failures())
    assert told.longest <= HANG
    assert min(len(told.receipts), len(told.pairs), len(told.counted)) > 0
    found = histories(second, second.token(client="system"))
    versions_are_whole(found)
    dossiers_are_whole(found, told)
    transactions_are_whole(found, told)
    receipts_are_kept(first, told)
    after = kinds(found) - before
    assert after["Encounter"] == len(told.receipts)
    assert after["Observation"] >= 2 * len(told.pairs)
    assert "whole" in first.run("verify-audit").stdout


def kinds(found: History) -> Counter[str]:
    """Return how many resources there are of each type."""
    return Counter(name.partition("/")[0] for name in found)


def said(load: Load) -> str:
    """Return the figures measured, in one line."""
    told = load.told
    each = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in load.recoveries)
    middle = median(seconds for _, seconds in load.recoveries)
    return (
        f"recovery {each} (median {middle:.1f} s); {len(told.writes)} writes answered, "
        f"{told.refused} calls 503, longest call {told.longest:.1f} s"
    )


# --- what is there ---------------------------------------------------------------------------


def histories(server: Server, token: str) -> History:
    """Return all versions of all resources, read from the history of the whole system."""
    found: History = defaultdict(list)
    http = server.client(token)
    url = "/fhir/_history?_count=1000"
    while url:
        answer = http.get(url)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        for entry in page["entry"]:
            resource = entry["resource"]
            found[f"{resource['resourceType']}/{resource['id']}"].append(resource)
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    for versions in found.values():
        versions.reverse()
    return found


def versions_are_whole(found: History) -> None:
    """Each resource has the versions 1, 2, 3 …, each once."""
    for name, versions in found.items():
        numbers = [int(version["meta"]["versionId"]) for version in versions]
        assert numbers == list(range(1, len(numbers) + 1)), name


def transactions_are_whole(found: History, told: Told) -> None:
    """Each pair is there once, its reference in it; each number was counted once and in order."""
    made: dict[str, list[str]] = defaultdict(list)
    for name, versions in found.items():
        for identifier in versions[0].get("identifier", ()) if "Observation/" in name else ():
            if identifier.get("system") == SYSTEM:
                made[identifier["value"]].append(name)
                assert len(versions) == 1, name
    assert {part: name for part, (name,) in made.items()} == {
        f"{key}-{part}": name
        for key, pair in told.pairs.items()
        for part, name in enumerate(pair, 1)
    }
    for key, (first, second) in told.pairs.items():
        assert found[first][0]["valueString"] == key
        assert found[second][0]["derivedFrom"] == [{"reference": first}]
    for client, rounds in told.own.items():
        number = client.removeprefix("own-")
        keys = [f"FAIL-{number}-{count}" for count in range(1, rounds + 1)]
        assert texts(found, client) == ["0", *keys]
    counted = texts(found, "counter")
    assert max(Counter(counted).values()) == 1
    assert {key: counted[version - 1] for key, version in told.counted.items()} == {
        key: key for key in told.counted
    }
    counting = {key for key in told.pairs if is_counting(key)}
    assert set(counted) == counting | {"0"}


def texts(found: History, identity: str) -> list[str]:
    """Return what the versions of a Basic say."""
    return [version["code"]["text"] for version in found[f"Basic/{identity}"]]


def dossiers_are_whole(found: History, told: Told) -> None:
    """Each visit is there once with all that belongs to it, and as it was sent last."""
    visits: dict[str, list[str]] = defaultdict(list)
    belonging: dict[str, Counter[str]] = defaultdict(Counter)
    for name, versions in found.items():
        resource = versions[-1]
        for identifier in resource.get("identifier", ()) if "Encounter/" in name else ():
            if identifier.get("system") == f"{S}/ma-lk":
                visits[identifier["value"]].append(name)
        visit = resource.get("encounter", {})
        if isinstance(visit, dict):
            belonging[visit.get("reference", "")][resource["resourceType"]] += 1
    for key, receipts in told.receipts.items():
        number, count = (int(part) for part in key.split("-")[1:])
        names = {receipt["dossiers"][0]["encounter"] for receipt in receipts}
        assert (len(names), visits[f"01999|{key}"]) == (1, list(names)), key
        (name,) = names
        case = CASES[(number * 10_000 + count) % len(CASES)]
        assert len(found[name]) == len(receipts), key
        reasons = [reason["text"] for reason in found[name][-1]["reasonCode"]]
        assert (CHANGED in reasons) == (len(receipts) == 2), key
        assert belonging[name]["Condition"] == 1 + bool(case.ma_benh_kt), key
        assert belonging[name]["MedicationRequest"] == len(case.drugs), key


def receipts_are_kept(server: Server, told: Told) -> None:
    """Each receipt is there as it was answered; each visit was made once and changed once."""
    http = server.client(server.token(client="hospital-01999"))

    def check(key: str) -> None:
        receipts = told.receipts[key]
        for receipt in receipts:
            assert http.get(f"/submissions/{receipt['id']}").json() == receipt, key
        listed = http.get("/submissions", params={"ma_lk": key}).json()["items"]
        statuses = Counter(one["dossiers"][0]["status"] for one in listed)
        assert statuses["created"] == 1, (key, statuses)
        assert statuses["updated"] == len(receipts) - 1, (key, statuses)
        assert {receipt["id"] for receipt in receipts} <= {one["id"] for one in listed}, key

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(check, told.receipts))
