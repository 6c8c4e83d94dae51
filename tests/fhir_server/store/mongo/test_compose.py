"""docker-compose.yml: what can be shown of it where there is no Docker.

Its commands are run as they stand there, over real members with TLS and a login.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo.connect import open_database
from fhir_server.store.mongo.deploy.certificates import make
from fhir_server.store.mongo.doctor import examine
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch, Put
from tests.fhir_server.store.mongo.composed import (
    COMPOSE,
    MEMBERS,
    Composed,
    services,
)
from tests.fhir_server.store.mongo.composefile import read
from tests.mongo.shared import need_mongod

VOLUMES = ("authority", "members", "server")


# --- the file --------------------------------------------------------------------------------


def test_everything_that_is_published_is_on_loopback_alone() -> None:
    """Only the server publishes a port, and on 127.0.0.1."""
    published = {name: one["ports"] for name, one in services().items() if "ports" in one}

    assert published == {"server": ["127.0.0.1:8080:8080"]}


def test_the_database_is_on_a_network_that_leads_nowhere_else() -> None:
    """The members are on an internal network, and nothing else of them is reachable."""
    content = read(COMPOSE.read_text(encoding="utf-8"))

    assert content["networks"]["database"] == {"internal": True}
    assert all(services()[name]["networks"] == ["database"] for name in MEMBERS)


def test_the_image_of_the_database_is_pinned_to_a_release() -> None:
    """The official image, by a whole version."""
    images = {services()[name]["image"] for name in MEMBERS}

    assert len(images) == 1
    assert re.fullmatch(r"mongo:[0-9]+\.0\.[0-9]+", images.pop())


def test_what_waits_for_another_waits_until_it_is_done() -> None:
    """Certificates, then healthy members, then the set, then the server; all ends in a volume."""
    content = read(COMPOSE.read_text(encoding="utf-8"))
    waits = {
        name: {on: how["condition"] for on, how in one.get("depends_on", {}).items()}
        for name, one in content["services"].items()
    }

    done = "service_completed_successfully"
    assert waits["certificates"] == {}
    assert all(waits[name] == {"certificates": done} for name in MEMBERS)
    assert waits["replica-set"] == dict.fromkeys(MEMBERS, "service_healthy")
    assert waits["server"] == {"replica-set": done}
    assert all("healthcheck" in content["services"][name] for name in (*MEMBERS, "server"))
    mounted = {
        volume.split(":")[0] for one in content["services"].values() for volume in one["volumes"]
    }
    assert mounted == set(content["volumes"])


def test_the_members_differ_by_their_names_alone() -> None:
    """What holds for one member holds for each."""
    forms = {re.sub(r"mongo[123]", "mongoN", str(services()[name])) for name in MEMBERS}

    assert len(forms) == 1


def test_no_secret_stands_in_the_file() -> None:
    """No password, no user with one, and no variable with a default that would be one."""
    text = COMPOSE.read_text(encoding="utf-8")

    assert not re.search(r"passw|secret_?key|pwd|://[^/\s\"]*@|\$\{", text, re.IGNORECASE)


@pytest.mark.parametrize(
    "wrong", ["a: b", "a: yes", "a: 010", "a: 'b'", "a:\n b: 1\n b: 2", "- a", "a: 1\n   b: 2"]
)
def test_what_readers_of_yaml_could_read_differently_is_refused(wrong: str) -> None:
    """The reader takes quoted texts, whole numbers and truth values, each key once."""
    with pytest.raises(ValueError, match=r".*"):
        read(wrong)


# --- its certificates ------------------------------------------------------------------------


def _folders(folder: Path) -> list[Path]:
    found = [folder / name for name in VOLUMES]
    for one in found:
        one.mkdir(parents=True)
    return found


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_certificates_are_made_once(tmp_path: Path) -> None:
    """Run again, nothing is made anew."""
    folders, now = _folders(tmp_path), datetime.now(UTC)
    make(*folders, ["mongo1", "mongo2"], now=now)
    before = _contents(tmp_path)

    make(*folders, ["mongo1", "mongo2"], now=now + timedelta(days=30))

    assert _contents(tmp_path) == before


def test_a_certificate_near_its_end_is_made_anew_by_the_same_authority(tmp_path: Path) -> None:
    """Within 90 days of its end it is renewed; authority and shared key stay."""
    folders, now = _folders(tmp_path), datetime.now(UTC)
    make(*folders, ["mongo1"], now=now)
    before = _contents(tmp_path)

    make(*folders, ["mongo1"], now=now + timedelta(days=740))

    after = _contents(tmp_path)
    assert {name for name, data in after.items() if data != before[name]} == {
        "members/mongo1.pem",
        "members/administrator.pem",
        "server/server.pem",
    }
    renewed = x509.load_pem_x509_certificate(after["members/mongo1.pem"])
    renewed.verify_directly_issued_by(x509.load_pem_x509_certificate(after["server/ca.pem"]))


def test_no_secret_can_be_read_by_others(tmp_path: Path) -> None:
    """Every file is its owner's alone, and the server's folder holds no key of the members."""
    make(*_folders(tmp_path), ["mongo1"], now=datetime.now(UTC))

    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.rglob("*") if file.is_file()}
    assert modes == {0o400}
    assert {file.name for file in (tmp_path / "server").iterdir()} == {"ca.pem", "server.pem"}


# --- its commands ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """The members as docker-compose.yml starts them, made a replica set by its own service."""
    need_mongod()
    folder = tmp_path_factory.mktemp("composed")
    _folders(folder)
    found = Composed(folder)
    certificates = found.run("certificates")
    assert certificates.returncode == 0, certificates.stderr
    try:
        found.start()
        made = found.run("replica-set")
        assert made.returncode == 0, made.stderr
        yield found
    finally:
        found.stop()


async def test_the_server_can_use_what_was_made(composed: Composed) -> None:
    """With the address that docker-compose.yml gives it, the store takes a commit."""
    store = await MongoStore.open(composed.store, patience=30)
    try:
        await store.commit(Batch(puts=(Put("meta", "a", b"1"),)))

        assert await store.get("meta", "a") == b"1"
    finally:
        await store.close()


async def test_the_doctor_finds_nothing_wrong_with_it(composed: Composed) -> None:
    """All facts are well: three members, encrypted, with a login, all rights and no more."""
    await (await open_database(composed.store, patience=30)).close()

    facts = {fact.name: fact for fact in await examine(composed.store)}

    assert [fact for fact in facts.values() if not fact.well] == []
    assert facts["connection"].text == "encrypted, with a login"
    assert "clusterMonitor on admin" in facts["account"].text
    assert facts["oplog"].text.startswith("reaches back")


def test_the_replica_set_may_be_made_again(composed: Composed) -> None:
    """A second start of the project runs the service again, and it finds all done."""
    again = composed.run("replica-set")

    assert again.returncode == 0, again.stderr


def test_the_server_may_not_do_more_than_it_needs(composed: Composed) -> None:
    """Its account may not write another database, nor make users."""
    client: MongoClient[dict[str, object]] = MongoClient(composed.store)
    try:
        with pytest.raises(OperationFailure, match="not authorized"):
            client["other"]["a"].insert_one({})
        with pytest.raises(OperationFailure, match="not authorized"):
            client["fhir"].command("createUser", "x", pwd="x", roles=[])
    finally:
        client.close()


def test_nobody_comes_in_without_a_certificate(composed: Composed) -> None:
    """A client with the right authority and no certificate of its own is turned away."""
    port = composed.ports["mongo1"]
    authority = composed.folder / "server" / "ca.pem"
    client: MongoClient[dict[str, object]] = MongoClient(
        f"mongodb://127.0.0.1:{port}/?tls=true&tlsCAFile={authority}",
        directConnection=True,
        serverSelectionTimeoutMS=1_500,
    )
    try:
        with pytest.raises(PyMongoError):
            client.admin.command("ping")
    finally:
        client.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("tls=true&", "tls=false&"), "add tls=true"),
        (("&authMechanism=MONGODB-X509", ""), "wants a login"),
        (("tlsCertificateKeyFile=", "appname="), "tlsCertificateKeyFile"),
    ],
    ids=["no TLS", "no login", "no certificate of ours"],
)
async def test_what_is_wrong_with_the_address_is_said(
    composed: Composed, change: tuple[str, str], said: str
) -> None:
    """Each fault in one sentence, without waiting for ever."""
    url = composed.store.replace(*change) + "&serverSelectionTimeoutMS=1500"
    if change[0] == "tls=true&":
        url = re.sub(r"&tls(CA|Certificate)[A-Za-z]*=[^&]*", "", url)
        url = url.replace("&authMechanism=MONGODB-X509", "")
    if change[0].startswith("tlsCert"):
        url = url.replace("&authMechanism=MONGODB-X509", "")

    with pytest.raises(Unavailable, match=re.escape(said)):
        await open_database(url, patience=0)


async def test_a_certificate_that_the_database_does_not_know_is_refused(
    composed: Composed,
) -> None:
    """A member's certificate is good for TLS, and is no user."""
    own = str(composed.folder / "server" / "server.pem")
    other = str(composed.folder / "members" / "mongo1.pem")

    with pytest.raises(Unavailable, match="refuses user and password"):
        await open_database(composed.store.replace(own, other), patience=0)


async def test_a_database_of_another_authority_is_not_trusted(
    composed: Composed, tmp_path: Path
) -> None:
    """Where the members' certificates are by somebody else, nothing is sent to them."""
    make(*_folders(tmp_path), ["mongo1"], now=datetime.now(UTC))
    url = composed.store.replace(
        str(composed.folder / "server" / "ca.pem"), str(tmp_path / "server" / "ca.pem")
    )
    url += "&serverSelectionTimeoutMS=1500"

    with pytest.raises(Unavailable, match="authority unknown here"):
        await open_database(url, patience=0)
