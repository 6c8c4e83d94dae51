"""The commands of the contract's section 2, as an operator types them."""

from __future__ import annotations

import gzip
import json
import stat
import time
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.people import MOTHER, STRANGER, S
from tests.server import Server

PATIENT = {
    "resourceType": "Patient",
    "id": "load-1",
    "identifier": [{"system": "urn:test", "value": "load-1"}],
    "name": [{"text": "Người Nạp"}],
}


def test_a_demo_starts_again_quickly_and_keeps_what_it_had(own: Server) -> None:
    """The second start is ready in under five seconds, with the same people."""
    server = own.start()
    before = server.client(server.token(citizen=MOTHER)).get("/fhir/Patient").json()["entry"]
    seconds = []
    while len(seconds) < 3 and min(seconds, default=5) >= 5:  # a busy machine has three trials
        assert server.stop() == 0
        began = time.monotonic()
        server.start()
        seconds.append(time.monotonic() - began)
    after = server.client(server.token(citizen=MOTHER)).get("/fhir/Patient").json()["entry"]

    assert min(seconds) < 5
    assert [e["resource"] for e in before] == [e["resource"] for e in after]
    assert "curl -s" in server.log()
    server.stop()


def test_a_token_is_alone_on_standard_output(server: Server) -> None:
    """`token` prints one JWT; a client or a number that is not right ends with status 1."""
    done = server.run("token", "--client", "hospital-01999")

    assert done.stdout.strip().count(".") == 2
    assert len(done.stdout.split()) == 1
    assert server.run("token", "--client", "nobody", check=False).returncode == 1
    assert server.run("token", "--citizen", "123", check=False).returncode == 1


def test_demo_and_real_stores_are_not_confused(own: Server) -> None:
    """A demo store is refused without --demo, and without --demo the provider must be named."""
    server = own.start()
    server.stop()

    unnamed = server.run("serve", "--port", "1", check=False)
    server.extra = {
        "FHIR_SERVER_VNEID_ISSUER": "http://127.0.0.1:9/idp",
        "FHIR_SERVER_VNEID_CLIENT_ID": "x",
        "FHIR_SERVER_VNEID_CLIENT_SECRET": "y",
    }
    real = server.run("serve", "--port", "1", check=False)

    assert (unnamed.returncode, unnamed.stderr.count("\n")) == (2, 1)
    assert "FHIR_SERVER_VNEID_ISSUER" in unnamed.stderr
    assert real.returncode == 1
    assert "demo" in real.stderr


def test_a_server_without_a_demo_starts_though_its_provider_is_away(own: Server) -> None:
    """Without --demo there is no stand-in, no demo client, and `token` refuses."""
    server = own
    server.arguments = ()
    server.extra = {
        "FHIR_SERVER_VNEID_ISSUER": "http://127.0.0.1:9/idp",
        "FHIR_SERVER_VNEID_CLIENT_ID": "x",
        "FHIR_SERVER_VNEID_CLIENT_SECRET": "y",
    }
    server.start()

    metadata = server.client().get("/fhir/metadata")
    stand_in = server.client().get("/vneid/.well-known/openid-configuration")
    token = server.run("token", "--client", "system", check=False)

    assert metadata.json()["fhirVersion"] == "4.0.1"
    assert stand_in.status_code == 404
    assert token.returncode == 1
    refused = server.run("serve", "--demo", "--port", "1", check=False)
    assert refused.returncode == 1
    server.stop()


@pytest.mark.parametrize(
    ("name", "value"), [("FHIR_SERVER_STOER", "x"), ("FHIR_SERVER_MAX_BODY", "many")]
)
def test_a_wrong_setting_stops_the_start_with_one_line(
    server: Server, name: str, value: str
) -> None:
    """One line on standard error names the variable."""
    other = Server(server.folder, extra={name: value}, engine=server.engine)

    done = other.run("serve", check=False)

    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert name in done.stderr


def test_a_backup_is_restored_into_a_store_that_nobody_serves(tmp_path: Path) -> None:
    """What was there at the backup is there after the restore, and nothing later."""
    server = Server(tmp_path / "data", engine="sqlite").start()
    system = server.client(server.token(client="system"))
    system.put("/fhir/Patient/kept", json={"resourceType": "Patient", "id": "kept"})

    server.run("backup", str(tmp_path / "copy.db"))
    system.put("/fhir/Patient/later", json={"resourceType": "Patient", "id": "later"})
    server.stop()
    server.run("restore", str(tmp_path / "copy.db"))
    server.start()

    system = server.client(server.token(client="system"))
    assert system.get("/fhir/Patient/kept").status_code == 200
    assert system.get("/fhir/Patient/later").status_code == 404
    server.stop()


def test_a_disabled_clients_token_ends_at_once(server: Server, tmp_path: Path) -> None:
    """A client is added from a file, listed, and disabled; its token is refused from then on."""
    key = json.loads((server.folder / "keys/demo/auditor.jwk.json").read_text("utf-8"))
    public = {k: v for k, v in key.items() if k != "d"}
    record = {
        "client_id": "auditor-2",
        "name": "Kiểm toán",
        "kind": "auditor",
        "jwks": {"keys": [public]},
        "scopes": ["system/AuditEvent.rs"],
    }
    (tmp_path / "client.json").write_text(json.dumps(record), "utf-8")
    server.run("client", "add", str(tmp_path / "client.json"))
    token = server.token(client="auditor-2")
    before = server.client(token).get("/fhir/AuditEvent", params={"_count": "1"})

    listed = server.run("client", "list").stdout
    server.run("client", "disable", "auditor-2")

    assert before.status_code == 200
    assert "auditor-2" in listed
    assert server.client(token).get("/fhir/AuditEvent").status_code == 401
    again = server.run("client", "add", str(tmp_path / "client.json")).stdout
    assert again.strip() == "auditor-2: replaced"
    assert server.client(server.token(client="auditor-2")).get("/fhir/AuditEvent").is_success


def test_all_faults_of_a_clients_file_are_told(server: Server, tmp_path: Path) -> None:
    """One a line; nothing is registered, and nobody takes the place of the server's own client."""
    file = tmp_path / "client.json"
    file.write_text(json.dumps({"client_id": "a b", "kind": "hospital", "name": "X"}), "utf-8")

    done = server.run("client", "add", str(file), check=False)

    assert done.returncode == 1
    for fault in ("client_id must", "facility must", "jwks or jwks_uri is missing"):
        assert sum(fault in line for line in done.stderr.splitlines()) == 1
    file.write_text("[1]", "utf-8")
    assert server.run("client", "add", str(file), check=False).returncode == 1


def test_a_rotated_key_signs_and_the_old_one_still_verifies(server: Server) -> None:
    """After `keys rotate` old and new tokens are good, and /auth/jwks has both keys."""
    old = server.token(client="system")
    server.run("keys", "rotate")
    new = server.token(client="system")

    keys = server.client().get("/auth/jwks").json()["keys"]

    assert len(keys) >= 2
    assert all("d" not in key for key in keys)
    for token in (old, new):
        assert server.client(token).get("/fhir/Patient", params={"_count": "1"}).status_code == 200


def test_the_audit_chain_and_the_doctor(server: Server) -> None:
    """The chain is whole, and the doctor finds nothing wrong in a good store."""
    assert server.run("verify-audit").returncode == 0
    done = server.run("doctor", check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "BAD" not in done.stdout


def test_reindexing_tells_no_log_its_progress(server: Server) -> None:
    """Where standard error is no terminal, `reindex` says one line when it is done."""
    done = server.run("reindex", "--type", "Patient")

    assert done.stdout.endswith(" resources indexed again\n")
    assert done.stdout.count("\n") == 1
    assert "\r" not in done.stderr
    assert " of " not in done.stderr


def test_files_of_every_kind_are_loaded_once(server: Server, tmp_path: Path) -> None:
    """NDJSON, gzip, a transaction; what is refused is written beside and tried again."""
    folder = tmp_path / "in"
    folder.mkdir()
    other = PATIENT | {"id": "load-2"}
    wrong = {"resourceType": "Patient", "id": "load-3", "gender": "unbekannt"}
    lines = [json.dumps(resource, ensure_ascii=False) for resource in (PATIENT, wrong)]
    (folder / "a.ndjson").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "b.ndjson.gz").write_bytes(gzip.compress(json.dumps(other).encode()))
    entry = {
        "fullUrl": "urn:uuid:5f3f5c3a-7c0b-4a3c-8b57-0d3e1b3f7a11",
        "resource": {"resourceType": "Patient", "name": [{"text": "Trong Gói"}]},
        "request": {"method": "POST", "url": "Patient"},
    }
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    (folder / "c.json").write_text(json.dumps(bundle), "utf-8")

    first = server.run("load", str(folder), check=False)
    second = server.run("load", str(folder), check=False)

    system = server.client(server.token(client="system"))
    rejected = tmp_path / "in.rejected.ndjson"
    assert first.returncode == second.returncode == 1
    assert system.get("/fhir/Patient/load-1").json()["meta"]["versionId"] == "1"
    assert system.get("/fhir/Patient/load-2").status_code == 200
    found = system.get("/fhir/Patient", params={"name": "trong goi", "_total": "accurate"}).json()
    assert found["total"] == 1
    refused = [json.loads(line) for line in rejected.read_text("utf-8").splitlines()]
    assert [line["place"] for line in refused] == [f"{folder / 'a.ndjson'}:2"]
    assert stat.S_IMODE(rejected.stat().st_mode) == 0o600


def test_no_persons_data_is_in_the_log(server: Server) -> None:
    """The log of all that the journeys did holds no name, number or card of the demo people."""
    http = server.client(server.token(client="system"))
    http.get("/fhir/Patient", params={"identifier": f"{S}/cccd|{MOTHER}"})
    http.get(f"/fhir/Patient/{MOTHER}")

    text = server.log()
    lines = [line for line in text.splitlines() if line.startswith("{")]

    assert lines
    for secret in (MOTHER, STRANGER, "DN4010123456789", "MẪU", "Viêm họng"):
        assert not [line for line in lines if secret in line]


def test_metrics_answer_this_machine_alone(server: Server) -> None:
    """Prometheus reads /metrics from loopback; a request that came through a proxy gets 404."""
    direct = httpx.get(f"{server.url}/metrics")
    proxied = httpx.get(f"{server.url}/metrics", headers={"X-Forwarded-For": "203.0.113.7"})

    assert "http_requests_total" in direct.text
    assert proxied.status_code == 404


def test_two_workers_over_one_store_see_the_same(own: Server) -> None:
    """What one worker wrote the other reads at once; what ends, ends in both."""
    server = own
    server.arguments = ("--demo", "--workers", "2")
    server.start()
    token = server.token(client="system")
    for number in range(40):
        # A new connection each time may reach either worker.
        with httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {token}"}
        ) as http:
            name = f"/fhir/Patient/w-{number}"
            put = http.put(name, json={"resourceType": "Patient", "id": f"w-{number}"})
            assert put.status_code == 201
        with httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {token}"}
        ) as http:
            assert http.get(name).status_code == 200

    server.run("client", "disable", "system")
    statuses = set()
    for _ in range(10):
        with httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {token}"}
        ) as http:
            statuses.add(http.get("/fhir/Patient/w-1").status_code)

    assert statuses == {401}
    assert server.run("verify-audit").returncode == 0
    server.stop()


def test_a_start_that_cannot_be_says_why_in_one_line(server: Server, tmp_path: Path) -> None:
    """A taken port, a folder that cannot be made, a file that is no store: one line, no trace."""
    taken = server.run("serve", "--demo", "--port", str(server.port), check=False)
    nowhere = Server(tmp_path, extra={"FHIR_SERVER_STORE": "sqlite:////proc/none/x.db"})
    (tmp_path / "damaged.db").write_bytes(b"not a store" * 500)
    damaged = Server(tmp_path, extra={"FHIR_SERVER_STORE": f"sqlite:///{tmp_path}/damaged.db"})

    for done, named in (
        (taken, str(server.port)),
        (nowhere.run("serve", "--demo", check=False), "FHIR_SERVER_STORE"),
        (damaged.run("serve", "--demo", check=False), "FHIR_SERVER_STORE"),
    ):
        assert done.returncode == 1, done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert named in done.stderr


def test_the_doctor_makes_nothing(own: Server) -> None:
    """A store that is not there is said to be absent, and is not made.

    A path may be mistyped, which is a fault; a database that answers, with none yet, is a new one.
    """
    done = own.run("doctor", check=False)

    assert done.returncode == (0 if own.engine == "mongodb" else 1), done.stdout
    assert "; the first start makes it" in done.stdout
    assert not own.folder.exists()
    assert not own.has_store
